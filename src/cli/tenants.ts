/** Which tenants a command asks for: the one that was named, or every one there is. */
import { MillraceError } from '../core/errors.ts';
import type { Api } from './platform.ts';

export async function tenantsOf(api: Api, named: string | undefined): Promise<readonly string[]> {
  if (named !== undefined) return [named];
  const { items } = await api.get<{ items: readonly string[] }>('/ops/tenants');
  if (items.length > 0) return items;
  throw new MillraceError('NOT_FOUND', 'There are no exceptions of any tenant yet.', {
    fix: 'Run `npm start` for the sample, or `npm run millrace -- ingest FILE`.',
  });
}

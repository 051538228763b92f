/** Which tenants a command asks for: the one that was named, or every one that has exceptions. */
import { MillraceError } from '../core/errors.ts';
import type { Api } from './platform.ts';

export async function tenantsOf(api: Api, named: string | undefined): Promise<readonly string[]> {
  if (named !== undefined) return [named];
  const { items } = await api.get<{ items: readonly string[] }>('/ops/tenants');
  if (items.length > 0) return items;
  throw new MillraceError('NOT_FOUND', 'No tenant was named, and none has exceptions yet.', {
    fix:
      'Name one with --tenant: by themselves only tenants with exceptions are found. ' +
      '`start` reads a sample of them, `ingest FILE` your own.',
  });
}

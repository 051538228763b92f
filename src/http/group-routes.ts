/** Groups of the log: how far they are behind, what they keep, and removing one nobody runs. */
import { createGroups } from '../events/groups.ts';
import type { Millrace } from '../millrace.ts';
import { membersOf } from './parameters.ts';
import { type Route, requestInvalid } from './route.ts';

export function groupRoutes({ store }: Millrace): readonly Route[] {
  const groups = createGroups(store);
  return [
    {
      method: 'GET',
      path: '/ops/groups',
      tenant: 'none',
      handle: async () => ({ body: { items: await groups.list() } }),
    },
    {
      method: 'POST',
      path: '/ops/groups/:group/remove',
      tenant: 'none',
      async handle({ params, body }) {
        const { discardFailures = false } = membersOf(body ?? {}, ['discardFailures']);
        if (typeof discardFailures !== 'boolean') {
          throw requestInvalid('discardFailures is neither true nor false.');
        }
        await groups.remove(params.group ?? '', { discardFailures });
        return { body: { removed: true } };
      },
    },
  ];
}

/** For who runs the process: what it did so far, which tenants there are, which wakers count. */
import type { Millrace } from '../millrace.ts';
import { type DeploymentMode, deploymentModes } from '../runtime/heads.ts';
import { choiceOf, membersOf } from './parameters.ts';
import { type Route, requestInvalid } from './route.ts';
import type { Statistics } from './statistics.ts';

export interface OperationsOptions {
  readonly mill: Millrace;
  readonly statistics: Statistics;
}

export function operationsRoutes({ mill, statistics }: OperationsOptions): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/ops/statistics',
      tenant: 'optional',
      async handle({ tenantId }) {
        return { body: await statistics.report(tenantId === '' ? undefined : [tenantId]) };
      },
    },
    {
      method: 'GET',
      path: '/ops/tenants',
      tenant: 'none',
      handle: async () => ({ body: { items: await statistics.tenants() } }),
    },
    {
      method: 'GET',
      path: '/ops/mode',
      tenant: 'none',
      handle: () => ({ body: { mode: mill.mode } }),
    },
    {
      method: 'POST',
      path: '/ops/mode',
      tenant: 'none',
      async handle({ body }) {
        const given = membersOf(body, ['mode']).mode;
        const mode = choiceOf<DeploymentMode>(given, 'mode', deploymentModes);
        if (mode === undefined)
          throw requestInvalid(`mode is missing; it can be ${deploymentModes.join(', ')}.`);
        await mill.switchMode(mode);
        return { body: { mode: mill.mode } };
      },
    },
  ];
}

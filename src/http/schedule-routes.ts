/** Schedules: what is enqueued when, and when next. No tenant: `default`, or all in a list. */
import { MillraceError } from '../core/errors.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { ScheduleView } from '../jobs/schedule/schedules.ts';
import { integerOf } from './parameters.ts';
import type { Route, RouteRequest } from './route.ts';

const tenantDefault = 'default';
const ticksDefault = 5;
const ticksMax = 1_000;

export function scheduleRoutes(jobs: Jobs): readonly Route[] {
  const one = '/ops/schedules/:name';
  const change = (
    name: string,
    act: (schedule: string, tenantId: string) => Promise<unknown>,
  ): Route => ({
    method: 'POST',
    path: `${one}/${name}`,
    tenant: 'optional',
    async handle(request) {
      const { name: schedule, tenantId } = await find(jobs, request);
      return { body: await act(schedule, tenantId) };
    },
  });
  return [
    {
      method: 'GET',
      path: '/ops/schedules',
      tenant: 'optional',
      async handle({ tenantId }) {
        return { body: { items: await jobs.schedules(tenantId === '' ? null : tenantId) } };
      },
    },
    {
      method: 'GET',
      path: one,
      tenant: 'optional',
      handle: async (request) => ({ body: await find(jobs, request) }),
    },
    {
      method: 'GET',
      path: `${one}/next`,
      tenant: 'optional',
      query: ['count'],
      async handle(request) {
        const count = integerOf(request.query, 'count', [1, ticksMax]) ?? ticksDefault;
        const { rule, paused, nextAt } = await find(jobs, request);
        // A schedule that will not fire any more has no next tick, whatever its rule says.
        const items = nextAt === null ? [] : jobs.previewSchedule(rule, count);
        return { body: { paused, items } };
      },
    },
    change('pause', (schedule, tenantId) => jobs.pauseSchedule(schedule, tenantId)),
    change('resume', (schedule, tenantId) => jobs.resumeSchedule(schedule, tenantId)),
    change('remove', async (schedule, tenantId) => ({
      removed: await jobs.unschedule(schedule, tenantId),
    })),
  ];
}

async function find(jobs: Jobs, { params, tenantId }: RouteRequest): Promise<ScheduleView> {
  const tenant = tenantId === '' ? tenantDefault : tenantId;
  const found = (await jobs.schedules(tenant)).find(({ name }) => name === params.name);
  if (found) return found;
  throw new MillraceError('NOT_FOUND', `Tenant ${tenant} has no schedule ${params.name}.`, {
    fix: 'Check the name and the tenant; GET /ops/schedules lists those of every tenant.',
  });
}

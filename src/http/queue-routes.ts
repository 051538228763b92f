/** Queues with their counts and settings, and the processes that work on them. */
import { MillraceError } from '../core/errors.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobCounts } from '../ports/job-queries.ts';
import type { Limits, QueueSettings, QueueState } from '../ports/jobs.ts';
import { membersOf, numberOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';

export interface QueueAnswer extends QueueState {
  readonly counts: JobCounts;
  /** Live processes that listen to it. */
  readonly workers: number;
}

const concurrencyMax = 1_000_000;
const rateMax = 10_000_000;
const perMsMax = 366 * 86_400_000;
const lengthMax = 2_147_483_647;

export function queueRoutes(jobs: Jobs): readonly Route[] {
  const one = '/ops/queues/:queue';
  const change = (name: string, act: (queue: string, request: RouteRequest) => Promise<void>) => ({
    method: 'POST' as const,
    path: `${one}/${name}`,
    tenant: 'none' as const,
    async handle(request: RouteRequest) {
      // A misspelt name would be a new queue, paused for ever.
      const { queue } = await find(jobs, request.params.queue);
      await act(queue, request);
      return { body: await find(jobs, queue) };
    },
  });
  return [
    {
      method: 'GET',
      path: '/ops/queues',
      tenant: 'none',
      handle: async () => ({ body: { items: await list(jobs) } }),
    },
    {
      method: 'GET',
      path: one,
      tenant: 'none',
      handle: async ({ params }) => ({ body: await find(jobs, params.queue) }),
    },
    change('pause', (queue) => jobs.pause(queue)),
    change('resume', (queue) => jobs.resume(queue)),
    change('limits', (queue, { body }) => jobs.configureQueue(settingsOf(queue, body))),
    {
      method: 'GET',
      path: '/ops/workers',
      tenant: 'none',
      handle: async () => ({ body: { items: await jobs.workers() } }),
    },
  ];
}

async function list(jobs: Jobs): Promise<readonly QueueAnswer[]> {
  const [queues, counts, workers] = await Promise.all([
    jobs.queues(),
    jobs.counts(),
    jobs.workers(),
  ]);
  return queues.flatMap((state) => {
    const counted = counts.get(state.queue);
    // Made between the two questions: the next answer has it.
    if (counted === undefined) return [];
    const listening = workers.filter(({ alive, queues }) => alive && queues.includes(state.queue));
    return [{ ...state, counts: counted, workers: listening.length }];
  });
}

async function find(jobs: Jobs, queue: string | undefined): Promise<QueueAnswer> {
  const found = (await list(jobs)).find((state) => state.queue === queue);
  if (found) return found;
  throw new MillraceError('NOT_FOUND', `There is no queue ${queue}.`, {
    fix: 'GET /ops/queues lists them; a queue comes to be with its first job or worker.',
  });
}

/** `null` removes a limit, what is not given stays as it is. */
function settingsOf(queue: string, body: RouteRequest['body']): QueueSettings {
  const members = membersOf(body, ['limits', 'keyLimits', 'lengthMax']);
  if (Object.keys(members).length === 0) {
    throw requestInvalid(
      'Nothing is to be changed.',
      'Send limits, keyLimits or lengthMax; null removes one.',
    );
  }
  const { limits, keyLimits } = members;
  const length = members.lengthMax === null ? null : numberOf(members, 'lengthMax', [1, lengthMax]);
  return {
    queue,
    ...(limits !== undefined && { limits: limits === null ? null : limitsOf(limits) }),
    ...(keyLimits !== undefined && { keyLimits: keyLimits === null ? null : limitsOf(keyLimits) }),
    ...(length !== undefined && { lengthMax: length }),
  };
}

function limitsOf(body: RouteRequest['body']): Limits {
  const members = membersOf(body, ['concurrency', 'rate']);
  const concurrency = numberOf(members, 'concurrency', [1, concurrencyMax]);
  if (members.rate === undefined) return { ...(concurrency !== undefined && { concurrency }) };
  const rate = membersOf(members.rate, ['max', 'perMs']);
  const max = numberOf(rate, 'max', [1, rateMax]);
  const perMs = numberOf(rate, 'perMs', [1, perMsMax]);
  if (max === undefined || perMs === undefined) {
    throw requestInvalid('rate needs both max and perMs.', 'Send { "max": 10, "perMs": 1000 }.');
  }
  return { ...(concurrency !== undefined && { concurrency }), rate: { max, perMs } };
}

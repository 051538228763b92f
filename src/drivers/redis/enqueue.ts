/** Jobs with a row each: delayed, unique, dependent, or wanted by their id at once. */
import { MillraceError } from '../../core/errors.ts';
import { formatJobId } from '../../core/job.ts';
import type { EnqueueResult, JobStore, NewJob } from '../../ports/jobs.ts';
import { type Context, withLanes } from './context.ts';
import type { Lane } from './lanes.ts';
import { type Child, carryNews, linkChildren } from './news.ts';
import { recordOf } from './records.ts';
import { refusal } from './refusals.ts';
import { scripts } from './scripts.ts';

interface Part {
  readonly queue: string;
  readonly jobs: readonly NewJob[];
  readonly lanes: readonly Lane[];
}

/** 'tick': once for ever under this id. 'probe': only look whether it would be refused. */
type Kind = '' | 'tick' | 'probe';

interface EnqueueOptions {
  readonly enqueueId: string;
  readonly kind?: Kind;
}

type Reply = [state: string, news: number, ...placed: (string | number)[]];

export function createEnqueue(context: Context): JobStore['enqueue'] {
  // Whichever try of an enqueue comes first stores it: nothing depends on `again`.
  return async (jobs, { enqueueId, tx }) => {
    if (tx) {
      throw new MillraceError('CAPABILITY_MISSING', 'Redis takes no part in a SQL transaction.', {
        fix: 'Enqueue after the commit, or keep queues in Postgres.',
      });
    }
    return enqueueRows(context, jobs, { enqueueId });
  };
}

/**
 * All or none of one queue. Of several queues each is a step of its own: those that would be
 * refused are found before anything is stored, but for what happens in the very moment between.
 */
export async function enqueueRows(
  context: Context,
  jobs: readonly NewJob[],
  options: EnqueueOptions,
): Promise<EnqueueResult[]> {
  const places = Map.groupBy(jobs.keys(), (i) => (jobs[i] as NewJob).queue);
  const parts = new Map<string, Part>();
  for (const [queue, own] of places) {
    const some = own.map((i) => jobs[i] as NewJob);
    const lanes = await context.lanes.ofRows(
      queue,
      some.map(({ tenantId }) => tenantId),
    );
    const parents = some.flatMap(({ dependsOn }) => dependsOn.map(({ lane }) => lane));
    await context.lanes.load(parents);
    parts.set(queue, { queue, jobs: some, lanes });
  }
  if (parts.size > 1) {
    for (const part of parts.values()) await store(context, part, { ...options, kind: 'probe' });
  }
  const results = new Array<EnqueueResult>(jobs.length);
  for (const part of parts.values()) {
    const stored = await store(context, part, options);
    for (const [k, i] of (places.get(part.queue) ?? []).entries()) {
      results[i] = stored[k] as EnqueueResult;
    }
  }
  return results;
}

async function store(
  context: Context,
  part: Part,
  { enqueueId, kind = '' }: EnqueueOptions,
): Promise<EnqueueResult[]> {
  const { redis, keys, lanes } = context;
  const { queue, jobs } = part;
  const args: (string | number)[] = [enqueueId, kind, jobs.length];
  for (const [i, job] of jobs.entries())
    args.push(...jobArguments(job, part.lanes[i] as Lane, lanes));
  const attempt = () => redis.run<Reply>(scripts.enqueue, keys.queue(queue), args);
  const reply = await withLanes(context, () => part.lanes, attempt);
  if (reply[0] !== 'ok') throw refusal(reply, { queue });
  const [, news, ...placed] = reply;
  if (kind === 'probe' || placed.length === 0) return [];
  const results = jobs.map((_, i) => ({
    lane: Number(placed[3 * i]),
    offset: Number(placed[3 * i + 1]),
    duplicate: Number(placed[3 * i + 2]) === 1,
  }));
  if (news === 1) await carryNews(context, queue);
  const children = results.flatMap((at, i): Child[] => {
    const { onParentFailure: policy, dependsOn } = jobs[i] as NewJob;
    const parents = dependsOn.filter(({ lane }) => lanes.get(lane)?.queue !== queue);
    if (at.duplicate || parents.length === 0) return [];
    return [{ id: formatJobId(at), policy, parents: parents.map(formatJobId) }];
  });
  await linkChildren(context, queue, children);
  return results;
}

function jobArguments(job: NewJob, lane: Lane, lanes: Context['lanes']): (string | number)[] {
  const { priority, tenantId, key, delayMs, unique, onParentFailure, dependsOn } = job;
  const parents = dependsOn.flatMap((parent) => {
    const isForeign = lanes.get(parent.lane)?.queue !== job.queue;
    return [formatJobId(parent), isForeign ? '1' : ''];
  });
  return [
    ...[lane.lane, priority, tenantId, key, recordOf(job), Math.max(0, Math.ceil(delayMs))],
    ...[unique?.mode ?? '', unique?.key ?? '', Math.ceil(unique?.windowMs ?? 0), onParentFailure],
    ...[dependsOn.length, ...parents],
  ];
}

/**
 * Schedules, in a slot of their own. A firing moves the schedule on and puts its jobs into that
 * slot's outbox, in one step; from there they are enqueued in the slots of their queues, where the
 * id of a tick is taken once, and then struck out. What a crash leaves in the outbox the next look
 * for due schedules delivers.
 */
import { MillraceError } from '../../core/errors.ts';
import type { NewJob } from '../../core/job.ts';
import type { ScheduleRecord, ScheduleStore } from '../../ports/schedules.ts';
import type { Context } from './context.ts';
import { enqueueRows } from './enqueue.ts';
import { sendNotice } from './news.ts';
import { scripts } from './scripts.ts';

/** A schedule as stored: '' for no time, the job as text. */
interface StoredSchedule extends Omit<ScheduleRecord, 'job' | 'nextAt' | 'lastAt'> {
  readonly job: string;
  readonly nextAt: string;
  readonly lastAt: string;
}

const fieldOf = (tenantId: string, name: string) => `${tenantId}\u001f${name}`;
const msOf = (time: string | null) => (time === null ? '' : Date.parse(time));
const timeOf = (time: string | null) => (time === null ? '' : new Date(time).toISOString());

export function createSchedules(context: Context): ScheduleStore {
  const { redis, keys } = context;
  const base = keys.schedules;
  return {
    async save(schedule) {
      const { tenantId, name, ruleJson, job, paused, nextAt, lastAt } = schedule;
      const field = fieldOf(tenantId, name);
      const args = [field, tenantId, name, ruleJson, JSON.stringify(job), paused ? '1' : ''];
      args.push(timeOf(nextAt), timeOf(lastAt), String(msOf(nextAt)));
      type Reply = [revision: number, lastAt: string];
      const [revision, known] = await redis.run<Reply>(scripts.saveSchedule, base, args);
      return {
        ...schedule,
        nextAt: timeOf(nextAt) || null,
        lastAt: known || null,
        revision,
      };
    },
    async remove(tenantId, name) {
      return (await redis.run(scripts.removeSchedule, base, [fieldOf(tenantId, name)])) === 1;
    },
    async find(tenantId, name) {
      const field = fieldOf(tenantId, name);
      const text = await redis.send<string | null>(base, ['HGET', `${base}:all`, field]);
      return text === null ? null : toRecord(text);
    },
    async list(tenantId) {
      const texts = await redis.send<string[]>(base, ['HVALS', `${base}:all`]);
      return texts
        .map(toRecord)
        .filter((schedule) => tenantId === null || schedule.tenantId === tenantId)
        .sort((a, b) => compare(a.tenantId, b.tenantId) || compare(a.name, b.name));
    },
    async due(now, limit) {
      await deliverTicks(context);
      const args = [Date.parse(now), limit];
      return (await redis.run<string[]>(scripts.dueSchedules, base, args)).map(toRecord);
    },
    async nextAt() {
      const args = ['ZRANGE', `${base}:next`, '0', '0', 'WITHSCORES'];
      const [, ms] = await redis.send<string[]>(base, args);
      return ms === undefined ? null : new Date(Number(ms)).toISOString();
    },
    async fire({ tenantId, name, revision, ticks, nextAt, lastAt }) {
      // A full queue refuses now, and the schedule stays due: else ticks would pile up in `:out`.
      await mayEnqueue(
        context,
        ticks.map(({ job }) => job),
      );
      const field = fieldOf(tenantId, name);
      const args = [field, revision, timeOf(nextAt), timeOf(lastAt), msOf(nextAt)];
      for (const { at, job } of ticks) {
        args.push(`${field}\u001f${timeOf(at)}`, JSON.stringify(job));
      }
      const fired = (await redis.run<number>(scripts.fireSchedule, base, args)) === 1;
      if (fired && ticks.length > 0) await deliverTicks(context);
      return fired;
    },
  };
}

/** @throws BACKPRESSURE */
async function mayEnqueue(context: Context, jobs: readonly NewJob[]): Promise<void> {
  try {
    await enqueueRows(context, jobs, { enqueueId: crypto.randomUUID(), kind: 'probe' });
  } catch (error) {
    if (!isRefused(error, 'JOB_DUPLICATE')) throw error;
  }
}

const isRefused = (error: unknown, code: string) =>
  error instanceof MillraceError && error.code === code;

/**
 * Enqueues what has fired. A unique key that is taken takes the place of the tick's job; what a
 * queue has no room for stays in the outbox, and holds up nothing behind it.
 */
async function deliverTicks(context: Context): Promise<void> {
  const { redis, keys } = context;
  const key = `${keys.schedules}:out`;
  const entries = await redis.send<string[]>(keys.schedules, ['LRANGE', key, '0', '-1']);
  const queues = new Set<string>();
  for (const entry of entries) {
    const { id, job: text } = JSON.parse(entry) as { id: string; job: string };
    const job = JSON.parse(text) as NewJob;
    try {
      await enqueueRows(context, [job], { enqueueId: id, kind: 'tick' });
    } catch (error) {
      if (isRefused(error, 'BACKPRESSURE')) continue;
      if (!isRefused(error, 'JOB_DUPLICATE')) throw error;
    }
    await redis.send(keys.schedules, ['LREM', key, '1', entry]);
    queues.add(job.queue);
  }
  for (const queue of queues) await sendNotice(context, `jobs ${queue}`);
}

const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));

function toRecord(text: string): ScheduleRecord {
  const { job, nextAt, lastAt, ...rest } = JSON.parse(text) as StoredSchedule;
  return {
    ...rest,
    job: JSON.parse(job) as NewJob,
    nextAt: nextAt || null,
    lastAt: lastAt || null,
  };
}

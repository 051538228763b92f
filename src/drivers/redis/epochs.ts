/**
 * Epochs: who may settle and claim. The registry says who lives; each queue's slot has its own
 * record of an epoch, so that a script there can refuse it.
 */
import type { JobRef } from '../../core/job.ts';
import type { JobStore, WorkerInfo } from '../../ports/jobs.ts';
import { bury, type DeadEpoch, declareDead, type RecoveredJob } from './burial.ts';
import type { Context } from './context.ts';
import { sweepQueues } from './news.ts';
import { scripts } from './scripts.ts';

export interface Epochs extends Pick<JobStore, 'register' | 'retire' | 'workers' | 'recover'> {
  /** Lets an epoch work in a queue; false when it is not alive. */
  enter(epoch: number, queue: string): Promise<boolean>;
}

/** What is left undone by others is looked for so often. */
const sweepMsMin = 2_000;
/** Whoever declared an epoch dead has so long to finish; then others do. */
const takeoverMsDefault = 5_000;

export function createEpochs(
  context: Context,
  { takeoverMs = takeoverMsDefault }: { readonly takeoverMs?: number } = {},
): Epochs {
  const { redis, keys } = context;
  let sweptAt = Number.NEGATIVE_INFINITY;

  const enterSlot = async (epoch: number, queue: string) =>
    (await redis.run<number>(scripts.enterQueue, keys.queue(queue), [epoch])) === 1;

  return {
    async enter(epoch, queue) {
      const joined = await redis.run<number>(scripts.joinQueue, keys.registry, [epoch, queue]);
      return joined === 1 && (await enterSlot(epoch, queue));
    },
    async register({ workerId, queues, timeToLiveMs, host, pid }) {
      const who = JSON.stringify({ workerId, queues, host, pid });
      const args = [who, timeToLiveMs, ...queues];
      const epoch = await redis.run<number>(scripts.register, keys.registry, args);
      await Promise.all(queues.map((queue) => enterSlot(epoch, queue)));
      return epoch;
    },
    async retire(epoch) {
      for (const dead of await declareDead(context, epoch, takeoverMs))
        await bury(context, dead, 1);
    },
    async workers() {
      type Worker = [epoch: string, text: string, beat: string];
      const [now, found] = await redis.run<[number, Worker[]]>(
        scripts.listWorkers,
        keys.registry,
        [],
      );
      return found.map((worker) => infoOf(worker, now)).sort((a, b) => a.epoch - b.epoch);
    },
    async recover({ crashesMax }) {
      const silent = await declareDead(context, null, takeoverMs);
      const dead = crashesMax === null ? silent.map(withoutCrash) : silent;
      const jobs: RecoveredJob[] = [];
      for (const one of dead) jobs.push(...(await bury(context, one, crashesMax ?? 1)));
      if (performance.now() - sweptAt > sweepMsMin) {
        sweptAt = performance.now();
        await sweepQueues(context);
      }
      return {
        workers: dead.filter(({ isNew }) => isNew).length,
        jobs: jobs.map(({ quarantined: _, ...job }) => job),
        quarantined: jobs.filter(({ quarantined }) => quarantined).map(refOf),
      };
    },
  };
}

/** The store was away: silence does not mean that the worker died. */
const withoutCrash = (dead: DeadEpoch): DeadEpoch => ({ ...dead, crashed: false });

const refOf = ({ lane, offset }: JobRef): JobRef => ({ lane, offset });

function infoOf([epoch, text, beat]: [string, string, string], now: number): WorkerInfo {
  const { who, ttl, startedAt } = JSON.parse(text) as {
    who: string;
    ttl: number;
    startedAt: number;
  };
  const { workerId, queues, host, pid } = JSON.parse(who) as Pick<
    WorkerInfo,
    'workerId' | 'queues' | 'host' | 'pid'
  >;
  const [beatAt, running, concurrency] = beat.split(' ').map(Number) as [number, number, number];
  return {
    epoch: Number(epoch),
    workerId,
    queues,
    startedAt: new Date(startedAt).toISOString(),
    heartbeatAt: new Date(beatAt).toISOString(),
    alive: now - beatAt <= ttl,
    running,
    concurrency,
    host,
    pid,
  };
}

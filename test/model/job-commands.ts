/**
 * What is done to a queue at random: each command does it to a real store and to the model, and
 * compares. Numbers in a command choose from what is there when it runs, so that a sequence still
 * means something when fast-check leaves commands out.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { NewJob, UniqueMode } from '../../src/core/job.ts';
import {
  byId,
  code,
  doneWith,
  enqueueRows,
  failedWith,
  idOf,
  idsOf,
  newExchange,
  newJobs,
  ref,
  settlementOf,
  silence,
  startWorker,
  type TestWorker,
} from '../../src/ports/jobs.fixtures.conformance.ts';
import type {
  ClaimedJob,
  ExchangeResult,
  JobFailure,
  JobStore,
  JobVerb,
} from '../../src/ports/jobs.ts';
import { crashesMax, type JobModel, type ModelJob } from './job-model.ts';

export interface RealQueue {
  readonly stores: readonly [JobStore, JobStore];
  readonly queue: string;
  readonly tenant: string;
  readonly workers: Map<string, TestWorker>;
  /** As they came with a claim; by id. */
  readonly held: Map<string, ClaimedJob>;
}

/** The worker that dies. */
export const mortal = 'mortal';
const mortalMs = 20;
const shortMs = 6;
const longMs = 600_000;
export const workerNames = ['first', 'second', mortal] as const;

/** The first two are of two stores, as of two processes. */
export async function startModelWorker(real: RealQueue, name: string): Promise<void> {
  const [one, two] = real.stores;
  const options = name === mortal ? { timeToLiveMs: mortalMs } : {};
  real.workers.set(name, await startWorker(name === 'second' ? two : one, real.queue, options));
}

/** Those of the list whose bit is set. */
const chosen = <T>(list: readonly T[], bits: number) =>
  list.filter((_, i) => ((bits >> (i % 24)) & 1) === 1);

const dueAfter = ({ delayMs }: { readonly delayMs: number }, startedAt: number) => ({
  from: startedAt + delayMs,
  by: performance.now() + delayMs,
});

export async function checkCounts(model: JobModel, { stores, queue }: RealQueue): Promise<void> {
  const [store] = stores;
  const counts = (await store.queries.counts([queue])).get(queue);
  assert.ok(counts);
  model.checkCounts(counts, performance.now(), store.capabilities.history);
}

/** One exchange: what is settled of what the worker has, what is enqueued, how many claimed. */
export interface ExchangePlan {
  readonly worker: (typeof workerNames)[number];
  /** Bits that choose among what the worker has; what two of them choose goes to the first. */
  readonly done: number;
  readonly failed: number;
  readonly released: number;
  readonly failure: Pick<JobFailure, 'status' | 'delayMs' | 'counts'>;
  readonly enqueue: readonly Pick<NewJob, 'key' | 'priority'>[];
  readonly claim: number;
  /** Sent twice, as after a lost answer. */
  readonly again: boolean;
}

function outcomesOf(model: JobModel, real: RealQueue, plan: ExchangePlan) {
  const held = model.heldBy(plan.worker);
  const done = chosen(held, plan.done);
  const failed = chosen(held, plan.failed).filter((job) => !done.includes(job));
  const released = chosen(held, plan.released).filter(
    (job) => !done.includes(job) && !failed.includes(job),
  );
  const claimOf = (job: ModelJob) => real.held.get(idOf(job.ref)) as ClaimedJob;
  return {
    done,
    failed,
    released,
    settle: settlementOf({
      done: done.map((job) => doneWith(claimOf(job))),
      failed: failed.map((job) => failedWith(claimOf(job), plan.failure)),
      released: released.map((job) => ref(claimOf(job))),
    }),
  };
}

export async function exchange(
  model: JobModel,
  real: RealQueue,
  plan: ExchangePlan,
): Promise<number> {
  const worker = real.workers.get(plan.worker) as TestWorker;
  const store = real.stores[plan.worker === 'second' ? 1 : 0];
  const { done, failed, released, settle } = outcomesOf(model, real, plan);
  const jobs = plan.enqueue.map(
    (job) => newJobs(real, 1, { from: model.nextNumber(), ...job })[0] as NewJob,
  );
  const request = newExchange(real.queue, {
    epoch: worker.epoch,
    settle,
    enqueue: jobs,
    claim: plan.claim > 0 ? await worker.request(plan.claim) : null,
  });
  const startedAt = performance.now();
  const answer = await store.exchange(request);
  for (const job of done) model.done(job);
  for (const job of failed) model.failed(job, plan.failure, dueAfter(plan.failure, startedAt));
  for (const job of released) model.released(job);
  const { enqueued } = answer;
  assert.equal(enqueued.length, jobs.length);
  for (const [i, at] of enqueued.entries()) {
    const { priority, payloadJson } = jobs[i] as NewJob;
    const { n } = JSON.parse(payloadJson) as { n: number };
    model.add(ref(at), { n, priority, untouched: true });
  }
  take(model, real, plan, answer, startedAt);
  if (plan.again) {
    const again = performance.now();
    const second = await store.exchange({ ...request, again: true });
    assert.deepEqual(second.enqueued.map(ref), enqueued.map(ref), 'enqueued, sent again');
    // A claim that got nothing may get something when it is repeated.
    if (answer.claimed.length === 0) take(model, real, plan, second, again);
    else assert.deepEqual(idsOf(second.claimed), idsOf(answer.claimed), 'claimed, sent again');
  }
  await checkCounts(model, real);
  return answer.claimed.length;
}

function take(
  model: JobModel,
  real: RealQueue,
  { worker, claim }: ExchangePlan,
  { claimed, lanesLeft, nextDueMs }: ExchangeResult,
  startedAt: number,
): void {
  const more = lanesLeft.length > 0 || nextDueMs === 0;
  model.claimed(claimed, { worker, max: claim, more, startedAt, endedAt: performance.now() });
  for (const job of claimed) real.held.set(idOf(job), job);
}

type Command = fc.AsyncCommand<JobModel, RealQueue>;

/** A command by its parts: what it is called, whether it makes sense now, what it does. */
function command(
  title: string,
  run: (model: JobModel, real: RealQueue) => Promise<unknown>,
  check: (model: JobModel) => boolean = () => true,
): Command {
  return {
    check,
    toString: () => title,
    async run(model, real) {
      await run(model, real);
      await checkCounts(model, real);
    },
  };
}

const place = fc.record({
  key: fc.constantFrom('', 'a', 'b'),
  priority: fc.constantFrom(0, 0, 1),
});
const bits = fc.nat({ max: 2 ** 24 - 1 });
const some = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: bits });
const failure = fc.constantFrom<ExchangePlan['failure']>(
  { status: 'retrying', delayMs: 0, counts: true },
  { status: 'retrying', delayMs: 0, counts: false },
  { status: 'retrying', delayMs: shortMs, counts: true },
  { status: 'retrying', delayMs: longMs, counts: true },
  { status: 'dead', delayMs: 0, counts: true },
  { status: 'cancelled', delayMs: 0, counts: false },
);

const exchanges = fc
  .record({
    worker: fc.constantFrom(...workerNames),
    done: some,
    failed: some,
    released: some,
    failure,
    enqueue: fc.array(place, { maxLength: 4 }),
    claim: fc.constantFrom(0, 1, 2, 3, 100),
    again: fc.boolean(),
  })
  .map((plan) => command(`exchange(${JSON.stringify(plan)})`, (m, r) => exchange(m, r, plan)));

const rows = fc
  .record({ place, delayMs: fc.constantFrom(0, 0, shortMs, longMs), store: fc.nat({ max: 1 }) })
  .map(({ place: { key, priority }, delayMs, store }) =>
    command(`enqueue row(${JSON.stringify({ key, priority, delayMs })})`, async (model, real) => {
      const n = model.nextNumber();
      const startedAt = performance.now();
      const [at] = await enqueueRows(
        real.stores[store] as JobStore,
        newJobs(real, 1, { from: n, key, priority, delayMs }),
      );
      assert.ok(at && !at.duplicate);
      const delayed = { status: 'delayed' as const, due: dueAfter({ delayMs }, startedAt) };
      model.add(ref(at), { n, priority, ...(delayMs > 0 && delayed) });
    }),
  );

/** Each key has one mode. What the port leaves open (a suspect that is replaced) is not tried. */
async function enqueueUnique(model: JobModel, real: RealQueue, mode: UniqueMode, store: number) {
  const key = `key-${mode}`;
  const before = model.holderOf(key);
  // More than one, when the running one came back beside the one that was stored meanwhile.
  const waiting = model.list().filter((job) => job.uniqueKey === key && job.status === 'waiting');
  const n = model.nextNumber();
  const unique = { key, mode, windowMs: longMs };
  const enqueue = enqueueRows(
    real.stores[store] as JobStore,
    newJobs(real, 1, { from: n, unique }),
  );
  if (mode === 'reject' && before) {
    await assert.rejects(enqueue, code('JOB_DUPLICATE'));
    return sleep(2); // a server may answer before it has let go of what it locked
  }
  const [at] = await enqueue;
  assert.ok(at);
  const replaced = waiting.find((job) => idOf(job.ref) === idOf(at)) ?? waiting[0];
  const known = mode === 'replace' ? replaced : before;
  const what = `${mode}: ${known ? `${idOf(known.ref)}, ${known.status}` : 'none'} was there`;
  assert.equal(at.duplicate, known !== undefined, what);
  if (known === undefined) return model.add(ref(at), { n, priority: 0, uniqueKey: key });
  assert.equal(idOf(at), idOf(known.ref), what);
  if (mode === 'replace') known.n = n;
}

const isPlainCase = (model: JobModel, mode: UniqueMode) =>
  model
    .list()
    .filter(({ uniqueKey }) => uniqueKey === `key-${mode}`)
    .every(
      ({ status, failures, crashes }) =>
        status !== 'quarantined' &&
        (mode !== 'replace' || (failures === 0 && crashes === 0 && status !== 'retrying')),
    );

const uniques = fc
  .record({
    mode: fc.constantFrom<UniqueMode>('reject', 'keep', 'replace'),
    store: fc.nat({ max: 1 }),
  })
  .map(({ mode, store }) =>
    command(
      `enqueue unique(${mode})`,
      (model, real) => enqueueUnique(model, real, mode, store),
      (model) => isPlainCase(model, mode),
    ),
  );

async function change(model: JobModel, real: RealQueue, verb: JobVerb, which: number) {
  const jobs = chosen(model.list(), which).filter((job) => model.isClear(verb, job));
  const asked = jobs.slice(0, 6);
  const [store] = real.stores;
  const changed = byId(
    await store.change(
      verb,
      asked.map(({ ref: at }) => at),
    ),
  );
  const now = performance.now();
  const ids = new Set(changed);
  assert.ok(
    changed.every((id) => asked.some((job) => idOf(job.ref) === id)),
    'no other job',
  );
  for (const job of asked) model.change(verb, job, ids.has(idOf(job.ref)), now);
  if (verb !== 'retry') return;
  // Whether one that saw workers die is a suspect still is the store's to say.
  const retried = asked.filter(({ ref: at }) => ids.has(idOf(at)));
  const found = await store.queries.find(retried.map(({ ref: at }) => at));
  for (const [i, job] of retried.entries()) {
    const crashes = found[i]?.crashes ?? -1;
    assert.ok(crashes >= 0 && crashes <= job.crashes, `${crashes} after ${job.crashes} crashes`);
    job.crashes = crashes;
  }
}

const verbs = fc
  .record({ verb: fc.constantFrom<JobVerb>('cancel', 'retry', 'run', 'remove'), which: bits })
  .map(({ verb, which }) =>
    command(`${verb}(${which.toString(2)})`, (model, real) => change(model, real, verb, which)),
  );

const pauses = fc.constantFrom(true, false).map((paused) =>
  command(
    paused ? 'pause' : 'resume',
    async (model, { stores, queue }) => {
      await stores[1].configure([{ queue, paused }]);
      model.paused = paused;
    },
    (model) => model.paused !== paused,
  ),
);

async function kill(model: JobModel, real: RealQueue): Promise<void> {
  const worker = real.workers.get(mortal) as TestWorker;
  await silence(real.stores[1], worker);
  const recovery = await real.stores[1].recover({ crashesMax });
  const own = recovery.jobs.filter(({ queue }) => queue === real.queue);
  const held = model.heldBy(mortal).map((job) => real.held.get(idOf(job.ref)) as ClaimedJob);
  const lost = model.crashed(mortal);
  assert.deepEqual(byId(own), byId(lost.map(({ ref: at }) => at)), 'recovered');
  for (const { lane, offset, crashes } of own) {
    assert.equal(crashes, model.get({ lane, offset }).crashes, idOf({ lane, offset }));
  }
  const poison = lost.filter(({ status }) => status === 'quarantined');
  const ids = byId(poison.map(({ ref: at }) => at));
  const seen = byId(recovery.quarantined).filter((id) => idsOf(own).includes(id));
  assert.deepEqual(seen, ids, 'quarantined');
  // The dead one does not know yet.
  const late = newExchange(real.queue, {
    epoch: worker.epoch,
    settle: settlementOf({ done: held.map((job) => doneWith(job)) }),
    enqueue: newJobs(real, 1),
    claim: await worker.request(5),
  });
  await assert.rejects(real.stores[0].exchange(late), code('LEASE_LOST'));
  await startModelWorker(real, mortal);
}

const kills = fc.constant(command('kill', kill));
const advances = fc.constant(command('advance', () => sleep(shortMs * 2)));

export const commands = [
  exchanges,
  exchanges,
  exchanges,
  exchanges,
  rows,
  uniques,
  verbs,
  verbs,
  pauses,
  kills,
  advances,
];

/**
 * What a queue should be, in memory and as simple as it can be said: jobs with a state, and what
 * each call makes of them. Where the port leaves the store a choice, the model takes the store's
 * answer and checks that it was allowed.
 */
import assert from 'node:assert/strict';
import { isSuspect, type JobStatus, jobStatuses } from '../../src/core/job.ts';
import type { JobCounts } from '../../src/ports/job-queries.ts';
import { idOf, verbOutcomes } from '../../src/ports/jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobFailure, JobRef, JobVerb } from '../../src/ports/jobs.ts';

/** When a delayed job becomes due, by the test's clock: not before, and at the latest. */
interface Due {
  readonly from: number;
  readonly by: number;
}

export interface ModelJob {
  readonly ref: JobRef;
  /** The payload. */
  n: number;
  readonly priority: number;
  status: JobStatus;
  /** For 'delayed' and 'retrying'. */
  due: Due | null;
  failures: number;
  crashes: number;
  /** Who has it; also one that was cancelled, until its worker lets go. */
  holder: string | null;
  /** Plain, and never claimed: these come in the order of their lane. */
  untouched: boolean;
  readonly uniqueKey: string | null;
}

export interface ClaimMade {
  readonly worker: string;
  readonly max: number;
  readonly startedAt: number;
  readonly endedAt: number;
  /** It said that there is more to claim: it may then have given less than it could. */
  readonly more: boolean;
}

/** Rounding of two clocks. */
const slackMs = 2;
export const crashesMax = 3;
const finished: ReadonlySet<JobStatus> = new Set(['completed', 'dead', 'cancelled']);
const unfinished = (job: ModelJob) => !finished.has(job.status) && job.status !== 'quarantined';

export class JobModel {
  readonly jobs = new Map<string, ModelJob>();
  paused = false;
  #numbers = 0;

  nextNumber(): number {
    this.#numbers += 1;
    return this.#numbers;
  }

  list(): readonly ModelJob[] {
    return [...this.jobs.values()];
  }

  get(job: JobRef): ModelJob {
    const known = this.jobs.get(idOf(job));
    assert.ok(known, `the store names ${idOf(job)}, which nobody enqueued`);
    return known;
  }

  heldBy(worker: string): readonly ModelJob[] {
    return this.list().filter((job) => job.holder === worker);
  }

  add(ref: JobRef, rest: Pick<ModelJob, 'n' | 'priority'> & Partial<ModelJob>): void {
    assert.ok(!this.jobs.has(idOf(ref)), `${idOf(ref)} was given to two jobs`);
    const fresh = { status: 'waiting' as const, due: null, failures: 0, crashes: 0, holder: null };
    this.jobs.set(idOf(ref), { ref, ...fresh, untouched: false, uniqueKey: null, ...rest });
  }

  /** The unfinished one of a key that stands in the way of another. */
  holderOf(uniqueKey: string): ModelJob | undefined {
    return this.list().find((job) => job.uniqueKey === uniqueKey && unfinished(job));
  }

  done({ ref }: ModelJob): void {
    this.#letGo(this.get(ref), (job) => {
      job.status = 'completed';
    });
  }

  failed(
    { ref }: ModelJob,
    { status, counts }: Pick<JobFailure, 'status' | 'counts'>,
    due: Due,
  ): void {
    this.#letGo(this.get(ref), (job) => {
      job.status = status;
      job.due = status === 'retrying' ? due : null;
      if (counts) job.failures += 1;
    });
  }

  released({ ref }: ModelJob): void {
    this.#letGo(this.get(ref), (job) => {
      job.status = 'waiting';
    });
  }

  /** A job that was cancelled meanwhile stays cancelled, whatever its worker says. */
  #letGo(job: ModelJob, end: (job: ModelJob) => void): void {
    if (job.status === 'running') end(job);
    job.holder = null;
  }

  /** Of a worker that died: what it held, by id, each with what becomes of it. */
  crashed(worker: string): readonly ModelJob[] {
    const held = this.heldBy(worker);
    const lost = held.filter(({ status }) => status === 'running');
    for (const job of held) {
      job.holder = null;
      job.crashes += 1; // of a cancelled one as well, which shows when it is retried
    }
    for (const job of lost) {
      job.status = job.crashes >= crashesMax ? 'quarantined' : 'waiting';
    }
    return lost;
  }

  /** Whether the port says what the verb does to it now. */
  isClear(verb: JobVerb, job: ModelJob): boolean {
    if (verb === 'cancel') return job.status !== 'quarantined';
    const held = job.holder !== null && job.status === 'cancelled';
    if (verb === 'retry' && job.uniqueKey !== null && !unfinished(job)) return false;
    return !held;
  }

  change(verb: JobVerb, job: ModelJob, changed: boolean, now: number): void {
    const outcome = verbOutcomes[verb][job.status];
    const isSoon = job.due !== null && job.due.from <= now;
    const what = `${verb} of ${idOf(job.ref)}, ${job.status}`;
    // The store may have seen that it is due, or not yet.
    if (!(verb === 'run' && isSoon)) assert.equal(changed, outcome !== undefined, what);
    if (!changed) return;
    job.untouched = false;
    job.due = null;
    if (verb === 'retry') job.failures = 0;
    if (outcome === null) {
      this.jobs.delete(idOf(job.ref));
    } else if (outcome !== undefined) {
      job.status = outcome;
    }
  }

  /** Checks what a claim answered, and gives the jobs to the worker. */
  claimed(jobs: readonly ClaimedJob[], claim: ClaimMade): void {
    const { sound, suspects } = this.#eligible(({ by }) => by + slackMs <= claim.startedAt);
    const most = this.#eligible(({ from }) => from - slackMs <= claim.endedAt);
    const room = (some: typeof most) => some.sound.length + Math.min(1, some.suspects.length);
    const low = this.paused ? 0 : Math.min(claim.max, room({ sound, suspects }));
    const high = this.paused ? 0 : Math.min(claim.max, room(most));
    const count = `${jobs.length} claimed, ${low} to ${high} of ${claim.max} were to be`;
    assert.ok((jobs.length >= low || claim.more) && jobs.length <= high, count);
    const allowed = new Set([...most.sound, ...most.suspects]);
    const known = jobs.map((job) => this.get(job));
    assert.equal(new Set(known).size, known.length, 'no job twice in a claim');
    for (const [i, job] of known.entries()) {
      const seen = jobs[i] as ClaimedJob;
      const what = `${idOf(job.ref)}, ${job.status}`;
      assert.ok(allowed.has(job), `${what}, was claimed`);
      const { n } = JSON.parse(seen.payloadJson) as { n: number };
      const { failures, crashes, priority } = seen;
      const { n: number, failures: f, crashes: c, priority: p } = job;
      assert.deepEqual(
        { n, failures, crashes, priority },
        { n: number, failures: f, crashes: c, priority: p },
        what,
      );
    }
    assert.ok(known.filter(isSuspect).length <= 1, 'suspects come one by one');
    this.#checkOrder(known, sound);
    for (const job of known) {
      Object.assign(job, { status: 'running', holder: claim.worker, untouched: false, due: null });
    }
  }

  /** The smaller priority first; within a lane the smaller offset. */
  #checkOrder(claimed: readonly ModelJob[], sound: readonly ModelJob[]): void {
    const left = sound.filter((job) => !claimed.includes(job));
    const sequence = [...claimed, ...left.filter(({ untouched }) => untouched)];
    for (const [i, job] of claimed.entries()) {
      const before = claimed[i - 1];
      const order = `${idOf(job.ref)} of priority ${job.priority}`;
      assert.ok(!before || before.priority <= job.priority, `${order} came too late`);
      const urgent = left.find(({ priority }) => priority < job.priority);
      assert.ok(!urgent, `${order} overtook ${urgent && idOf(urgent.ref)}`);
      if (!job.untouched) continue;
      const overtaken = sequence
        .slice(i + 1)
        .find(
          ({ ref, untouched }) =>
            untouched && ref.lane === job.ref.lane && ref.offset < job.ref.offset,
        );
      assert.ok(!overtaken, `${order} overtook ${overtaken && idOf(overtaken.ref)} of its lane`);
    }
  }

  /** Jobs that may run: waiting, or due by that measure. */
  #eligible(isDue: (due: Due) => boolean) {
    const ready = this.list().filter(
      ({ status, due }) =>
        status === 'waiting' ||
        ((status === 'delayed' || status === 'retrying') && due !== null && isDue(due)),
    );
    return {
      sound: ready.filter((job) => !isSuspect(job)),
      suspects: ready.filter(isSuspect),
    };
  }

  /** What a store counts; a job that may be due by now counts as waiting or as what it was. */
  checkCounts(counts: JobCounts, now: number, history: boolean): void {
    const of = (status: JobStatus, soon: boolean) =>
      this.list().filter(
        (job) => job.status === status && soon === (job.due !== null && job.due.from <= now),
      ).length;
    const queued = ['waiting', 'delayed', 'retrying'] as const;
    for (const status of jobStatuses) {
      if (status === 'completed' && !history) continue;
      const sure = of(status, false);
      const soon =
        status === 'waiting' ? of('delayed', true) + of('retrying', true) : of(status, true);
      const seen = counts[status];
      const what = `${seen} are ${status}, ${sure} to ${sure + soon} should be`;
      assert.ok(seen >= sure && seen <= sure + soon, what);
    }
    const all = queued.reduce((sum, status) => sum + counts[status], 0);
    const wanted = queued.reduce((sum, status) => sum + of(status, false) + of(status, true), 0);
    assert.equal(all, wanted, 'waiting, delayed and retrying together');
  }
}

/**
 * The working side of a process: its session, a worker per queue, and the way from how a handler
 * ended to what is settled. Everything that listeners and waiters learn, they learn after the
 * commit.
 */
import { backoffDelayMs } from '../core/backoff.ts';
import { errorRecord, type JobErrorRecord } from '../core/error-record.ts';
import { isMillraceError, MillraceError } from '../core/errors.ts';
import { formatJobId, isSuspect, type JobOverrides, type JobRef, parseJobId } from '../core/job.ts';
import type { JobLog } from '../core/job-context.ts';
import type { AnyJobDefinition } from '../core/job-definition.ts';
import { outcomeOf } from '../core/job-outcome.ts';
import type { ClaimedJob, JobDone, JobFailure, JobStore } from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';
import { CatchAlls } from './catch-all.ts';
import type { ConductedQueue, Conductor } from './conducting.ts';
import type { RunContext } from './context.ts';
import { Deadlines } from './deadlines.ts';
import type { Enqueuer } from './enqueuer.ts';
import { Executor, type JobMiddleware } from './executor.ts';
import type { Gates } from './gates.ts';
import type { JobAttempt, Lifecycle } from './lifecycle.ts';
import { QueueWorker } from './queue-worker.ts';
import type { Ending, RunningJob } from './running-job.ts';
import { Session } from './session.ts';
import type { Waiters } from './waiters.ts';

export interface WorkOptions {
  readonly store: JobStore;
  readonly workerId: string;
  readonly enqueuer: Enqueuer;
  readonly lifecycle: Lifecycle;
  readonly waiters: Waiters;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly crashesMax: number;
  readonly claimMax: number;
  readonly log: (job: JobAttempt) => JobLog;
  readonly gates: Gates;
  /** There is an epoch: which lanes have jobs is to be found out. */
  onBegun(): void;
  onLost(epoch: number, cause: MillraceError): void;
  onError(error: unknown, where: string): void;
}

/** A job of a name that nobody here knows is offered again after so long. */
const unknownMs = 5_000;

export interface JobTotals {
  enqueued: number;
  started: number;
  completed: number;
  failed: number;
  retried: number;
  dead: number;
  cancelled: number;
  refused: number;
  recovered: number;
}

export class Work {
  readonly totals: Omit<JobTotals, 'enqueued'> = {
    started: 0,
    completed: 0,
    failed: 0,
    retried: 0,
    dead: 0,
    cancelled: 0,
    refused: 0,
    recovered: 0,
  };
  readonly session: Session;
  readonly middleware: JobMiddleware[] = [];
  readonly #options: WorkOptions;
  readonly #workers = new Map<string, QueueWorker>();
  readonly #definitions = new Map<string, AnyJobDefinition>();
  readonly #catchAlls = new CatchAlls();
  readonly #executor: Executor;
  readonly #progress = new Map<string, JobRef & { progressJson: string }>();
  #progressTimer: NodeJS.Timeout | null = null;

  constructor(options: WorkOptions) {
    this.#options = options;
    const { store, onError, lifecycle } = options;
    this.session = new Session({
      store,
      workerId: options.workerId,
      heartbeatMs: options.heartbeatMs,
      timeToLiveMs: options.timeToLiveMs,
      crashesMax: options.crashesMax,
      queues: () => [...this.#workers.keys()],
      load: () => this.load(),
      onBegun: options.onBegun,
      onLost: (cause, epoch) => {
        this.#lose(cause);
        options.onLost(epoch, cause);
      },
      onCancelled: (jobs) => this.cancelHere(jobs),
      onRecovered: ({ jobs, quarantined }) => {
        this.totals.recovered += jobs.length;
        for (const queue of new Set(jobs.map(({ queue }) => queue))) this.wake(queue, []);
        for (const job of jobs) if (isSuspect(job)) this.#workers.get(job.queue)?.expectSuspects();
        for (const { queue, crashes, ...ref } of jobs) {
          lifecycle.emit('recovered', { id: formatJobId(ref), queue, crashes });
        }
        for (const ref of quarantined) lifecycle.emit('quarantined', { id: formatJobId(ref) });
      },
      onError,
    });
    this.#executor = new Executor({
      store,
      deadlines: new Deadlines(),
      middleware: this.middleware,
      tools: {
        progress: (run, value) => this.#noteProgress(run, value),
        results: (job) => this.#parentResults(job),
        log: (run) => options.log(attemptOf(run)),
      },
      onStarted: ({ context }) => {
        this.totals.started += 1;
        if (lifecycle.wants('started')) lifecycle.emit('started', attemptOf(context));
      },
      onWoken: (queues) => {
        for (const queue of queues) options.enqueuer.tell(queue, []);
      },
      onEnded: (run, ending, settled) => this.#settle(run, ending, settled),
    });
  }

  define(definition: AnyJobDefinition): void {
    this.#definitions.set(definition.name, definition);
  }

  defined(name: string): AnyJobDefinition | undefined {
    return this.#definitions.get(name);
  }

  catchAll(
    queue: string,
    definition: AnyJobDefinition,
    knows: ((name: string) => boolean) | null = null,
  ): void {
    this.#catchAlls.add(queue, { definition, knows });
  }

  /** A worker for the queue; a second call for the same queue changes nothing. */
  workOn(queue: string, concurrency: number, solitary = true): void {
    if (this.#workers.has(queue)) return;
    const channel = this.#options.enqueuer.channel(queue);
    const worker = new QueueWorker({
      channel,
      session: this.session,
      concurrency,
      claimMax: this.#options.claimMax,
      solitary,
      definitionOf: (name) => this.#definitionFor(queue, name),
      executor: this.#executor,
      putOff: (job, epoch) => this.#putOff(job, epoch),
      handBack: (jobs, epoch) => this.#handBack(queue, jobs, epoch),
      onClaimed: (report) => this.#options.gates.conductorOf(queue)?.claimed(report),
      apart: () => this.#options.gates.apart(queue),
    });
    this.#workers.set(queue, worker);
    channel.attach({
      wish: (enqueues) => worker.wish(enqueues),
      begin: (wish) => worker.begin(wish),
      accept: (result, claimNo, wish) => worker.accept(result, claimNo, wish),
      refuse: (epoch, jobs, cause) => {
        this.totals.refused += jobs;
        if (jobs > 0) this.#options.lifecycle.emit('refused', { jobs });
        worker.refuse(epoch, jobs, cause);
      },
      committed: (settlement) => {
        this.#letGo(settlement.done);
        for (const { claimNo, status, delayMs } of settlement.failed) {
          this.session.letGo(claimNo, 1);
          if (status === 'retrying') worker.expect(delayMs);
        }
        worker.settled();
      },
      get epoch() {
        return worker.epoch;
      },
      get apart() {
        return worker.apart;
      },
    });
    worker.wake();
  }

  get queues(): readonly string[] {
    return [...this.#workers.keys()];
  }

  worker(queue: string): QueueWorker | undefined {
    return this.#workers.get(queue);
  }

  load(): { running: number; concurrency: number } {
    let running = 0;
    let concurrency = 0;
    for (const worker of this.#workers.values()) {
      running += worker.running;
      concurrency += worker.concurrency;
    }
    return { running, concurrency };
  }

  /** @throws MillraceError CONFIG_INVALID when somebody conducts it already. */
  conduct(queue: string, conductor: Conductor, concurrency: number): ConductedQueue {
    const worker = this.#workers.get(queue) as QueueWorker;
    const close = this.#options.gates.conduct(queue, conductor);
    const before = worker.concurrency;
    worker.resize(Math.max(before, concurrency));
    return {
      queue,
      get running() {
        return worker.running;
      },
      get buffered() {
        return worker.buffered;
      },
      get concurrency() {
        return worker.concurrency;
      },
      claim: (lanes) => worker.wake(lanes),
      claimSome: (lane, most) => worker.wakeFor(lane, most),
      readyLanes: () => this.#options.store.readyLanes(queue),
      hold: () => worker.hold(),
      proceed: () => worker.proceed(),
      abort: (cause) => worker.abort(cause),
      close: () => {
        close();
        worker.resize(before);
      },
    };
  }

  wake(queue: string, lanes: readonly number[]): void {
    this.#workers.get(queue)?.wake(lanes);
  }

  wakeAll(): void {
    for (const worker of this.#workers.values()) worker.wake();
  }

  /** Whether it is paused still, the next claim says: the notice of its end may have been lost. */
  askAgain(queue: string): void {
    const worker = this.#workers.get(queue);
    if (worker) worker.paused = false;
  }

  /** A queue may have been resumed, or its limits changed. */
  reconsider(queue: string): void {
    const worker = this.#workers.get(queue);
    if (!worker) return;
    worker.paused = false;
    worker.settled();
    worker.wake();
  }

  /** Cancelled in the store: what of it runs here is told, what waits here is not started. */
  cancelHere(jobs: readonly JobRef[]): void {
    for (const ref of jobs) {
      for (const worker of this.#workers.values()) {
        worker.find(ref)?.cancel();
        const waiting = worker.drop(ref);
        if (waiting) this.#letGoCancelled(waiting);
      }
    }
  }

  /** Claims nothing more, waits for handlers, then tells those that are left to stop. */
  async stop(graceMs: number): Promise<void> {
    const { epoch } = this.session;
    for (const [queue, worker] of this.#workers) {
      const left = worker.stopClaiming();
      if (left.length > 0 && epoch !== null) {
        this.#options.enqueuer.channel(queue).settle(epoch, { released: left }, null, true);
      }
    }
    await this.#idle(graceMs);
    const cause = new MillraceError('SHUTTING_DOWN', 'The worker stops; the job will run again.');
    for (const worker of this.#workers.values()) worker.abort(cause);
    await this.#idle(1_000);
    for (const worker of this.#workers.values()) worker.forget(cause);
    await this.#flushProgress();
    for (const queue of this.queues) await this.#options.enqueuer.channel(queue).flush();
    await this.session.stop();
    await this.#executor.close();
  }

  async #idle(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs;
    const busy = () => [...this.#workers.values()].some((worker) => !worker.idle);
    while (busy() && performance.now() < until) await sleep(5);
  }

  /** Jobs of one claim mostly stand together. */
  #letGo(done: readonly JobDone[]): void {
    let count = 0;
    for (const [i, { claimNo }] of done.entries()) {
      count += 1;
      if (done[i + 1]?.claimNo === claimNo) continue;
      this.session.letGo(claimNo, count);
      count = 0;
    }
  }

  #definitionFor(queue: string, name: string): AnyJobDefinition | null {
    const definition = this.#definitions.get(name);
    if (definition && definition.body.kind !== 'none') return definition;
    return this.#catchAlls.find(queue, name);
  }

  #lose(cause: MillraceError): void {
    for (const worker of this.#workers.values()) worker.forget(cause);
  }

  #putOff(job: ClaimedJob, epoch: number, error: MillraceError = unknownJob(job)): void {
    const failed = failureOf(job, 'retrying', unknownMs, errorRecord(error), false);
    this.#options.enqueuer.channel(job.queue).settle(epoch, { failed }, null, false);
  }

  /** They wait again, first in line and without a try counted. */
  #handBack(queue: string, jobs: readonly ClaimedJob[], epoch: number): void {
    const after = () => {
      for (const { claimNo } of jobs) this.session.letGo(claimNo, 1);
    };
    this.#options.enqueuer.channel(queue).settle(epoch, { released: jobs }, after, true);
  }

  #letGoCancelled(job: ClaimedJob): void {
    const { epoch } = this.session;
    if (epoch === null) return;
    const failed = failureOf(job, 'cancelled', 0, null, false);
    this.#options.enqueuer.channel(job.queue).settle(epoch, { failed }, null, false);
  }

  #settle(run: RunningJob, ending: Ending, settled: boolean): void {
    if (ending.kind === 'lost') return;
    const { lifecycle, enqueuer } = this.#options;
    const { job, context, epoch } = run;
    // What the worker's own stop made fail counts no try.
    if (ending.kind === 'error' && run.handedBack) {
      this.#handBack(job.queue, [job], epoch);
      return;
    }
    if (ending.kind === 'value') {
      let resultJson: string | null = null;
      try {
        resultJson = context.definition.printResult(ending.value);
      } catch (error) {
        this.#fail(run, error);
        return;
      }
      this.totals.completed += 1;
      const tell = lifecycle.wants('completed') || this.#options.waiters.any;
      const after = tell ? () => this.#tellCompleted(run, resultJson, ending.value) : null;
      if (settled) {
        this.session.letGo(job.claimNo, 1);
        after?.();
        return;
      }
      const { lane, offset, claimNo, exceptional } = job;
      const done = { lane, offset, claimNo, exceptional, resultJson };
      const urgent = tell && this.#options.waiters.any;
      enqueuer.channel(job.queue).settle(epoch, { done }, after, urgent);
    } else if (ending.kind === 'cancelled') {
      this.totals.cancelled += 1;
      const failed = failureOf(job, 'cancelled', 0, null, false);
      enqueuer.channel(job.queue).settle(epoch, { failed }, null, false);
      lifecycle.emit('cancelled', { ...attemptOf(context), reason: 'It was cancelled.' });
      this.#options.waiters.finish(context.id, {
        kind: 'failed',
        status: 'cancelled',
        error: null,
      });
    } else this.#fail(run, ending.error);
  }

  #fail(run: RunningJob, thrown: unknown): void {
    const { lifecycle, enqueuer, waiters, onError } = this.#options;
    const { job, context, epoch } = run;
    if (isMillraceError(thrown) && thrown.code === 'JOB_VERSION_UNSUPPORTED') {
      this.#putOff(job, epoch, thrown); // newer code knows it, in a roll-out
      return;
    }
    const outcome = outcomeOf(thrown);
    const record = errorRecord(thrown);
    const attempt = context.attempt;
    const { attempts, backoff } = context.settings;
    const facts = () => attemptOf(context);
    const settle = (failed: JobFailure, after: () => void, urgent = false) =>
      enqueuer.channel(job.queue).settle(epoch, { failed }, after, urgent);
    if (outcome.kind === 'cancelled') {
      this.totals.cancelled += 1;
      settle(failureOf(job, 'cancelled', 0, record, true), () => {
        lifecycle.emit('cancelled', { ...facts(), reason: record.message });
        waiters.finish(context.id, { kind: 'failed', status: 'cancelled', error: record });
      });
      return;
    }
    if (outcome.kind === 'snoozed') {
      settle(failureOf(job, 'retrying', outcome.delayMs, record, false), () => {});
      return;
    }
    this.totals.failed += 1;
    if (outcome.kind === 'dead' || attempt >= attempts) {
      this.totals.dead += 1;
      settle(
        failureOf(job, 'dead', 0, record, true),
        () => {
          lifecycle.emit('dead', { ...facts(), error: record });
          waiters.finish(context.id, { kind: 'failed', status: 'dead', error: record });
        },
        waiters.any,
      );
      return;
    }
    this.totals.retried += 1;
    const onProblem = (problem: MillraceError) => onError(problem, `backoff of ${job.name}`);
    const delayMs = backoffDelayMs(backoff, { attempt, error: thrown, onProblem });
    settle(failureOf(job, 'retrying', delayMs, record, true), () =>
      lifecycle.emit('retrying', { ...facts(), error: record, delayMs }),
    );
  }

  #tellCompleted(run: RunningJob, resultJson: string | null, result: unknown): void {
    const { lifecycle, waiters } = this.#options;
    const { context, startedAt } = run;
    if (lifecycle.wants('completed')) {
      const durationMs = performance.now() - startedAt;
      lifecycle.emit('completed', { ...attemptOf(context), result, durationMs });
    }
    if (waiters.wants(context.id)) waiters.finish(context.id, { kind: 'completed', resultJson });
  }

  #noteProgress(context: RunContext, value: unknown): void {
    const progressJson = context.definition.printProgress(value);
    const { lane, offset } = context.job;
    this.#progress.set(context.id, { lane, offset, progressJson });
    const { lifecycle } = this.#options;
    if (lifecycle.wants('progress')) {
      lifecycle.emit('progress', { ...attemptOf(context), progress: value });
    }
    this.#progressTimer ??= setTimeout(() => void this.#flushProgress(), 100);
  }

  async #flushProgress(): Promise<void> {
    if (this.#progressTimer) clearTimeout(this.#progressTimer);
    this.#progressTimer = null;
    const news = [...this.#progress.values()];
    this.#progress.clear();
    if (news.length === 0) return;
    await this.#options.store.progress(news).catch((error) => {
      this.#options.onError(error, 'progress');
    });
  }

  async #parentResults(job: ClaimedJob): Promise<unknown[]> {
    const { dependsOn = [] } = JSON.parse(job.optionsJson ?? '{}') as JobOverrides;
    const results = await this.#options.store.queries.results(dependsOn.map(parseJobId));
    return results.map((text) => (text === null ? undefined : JSON.parse(text)));
  }
}

function unknownJob({ name }: ClaimedJob): MillraceError {
  return new MillraceError('JOB_UNKNOWN', `No handler here knows the job '${name}'.`);
}

function attemptOf({ id, name, queue, tenantId, attempt }: RunContext): JobAttempt {
  return { id, name, queue, tenantId, attempt };
}

function failureOf(
  { lane, offset, claimNo, exceptional }: ClaimedJob,
  status: JobFailure['status'],
  delayMs: number,
  error: JobErrorRecord | null,
  counts: boolean,
): JobFailure {
  return { lane, offset, claimNo, exceptional, status, delayMs, error, counts };
}

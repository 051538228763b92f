/**
 * Queues as users see them: enqueue, work, look, change, schedule. Everything is delegated; this
 * file only says what belongs together and in which order a process starts and stops.
 */
import { MillraceError } from '../core/errors.ts';
import { formatJobId, type JobRef, type NewJob, parseJobId } from '../core/job.ts';
import type {
  AnyJobDefinition,
  JobDefinition,
  JobInput,
  JobResult,
} from '../core/job-definition.ts';
import type { JobOptions } from '../core/job-options.ts';
import type { ScheduleOptions } from '../core/schedule-rule.ts';
import type { JobCounts, JobFilter } from '../ports/job-queries.ts';
import type { JobStore, JobVerb, QueueSettings, QueueState, WorkerInfo } from '../ports/jobs.ts';
import type { DeploymentMode } from '../runtime/heads.ts';
import { Listener } from '../runtime/listener.ts';
import { parseJobsNotice } from './announcer.ts';
import { type BulkJobsRequest, type BulkOperation, startBulkOperation } from './bulk-operation.ts';
import type { ConductedQueue, Conductor } from './conducting.ts';
import { consoleLog } from './console-log.ts';
import { Enqueuer, withParents } from './enqueuer.ts';
import type { JobMiddleware } from './executor.ts';
import { Gates } from './gates.ts';
import { jobsHealth } from './health.ts';
import { type JobEventName, type JobEvents, Lifecycle } from './lifecycle.ts';
import type {
  CatchAllOptions,
  Enqueued,
  EnqueueItem,
  EnqueueOptions,
  JobsHealth,
  JobsOptions,
  WorkOptions,
} from './options.ts';
import type { Why } from './reason.ts';
import { createSchedules, type Schedules, type ScheduleView } from './schedule/schedules.ts';
import { Tenure } from './tenure.ts';
import { asSqlTransaction } from './transaction.ts';
import { Upkeep } from './upkeep.ts';
import { changeJobs } from './verbs.ts';
import { type JobView, toJobView } from './view.ts';
import { resultOf, Waiters } from './waiters.ts';
import { explainJob } from './why.ts';
import { type JobTotals, Work } from './work.ts';

const concurrencyDefault = 10;
const weekMs = 7 * 86_400_000;

export class Jobs {
  readonly store: JobStore;
  readonly workerId = crypto.randomUUID();
  /** For what else this process holds under its epoch. */
  readonly tenure: Tenure;
  readonly #options: JobsOptions;
  readonly #lifecycle = new Lifecycle();
  readonly #waiters: Waiters;
  readonly #enqueuer: Enqueuer;
  readonly #work: Work;
  readonly #listener: Listener;
  readonly #schedules: Schedules;
  readonly #stopping = new AbortController();
  readonly #upkeep: Upkeep;
  readonly #gates: Gates;
  readonly #onClose: () => Promise<void>;
  #state: 'new' | 'started' | 'stopped' = 'new';
  #listening = false;
  #errors = 0;
  #lastError: string | null = null;

  constructor(store: JobStore, options: JobsOptions = {}, onClose = async () => {}) {
    this.store = store;
    this.#options = options;
    this.#onClose = onClose;
    const onError = (error: unknown, where: string) => this.#noteError(error, where);
    this.#gates = new Gates(options.mode ?? 'Hybrid', (...woken) => this.#work.wake(...woken));
    this.#waiters = new Waiters(store);
    const { batchMax = 2_000, bufferMax = 20_000 } = options;
    this.#enqueuer = new Enqueuer({
      store,
      batchMax,
      bufferMax,
      patienceMs: 30_000,
      settleMs: 1.5,
      othersListen: () => this.#state !== 'started' || this.#work.session.workers !== 1,
      onWaiting: (queue, lanes) => this.#gates.tell(queue, lanes, 'local'),
      onError,
    });
    this.#work = new Work({
      store,
      workerId: this.workerId,
      enqueuer: this.#enqueuer,
      lifecycle: this.#lifecycle,
      waiters: this.#waiters,
      heartbeatMs: options.heartbeatMs ?? 1_000,
      timeToLiveMs: options.timeToLiveMs ?? 5_000,
      crashesMax: options.crashesMax ?? 3,
      claimMax: batchMax,
      log: options.log ?? consoleLog,
      gates: this.#gates,
      // Lanes first: a claim that knows of none would take what is less urgent.
      onBegun: () => {
        void this.#upkeep.lookAtAll();
        this.tenure.begun();
      },
      onLost: (epoch, cause) => this.tenure.lost(epoch, cause),
      onError,
    });
    this.tenure = this.#createTenure();
    this.#listener = new Listener(store.notices, {
      probeEveryMs: 5_000,
      backoffMs: [50, 2_000],
      onNotice: (notice) => this.#hear(notice),
      onConnected: () => void this.#upkeep.lookAtAll(),
    });
    this.#upkeep = new Upkeep({
      store,
      pollMs: options.pollMs ?? [50, 1_000],
      retentionMs: options.retentionMs === undefined ? weekMs : options.retentionMs,
      queues: () => this.#work.queues,
      listens: () => this.#listener.connected && this.mode !== 'PollingOnly',
      polls: (queue) => this.#gates.polls(queue),
      tell: (queue, lanes, source) => {
        this.#work.askAgain(queue);
        this.#gates.tell(queue, lanes, source);
      },
      onError,
    });
    this.#schedules = createSchedules({
      schedules: store.schedules,
      onFired: ({ queue }) => this.#enqueuer.tell(queue, []),
      onError: (error, schedule) => onError(error, `schedule ${schedule?.name ?? ''}`.trim()),
    });
  }

  /**
   * Enqueues one job; resolves after the durable commit.
   * @example const { id } = await jobs.enqueue(SendInvoice, { invoiceId: 'inv_001' });
   * @throws MillraceError JOB_INVALID naming the field, JOB_DUPLICATE, BACKPRESSURE
   */
  async enqueue<D extends AnyJobDefinition>(
    definition: D,
    payload: JobInput<D>,
    options?: EnqueueOptions,
  ): Promise<Enqueued<JobResult<D>>> {
    const [enqueued] = await this.#enqueue([this.#prepare(definition, payload, options)], options);
    return enqueued as Enqueued<JobResult<D>>;
  }

  /** Enqueues many jobs of one kind, in order; resolves when all are durable. */
  async enqueueMany<D extends AnyJobDefinition>(
    definition: D,
    payloads: readonly JobInput<D>[],
    options?: EnqueueOptions,
  ): Promise<Enqueued<JobResult<D>>[]> {
    const nowMs = Date.now();
    const jobs = payloads.map((payload) => this.#prepare(definition, payload, options, nowMs));
    return (await this.#enqueue(jobs, options)) as Enqueued<JobResult<D>>[];
  }

  /** Enqueues jobs of different kinds; resolves when all are durable. */
  async enqueueAll(
    items: readonly EnqueueItem[],
    options?: Pick<EnqueueOptions, 'tx'>,
  ): Promise<Enqueued[]> {
    const jobs = items.map(([definition, payload, own]) => this.#prepare(definition, payload, own));
    return this.#enqueue(jobs, options);
  }

  /**
   * Waits until a job has ended, wherever it runs, and answers with its result.
   * @throws MillraceError JOB_FAILED, JOB_CANCELLED, JOB_TIMEOUT, NOT_FOUND
   */
  async result<Result>(
    job: string | Enqueued<Result>,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Result> {
    const id = typeof job === 'string' ? job : job.id;
    this.#listen();
    const finish = await this.#waiters.wait(parseJobId(id), options);
    return resultOf(id, finish) as Result;
  }

  /**
   * Adds handlers; before or after start(). Each queue gets one worker with `concurrency` slots.
   * @example jobs.work([SendInvoice, RenderPdf], { concurrency: 20 });
   */
  work(
    definitions: AnyJobDefinition | readonly AnyJobDefinition[],
    options: WorkOptions = {},
  ): void {
    const list = Array.isArray(definitions) ? definitions : [definitions as AnyJobDefinition];
    const { concurrency = concurrencyDefault, queues = {}, middleware = [] } = options;
    this.#work.middleware.push(...middleware);
    for (const definition of list as readonly AnyJobDefinition[]) {
      if (definition.body.kind === 'none') {
        throw new MillraceError('CONFIG_INVALID', `${definition.name} has no handler.`, {
          fix: 'Define it with a handler in the process that works on it.',
        });
      }
      this.#work.define(definition);
      this.#begin(definition.queue, queues[definition.queue]?.concurrency ?? concurrency);
    }
  }

  /** A handler for every job of a queue, or those it `knows`, whose name has none of its own. */
  workQueue(queue: string, definition: AnyJobDefinition, options: CatchAllOptions = {}): void {
    const { concurrency = concurrencyDefault, knows, solitary } = options;
    this.#work.catchAll(queue, definition, knows);
    this.#begin(queue, concurrency, solitary);
  }

  /** How often the connection for notices was built anew. */
  get reconnects(): number {
    return this.#listener.rebuilt;
  }

  get mode(): DeploymentMode {
    return this.#gates.mode;
  }

  /**
   * Changes how jobs are found, while running: by notices, by looking, or both. Nothing is lost or
   * restarted by it, and due times count in every mode.
   * @throws MillraceError CONFIG_INVALID
   */
  async switchMode(mode: DeploymentMode): Promise<void> {
    this.#gates.mode = mode;
    this.#upkeep.reconsider();
    if (this.#state === 'started') await this.#upkeep.lookAtAll();
  }

  /** Leaves it to `conductor` when a queue is claimed from here, and how much. */
  conduct(queue: string, conductor: Conductor, concurrency = concurrencyDefault): ConductedQueue {
    this.#begin(queue, concurrency);
    return this.#work.conduct(queue, conductor, concurrency);
  }

  /** Wraps the handlers of single jobs, the first one outermost. */
  use(middleware: JobMiddleware): void {
    this.#work.middleware.push(middleware);
  }

  /** Calls the listener for what happens in this process; returns how to stop that. */
  on<Name extends JobEventName>(
    event: Name,
    listener: (event: JobEvents[Name]) => void,
  ): () => void {
    return this.#lifecycle.on(event, listener);
  }

  /** Begins to work, to schedule and to look after other workers. Safe to call again. */
  async start(): Promise<void> {
    if (this.#state === 'stopped') {
      throw new MillraceError('SHUTTING_DOWN', 'This instance was stopped.');
    }
    if (this.#state === 'started') return;
    this.#state = 'started';
    this.#listen();
    await this.#work.session.start();
    this.#upkeep.start();
    this.#schedules.start();
  }

  /** Drains handlers, hands back what they did not begin, waits for enqueues, closes the store. */
  async stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    if (this.#state === 'stopped') return;
    const wasStarted = this.#state === 'started';
    this.#state = 'stopped';
    if (wasStarted) {
      await this.#schedules.stop();
      await this.#work.stop(options.graceMs ?? this.#options.graceMs ?? 30_000);
    }
    await this.#enqueuer.close();
    this.#waiters.close();
    this.#stopping.abort();
    await this.#upkeep.stop();
    if (this.#listening) await this.#listener.stop();
    await this.store.close();
    await this.#onClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async get<Payload = unknown, Result = unknown, Progress = unknown>(
    id: string,
  ): Promise<JobView<Payload, Result, Progress> | null> {
    const [found] = await this.store.queries.find([parseJobId(id)]);
    return found ? toJobView(found) : null;
  }

  async list(
    filter: JobFilter = {},
    { limit = 100, after = null }: { limit?: number; after?: string | null } = {},
  ): Promise<{ readonly jobs: readonly JobView[]; readonly next: string | null }> {
    const page = await this.store.queries.list(filter, { limit, after });
    return { jobs: page.jobs.map((job) => toJobView(job)), next: page.next };
  }

  counts(queues?: readonly string[]): Promise<ReadonlyMap<string, JobCounts>> {
    return this.store.queries.counts(queues);
  }

  workers(): Promise<readonly WorkerInfo[]> {
    return this.store.workers();
  }

  /** Waiting, delayed or running, wherever it runs. Answers with the ids that were changed. */
  cancel(ids: string | readonly string[]): Promise<string[]> {
    return this.#change('cancel', ids);
  }
  /** Dead, cancelled or quarantined jobs wait again, their tries counted anew. */
  retry(ids: string | readonly string[]): Promise<string[]> {
    return this.#change('retry', ids);
  }
  /** Delayed and retrying jobs run now. */
  run(ids: string | readonly string[]): Promise<string[]> {
    return this.#change('run', ids);
  }
  remove(ids: string | readonly string[]): Promise<string[]> {
    return this.#change('remove', ids);
  }

  /** One verb for all jobs of a filter, as an object that can be watched, paused and stopped. */
  bulk(request: BulkJobsRequest): Promise<BulkOperation> {
    const change = (verb: JobVerb, refs: readonly JobRef[]) => this.#changeRefs(verb, refs);
    return startBulkOperation({ queries: this.store.queries, change }, request);
  }

  /** What holds a job up, and the command that clears it. */
  async why(id: string): Promise<Why> {
    const why = await explainJob(this.store, parseJobId(id));
    if (why) return why;
    throw new MillraceError('NOT_FOUND', `There is no job ${id}.`);
  }

  /** No job of the queue is started until it is resumed, by any worker. */
  pause(queue: string): Promise<void> {
    return this.configureQueue({ queue, paused: true });
  }
  resume(queue: string): Promise<void> {
    return this.configureQueue({ queue, paused: false });
  }
  queues(): Promise<readonly QueueState[]> {
    return this.store.queues();
  }
  /** Limits, length and pause of a queue, for all workers and from now on. */
  async configureQueue(settings: QueueSettings): Promise<void> {
    await this.store.configure([settings]);
    this.#work.reconsider(settings.queue);
    await this.store.notices.send(`queue ${encodeURIComponent(settings.queue)}`).catch(() => {});
  }

  /**
   * Enqueues a job at each tick of the rule; the same name again changes it.
   * @example await jobs.schedule('daily', { cron: '0 2 * * *' }, Report, {});
   */
  async schedule<D extends AnyJobDefinition>(
    name: string,
    rule: ScheduleOptions,
    definition: D,
    payload: JobInput<D>,
    options?: JobOptions,
  ): Promise<ScheduleView> {
    const job = this.#prepare(definition, payload, options);
    const saved = await this.#schedules.save(name, job.tenantId, rule, job);
    this.#schedulesChanged();
    return saved;
  }
  async unschedule(name: string, tenantId = 'default'): Promise<boolean> {
    return this.#schedules.remove(name, tenantId);
  }
  schedules(tenantId: string | null = null): Promise<readonly ScheduleView[]> {
    return this.#schedules.list(tenantId);
  }
  pauseSchedule(name: string, tenantId = 'default'): Promise<ScheduleView> {
    return this.#schedules.pause(name, tenantId);
  }
  async resumeSchedule(name: string, tenantId = 'default'): Promise<ScheduleView> {
    const resumed = await this.#schedules.resume(name, tenantId);
    this.#schedulesChanged();
    return resumed;
  }
  previewSchedule(rule: ScheduleOptions, count: number, after?: Date): readonly string[] {
    return this.#schedules.preview(rule, count, after);
  }

  /** What this process did so far. */
  totals(): JobTotals {
    return { enqueued: this.#enqueuer.enqueued, ...this.#work.totals };
  }

  health(): Promise<JobsHealth> {
    return jobsHealth({
      store: this.store,
      work: this.#work,
      workerId: this.workerId,
      started: this.#state === 'started',
      listens: this.#options.notices !== false,
      mode: this.mode,
      listening: this.#listener.connected,
      reconnects: this.reconnects,
      errors: this.#errors,
      lastError: this.#lastError,
      signal: this.#stopping.signal,
    });
  }

  #createTenure(): Tenure {
    return new Tenure({
      session: this.#work.session,
      notices: this.store.notices,
      tell: (queue) => this.#enqueuer.tell(queue, []),
      hold: (queue) => this.#work.worker(queue)?.hold(),
      listen: () => this.#listen(),
      listens: () => this.#listener.connected,
    });
  }

  #prepare(
    definition: AnyJobDefinition,
    payload: unknown,
    options?: EnqueueOptions,
    nowMs?: number,
  ): NewJob {
    const trace = options?.traceparent ?? this.#options.tracing?.current() ?? null;
    const traced = trace === null ? options : { ...options, traceparent: trace };
    const job = (definition as JobDefinition).prepare(payload, traced, nowMs);
    return job.dependsOn.length === 0 ? job : withParents(job);
  }

  async #enqueue(jobs: readonly NewJob[], options?: EnqueueOptions): Promise<Enqueued[]> {
    const results = options?.tx
      ? await this.#enqueuer.enqueueIn(asSqlTransaction(options.tx), jobs)
      : await this.#enqueuer.enqueue(jobs);
    if (this.#lifecycle.wants('enqueued')) this.#lifecycle.tellEnqueued(jobs, results);
    return results.map(({ lane, offset, duplicate = false }) => ({
      id: `${lane}-${offset}`,
      duplicate,
    }));
  }

  async #change(verb: JobVerb, ids: string | readonly string[]): Promise<string[]> {
    const list = typeof ids === 'string' ? [ids] : ids;
    return (await this.#changeRefs(verb, list.map(parseJobId))).map(formatJobId);
  }

  #changeRefs(verb: JobVerb, refs: readonly JobRef[]): Promise<readonly JobRef[]> {
    return changeJobs({ store: this.store, work: this.#work, waiters: this.#waiters }, verb, refs);
  }

  #begin(queue: string, concurrency: number, solitary?: boolean): void {
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
      throw new MillraceError('CONFIG_INVALID', `concurrency is ${concurrency}.`, {
        fix: 'Give a whole number from 1 to 10,000.',
      });
    }
    this.#work.workOn(queue, concurrency, solitary);
    if (this.#state === 'started') void this.#upkeep.lookAt(queue);
  }

  #hear(notice: string): void {
    const waiting = parseJobsNotice(notice);
    if (waiting) {
      this.#gates.tell(waiting.queue, waiting.lanes, 'notice');
      return;
    }
    const [what, ...rest] = notice.split(' ');
    if (what === 'cancel') this.#work.cancelHere(rest.map(parseJobId));
    else if (what === 'queue') this.#work.reconsider(decodeURIComponent(rest[0] ?? ''));
    else if (what === 'look') this.#work.wakeAll();
    else if (what === 'schedules') this.#schedules.wake();
    else this.#waiters.hear(notice);
    this.tenure.heard(notice);
  }

  #listen(): void {
    if (this.#listening || this.#options.notices === false || this.#state === 'stopped') return;
    this.#listening = true;
    this.#listener.start();
  }

  #schedulesChanged(): void {
    this.#schedules.wake();
    this.store.notices.send('schedules').catch(() => {});
  }

  #noteError(error: unknown, where: string): void {
    this.#errors += 1;
    this.#lastError = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#options.onError?.(error, where);
    this.#lifecycle.emit('error', { error, where });
  }
}

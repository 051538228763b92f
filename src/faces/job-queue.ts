/**
 * `JobQueue`: adds jobs to named queues, works on them, looks at them and changes them. A thin face
 * of the engine: what it shows is what the store says, for all processes.
 */
import type { JobStatus } from '../core/job.ts';
import type { JobCounts } from '../ports/job-queries.ts';
import { Connection, type ConnectionOptions, type Engine } from './connection.ts';
import { asJobError, asQueueError, QueueError } from './errors.ts';
import type { Job, JobRequest, StoredJob } from './job.ts';
import type { Processor } from './job-processor.ts';
import { toEnqueue } from './job-request.ts';
import { type QueueEvents, queueEvents } from './queue-events.ts';
import { readMaxLength } from './settings.ts';
import { toStoredJob } from './stored-job.ts';

export interface QueueOptions {
  readonly name: string;
  /**
   * Smaller goes first when a worker has fewer slots than its queues want; and what jobs without a
   * priority of their own have among the jobs of this queue. 0 by default.
   */
  readonly priority?: number | undefined;
  /** Jobs at a time in this process; that of the worker by default. */
  readonly concurrency?: number | undefined;
}

export interface JobQueueOptions extends ConnectionOptions {
  /** When given, no other queue is accepted: a misspelt name must not make a new one. */
  readonly queues?: readonly (string | QueueOptions)[] | undefined;
}

export interface ProcessOptions {
  /** Jobs at a time in this process. */
  readonly concurrency?: number | undefined;
}

/** What stands in a queue before it is run. */
const lengthStatuses: readonly JobStatus[] = ['waiting', 'delayed', 'retrying', 'blocked'];

export class JobQueue {
  readonly #connection: Connection;
  readonly #names: ReadonlySet<string> | null;
  readonly #maxLength: number | null;
  readonly #processors = new Set<Processor>();
  readonly #unsubscribe = new Set<() => void>();
  /** Queues that the store knows, with their length. */
  readonly #known = new Map<string, Promise<void>>();

  /** Connects when it is first used. @throws MillraceError CONFIG_INVALID */
  constructor(options: JobQueueOptions = {}) {
    this.#maxLength = readMaxLength(options);
    this.#connection = new Connection('JobQueue', options);
    const queues = options.queues?.map((queue) =>
      typeof queue === 'string' ? { name: queue } : queue,
    );
    this.#names = queues === undefined ? null : new Set(queues.map(({ name }) => name));
    for (const queue of queues ?? []) this.#engine.workshop.declare(queue.name, queue);
  }

  /**
   * Adds a job; resolves when it is durable.
   * @throws QueueError BACKPRESSURE when the queue is full, NOT_FOUND for a queue that was not
   * named, JOB_INVALID naming the field, STORE_UNAVAILABLE.
   */
  async add<Data>(queue: string, input: JobRequest<Data>): Promise<Job> {
    const [job] = await this.addBulk(queue, [input]);
    return job as Job;
  }

  /** Adds jobs in order; resolves when all are durable. */
  async addBulk(queue: string, inputs: readonly JobRequest[]): Promise<Job[]> {
    const name = this.#check(queue);
    return this.#do(queue, async () => {
      const scoped = this.#engine.scoped(name);
      const priority = this.#engine.workshop.priorityOf(name);
      const items = inputs.map((input) => {
        const { definition, payload, options } = toEnqueue(scoped, input, priority);
        return [definition, payload, options] as const;
      });
      await this.#know(name);
      const enqueued = await this.#engine.call((jobs) => jobs.enqueueAll(items));
      return inputs.map((input, i) => toAdded(input, name, enqueued[i]?.id as string));
    });
  }

  /**
   * Works on every job of a queue, in this process and from now on; types that a WorkerManager has
   * a processor for are done by that one.
   * @throws WorkerError DEFINITION_INVALID when the queue has a processor already.
   */
  async process<J extends Job>(
    queue: string,
    processor: Processor<J>,
    { concurrency }: ProcessOptions = {},
  ): Promise<void> {
    const name = this.#check(queue);
    const { workshop } = this.#engine;
    workshop.addQueue(name, processor as Processor);
    this.#processors.add(processor as Processor);
    if (concurrency !== undefined) workshop.declare(name, { concurrency });
    await this.#do(queue, async () => {
      await this.#know(name);
      await workshop.openByItself(name);
    });
  }

  /** Jobs that wait, are delayed or will be tried again; of all queues when none is named. */
  async getLength(queue?: string): Promise<number> {
    const counts = await this.#counts(queue);
    return counts.reduce(
      (sum, count) => lengthStatuses.reduce((all, status) => all + count[status], sum),
      0,
    );
  }

  /** How many jobs of each status a queue has. */
  async getCounts(queue: string): Promise<JobCounts> {
    const [counts] = await this.#counts(queue);
    return counts as JobCounts;
  }

  /** Null when there is none of this id, or not any more. */
  async getJob(id: string): Promise<StoredJob | null> {
    return this.#do(undefined, async () => {
      const view = await this.#engine.call((jobs) => jobs.get(id));
      const queue = view && this.#engine.unscoped(view.queue);
      return view && queue !== null ? { ...toStoredJob(view), queue } : null;
    });
  }

  /** The newest first, or as they will run where `status` is 'waiting'. */
  async getJobs(
    queue: string,
    { status, limit = 100 }: { status?: JobStatus; limit?: number } = {},
  ): Promise<StoredJob[]> {
    const scoped = this.#engine.scoped(this.#check(queue));
    return this.#do(queue, async () => {
      const filter = { queue: scoped, ...(status && { status }) };
      const page = await this.#engine.call((jobs) => jobs.list(filter, { limit }));
      return page.jobs.map((view) => ({ ...toStoredJob(view), queue }));
    });
  }

  /**
   * Waits until a job has ended, wherever it runs, and answers with what its processor returned.
   * @throws JobError JOB_FAILED, JOB_CANCELLED, JOB_TIMEOUT
   */
  async result(
    id: string,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<unknown> {
    try {
      return await this.#engine.result(id, options);
    } catch (error) {
      throw asJobError(error, id);
    }
  }

  /** Waiting or running, wherever it runs. False when it was over already. */
  cancel(id: string): Promise<boolean> {
    return this.#change('cancel', id);
  }
  /** A dead or cancelled job waits again. False when it was in no state for it. */
  retry(id: string): Promise<boolean> {
    return this.#change('retry', id);
  }
  /** A delayed or retrying job runs now. */
  promote(id: string): Promise<boolean> {
    return this.#change('run', id);
  }
  /** Any that is not running. */
  remove(id: string): Promise<boolean> {
    return this.#change('remove', id);
  }

  /** No job of the queue is started until it is resumed, by any worker. */
  async pause(queue: string): Promise<void> {
    const scoped = this.#engine.scoped(this.#check(queue));
    await this.#do(queue, () => this.#engine.call((jobs) => jobs.pause(scoped)));
  }
  async resume(queue: string): Promise<void> {
    const scoped = this.#engine.scoped(this.#check(queue));
    await this.#do(queue, () => this.#engine.call((jobs) => jobs.resume(scoped)));
  }

  /** What happens to jobs in this process. Returns how to stop listening. */
  on<E extends keyof QueueEvents>(event: E, listener: (event: QueueEvents[E]) => void): () => void {
    const names = this.#names;
    const unsubscribe = queueEvents(this.#engine, event, (payload) => {
      const queue = (payload as { queue?: string }).queue;
      if (names === null || queue === undefined || names.has(queue)) listener(payload);
    });
    this.#unsubscribe.add(unsubscribe);
    return unsubscribe;
  }

  /** Stops what this queue processes and disconnects, when no other face uses the connection. */
  async close(): Promise<void> {
    if (this.#connection.closed) return this.#connection.close();
    const { engine } = this.#connection;
    const worked = this.#processors.size > 0;
    engine.workshop.retire(this.#processors);
    await this.#connection.close();
    if (worked && engine.holders > 0) await engine.renew();
    engine.workshop.remove(this.#processors);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #engine(): Engine {
    return this.#connection.engine;
  }

  #check(queue: string): string {
    if (this.#names === null || this.#names.has(queue)) return queue;
    throw new QueueError('NOT_FOUND', `There is no queue '${queue}' here.`, {
      queue,
      fix: `Use one of ${[...this.#names].join(', ')}, or name it in the option queues.`,
    });
  }

  async #do<T>(queue: string | undefined, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw asQueueError(error, queue);
    }
  }

  /** Once for each queue: it shows up in lists before its first job, and has its length. */
  #know(queue: string): Promise<void> {
    const known = this.#known.get(queue);
    if (known !== undefined) return known;
    const lengthMax = this.#maxLength;
    const settings = {
      queue: this.#engine.scoped(queue),
      ...(lengthMax !== null && { lengthMax }),
    };
    const configured = this.#engine.call(({ store }) => store.configure([settings]));
    this.#known.set(queue, configured);
    configured.catch(() => this.#known.delete(queue));
    return configured;
  }

  async #counts(queue: string | undefined): Promise<readonly JobCounts[]> {
    const names = queue === undefined ? this.#names : [this.#check(queue)];
    return this.#do(queue, async () => {
      const scoped = names && [...names].map((name) => this.#engine.scoped(name));
      const counts = await this.#engine.call((jobs) => jobs.counts(scoped ?? undefined));
      if (scoped !== null) return scoped.map((name) => counts.get(name) ?? noJobs);
      const mine = [...counts].filter(([name]) => this.#engine.unscoped(name) !== null);
      return mine.map(([, count]) => count);
    });
  }

  async #change(verb: 'cancel' | 'retry' | 'run' | 'remove', id: string): Promise<boolean> {
    return this.#do(undefined, async () => {
      const changed = await this.#engine.call((jobs) => jobs[verb](id));
      return changed.length > 0;
    });
  }
}

const noJobs: JobCounts = Object.freeze({
  blocked: 0,
  delayed: 0,
  waiting: 0,
  running: 0,
  retrying: 0,
  completed: 0,
  dead: 0,
  cancelled: 0,
  quarantined: 0,
});

function toAdded(input: JobRequest, queue: string, id: string): Job {
  const { type, data, priority, delay, attempts, tenantId, metadata } = input;
  return {
    id,
    type,
    data,
    queue,
    ...(priority !== undefined && { priority }),
    ...(delay !== undefined && { delay }),
    ...(attempts !== undefined && { attempts }),
    ...(tenantId !== undefined && { tenantId }),
    ...(metadata !== undefined && { metadata }),
  };
}

/**
 * `WorkerManager`: the worker of a process. It knows which processor does which type of job, how
 * many jobs run at a time over all queues, and how often they are tried. `start` begins to work on
 * its queues, `stop` lets what runs come to its end.
 */
import { sleep } from '../runtime/bell.ts';
import { Connection, type ConnectionOptions, type EndOptions, type Engine } from './connection.ts';
import { runDirectly } from './direct-run.ts';
import type { ErrorRecovery } from './error-recovery.ts';
import { asWorkerError, WorkerError } from './errors.ts';
import type { Job } from './job.ts';
import type { Processor } from './job-processor.ts';
import type { QueueOptions } from './job-queue.ts';
import type { WorkPolicy } from './job-runner.ts';
import { Listeners } from './listeners.ts';
import { type QueueEvents, queueEvents } from './queue-events.ts';
import {
  type MonitoringOptions,
  type MonitoringSettings,
  readMonitoring,
  readWork,
  type WorkOptions,
} from './settings.ts';
import { checkEngine, type HealthReport } from './worker-health-checker.ts';
import { collectMetrics, type WorkerMetricValues } from './worker-metrics.ts';
import type { Hire } from './workshop.ts';

export interface WorkerManagerOptions extends ConnectionOptions, WorkOptions {
  /** Queues to work on; by default those that the JobQueues of this process name, and 'default'. */
  readonly queues?: readonly (string | QueueOptions)[] | undefined;
  /** Asked about every failed try before the retry policy is. */
  readonly errorRecovery?: ErrorRecovery | undefined;
  readonly monitoring?: MonitoringOptions | undefined;
}

export interface WorkerEvents extends QueueEvents {
  /** Every `metricsInterval`, where monitoring is enabled. */
  readonly metrics: WorkerMetricValues;
  /** Every `healthCheckInterval`, where monitoring is enabled. */
  readonly health: HealthReport;
}

export interface WorkerStatus {
  readonly started: boolean;
  readonly running: number;
  readonly concurrency: number;
  readonly queues: readonly string[];
}

export class WorkerManager {
  readonly #connection: Connection;
  readonly #policy: WorkPolicy;
  readonly #monitoring: MonitoringSettings;
  readonly #listeners = new Listeners<Pick<WorkerEvents, 'metrics' | 'health'>>();
  readonly #processors = new Set<Processor>();
  readonly #queues: ReadonlySet<string>;
  readonly #hire: Hire;
  readonly #unsubscribe = new Set<() => void>();
  readonly #stopping = new AbortController();
  readonly #monitors: Promise<void>[] = [];
  #starting: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;

  /** Connects when it is started. @throws MillraceError CONFIG_INVALID */
  constructor(options: WorkerManagerOptions = {}) {
    this.#policy = { ...readWork(options), errorRecovery: options.errorRecovery ?? null };
    this.#monitoring = readMonitoring(options.monitoring);
    this.#connection = new Connection('WorkerManager', options);
    const queues = (options.queues ?? []).map((queue) =>
      typeof queue === 'string' ? { name: queue } : queue,
    );
    this.#queues = new Set(queues.map(({ name }) => name));
    const { workshop } = this.#engine;
    this.#hire = {
      slots: this.#policy.concurrency,
      queues: options.queues === undefined ? null : [...this.#queues],
    };
    for (const queue of queues) workshop.declare(queue.name, queue);
    workshop.adopt(this.#policy);
  }

  /**
   * The processor of a queue, when `name` is one of the option `queues`; else of a type of job, in
   * whatever queue it comes. Before or after `start`.
   * @throws WorkerError DEFINITION_INVALID when it has one in this process.
   */
  register<J extends Job>(name: string, processor: Processor<J>): this {
    const { workshop } = this.#engine;
    if (this.#queues.has(name)) workshop.addQueue(name, processor as Processor);
    else workshop.addType(name, processor as Processor);
    this.#processors.add(processor as Processor);
    return this;
  }

  /**
   * Begins to work. Jobs for which no processor is registered wait; queues and processors may come
   * later. Safe to call again.
   * @throws WorkerError STORE_UNAVAILABLE
   */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /**
   * Runs a job here and now, with the retry policy and the time limit of this worker, and answers
   * with what its processor returned. The job need not be in a queue, and nothing of it is stored.
   * @throws JobError JOB_FAILED after the last try; WorkerError JOB_UNKNOWN without a processor.
   */
  async processJob(job: Job): Promise<unknown> {
    const { workshop } = this.#engine;
    const processor = workshop.processorFor(job.queue, job.type);
    if (processor === null) {
      throw new WorkerError('JOB_UNKNOWN', `No processor is registered for '${job.type}'.`, {
        fix: `Call register('${job.type}', processor) before.`,
      });
    }
    const release = await workshop.slots.take(job.priority ?? 0, this.#stopping.signal);
    try {
      const { signal } = this.#stopping;
      return await runDirectly({ job, processor, policy: this.#policy, signal });
    } finally {
      release();
    }
  }

  /**
   * What happens to jobs in this process, and 'metrics' and 'health' where monitoring is enabled.
   * Returns how to stop listening.
   */
  on<E extends keyof WorkerEvents>(
    event: E,
    listener: (event: WorkerEvents[E]) => void,
  ): () => void {
    if (event === 'metrics' || event === 'health') {
      return this.#listeners.on(event, listener as (event: unknown) => void);
    }
    const unsubscribe = queueEvents(
      this.#engine,
      event as keyof QueueEvents,
      listener as (event: QueueEvents[keyof QueueEvents]) => void,
    );
    this.#unsubscribe.add(unsubscribe);
    return unsubscribe;
  }

  /** How busy this process is. */
  get status(): WorkerStatus {
    const { slots, openQueues } = this.#engine.workshop;
    return {
      started: this.#starting !== null,
      running: slots.taken,
      concurrency: this.#policy.concurrency,
      queues: openQueues,
    };
  }

  /**
   * Takes no new job, waits for those that run, hands back the others. Final: a new WorkerManager
   * may be made. Faces of the same connection that stay go on with what is theirs.
   */
  stop(options: EndOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  /** The same as `stop`. */
  close(options: EndOptions = {}): Promise<void> {
    return this.stop(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #engine(): Engine {
    return this.#connection.engine;
  }

  async #start(): Promise<void> {
    try {
      await this.#engine.workshop.hire(this.#hire);
    } catch (error) {
      this.#starting = null;
      throw asWorkerError(error);
    }
    const { enabled, metricsInterval, healthCheckInterval } = this.#monitoring;
    if (!enabled) return;
    const engine = this.#engine;
    this.#monitors.push(
      this.#every(metricsInterval, async () => {
        this.#listeners.emit('metrics', await collectMetrics(engine));
      }),
      this.#every(healthCheckInterval, async () => {
        this.#listeners.emit('health', await checkEngine(engine, []));
      }),
    );
  }

  async #every(ms: number, act: () => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    for (await sleep(ms, signal); !signal.aborted; await sleep(ms, signal)) {
      try {
        await act();
      } catch (error) {
        this.#connection.engine.workshop.report(error);
      }
    }
  }

  async #stop(options: EndOptions): Promise<void> {
    const engine = this.#engine;
    const { workshop } = engine;
    this.#stopping.abort(new WorkerError('SHUTTING_DOWN', 'This WorkerManager was stopped.'));
    await Promise.all(this.#monitors);
    const worked = this.#starting !== null;
    await this.#starting?.catch(() => {});
    if (worked) workshop.dismiss(this.#hire);
    workshop.retire(this.#processors);
    await this.#connection.close(options);
    if (worked && engine.holders > 0) await engine.renew(options);
    workshop.remove(this.#processors);
    workshop.drop(this.#policy);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }
}

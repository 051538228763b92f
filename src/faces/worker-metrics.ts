/**
 * `WorkerMetrics`: numbers about jobs and workers. What the store can say is for all processes
 * (processed, failed, length, utilization); how long jobs take is measured where they run, and from
 * the store where none runs; tries are counted where they are made, since that process connected.
 */
import { sleep } from '../runtime/bell.ts';
import { Connection, type ConnectionOptions, type Engine } from './connection.ts';
import { asQueueError, WorkerError } from './errors.ts';
import { Listeners } from './listeners.ts';
import { type MonitoringOptions, readMonitoring } from './settings.ts';

export interface WorkerMetricValues {
  /** Completed jobs that the store keeps, of all processes. */
  readonly jobsProcessed: number;
  /** Dead and quarantined jobs that the store keeps. */
  readonly jobsFailed: number;
  /** Tries of this process that failed and were followed by another. */
  readonly jobsRetried: number;
  /**
   * Milliseconds from the start of a try to its end: the mean of this process's last 1,000
   * completed jobs; where it has none, of the last 100 that the store knows, since their claim.
   */
  readonly avgProcessingTime: number;
  /** Jobs that wait, are delayed or will be tried again. */
  readonly queueLength: number;
  /** Share of the slots of all live workers that are at work, 0 to 1. */
  readonly workerUtilization: number;
}

const members = {
  'jobs.processed': 'jobsProcessed',
  'jobs.failed': 'jobsFailed',
  'jobs.retried': 'jobsRetried',
  'processing.time': 'avgProcessingTime',
  'queue.length': 'queueLength',
  'worker.utilization': 'workerUtilization',
} as const satisfies Record<string, keyof WorkerMetricValues>;
type Members = typeof members;

export type MetricName = keyof Members;

export interface WorkerMetricsOptions<Name extends MetricName> extends ConnectionOptions {
  /** All by default. */
  readonly metrics?: readonly Name[] | undefined;
  /** Counts these only; all by default. */
  readonly queues?: readonly string[] | undefined;
  readonly monitoring?: MonitoringOptions | undefined;
}

type Selected<Name extends MetricName> = Pick<WorkerMetricValues, Members[Name]>;

export class WorkerMetrics<const Name extends MetricName = MetricName> {
  readonly #connection: Connection;
  readonly #names: readonly MetricName[];
  readonly #queues: readonly string[] | null;
  readonly #everyMs: number;
  readonly #listeners = new Listeners<{ metrics: Selected<Name> }>();
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;

  /** Connects with the first question. @throws MillraceError CONFIG_INVALID */
  constructor(options: WorkerMetricsOptions<Name> = {}) {
    this.#names = options.metrics ?? (Object.keys(members) as MetricName[]);
    for (const name of this.#names) checkName(name);
    this.#queues = options.queues ?? null;
    this.#everyMs = readMonitoring(options.monitoring).metricsInterval;
    this.#connection = new Connection('WorkerMetrics', options);
    timingsOf(this.#connection.engine);
  }

  /** The metrics that were asked for, of this moment. @throws QueueError STORE_UNAVAILABLE */
  async getMetrics(): Promise<Selected<Name>> {
    const { engine } = this.#connection;
    try {
      const all = await collectMetrics(engine, this.#queues);
      const chosen = this.#names.map((name) => [members[name], all[members[name]]]);
      return Object.fromEntries(chosen) as Selected<Name>;
    } catch (error) {
      throw asQueueError(error);
    }
  }

  /** Measures every `metricsInterval` (METRICS_INTERVAL) and tells 'metrics' listeners. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Returns how to stop listening. */
  on(event: 'metrics', listener: (metrics: Selected<Name>) => void): () => void {
    return this.#listeners.on(event, listener);
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#connection.close();
  }

  /** The same as `close`. */
  stop(): Promise<void> {
    return this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.getMetrics().then(
        (metrics) => this.#listeners.emit('metrics', metrics),
        (error) => this.#connection.engine.workshop.report(error),
      );
      await sleep(this.#everyMs, signal);
    }
  }
}

function checkName(name: string): void {
  if (Object.hasOwn(members, name)) return;
  throw new WorkerError('CONFIG_INVALID', `There is no metric '${name}'.`, {
    fix: `Use ${Object.keys(members).join(', ')}.`,
  });
}

/** @param queues as the faces call them; null for all of this prefix. */
export async function collectMetrics(
  engine: Engine,
  queues: readonly string[] | null = null,
): Promise<WorkerMetricValues> {
  const timings = timingsOf(engine);
  const jobs = await engine.jobs();
  const [counts, workers] = await Promise.all([
    jobs.counts(queues?.map((queue) => engine.scoped(queue))),
    jobs.workers(),
  ]);
  const sums = { processed: 0, failed: 0, length: 0 };
  for (const [queue, count] of counts) {
    if (engine.unscoped(queue) === null) continue;
    sums.processed += count.completed;
    sums.failed += count.dead + count.quarantined;
    sums.length += count.waiting + count.delayed + count.retrying + count.blocked;
  }
  const alive = workers.filter((worker) => worker.alive);
  const total = (member: 'running' | 'concurrency') =>
    alive.reduce((sum, worker) => sum + worker[member], 0);
  return {
    jobsProcessed: sums.processed,
    jobsFailed: sums.failed,
    jobsRetried: jobs.totals().retried,
    avgProcessingTime: timings.mean(queues) ?? (await storedMean(engine, queues)),
    queueLength: sums.length,
    workerUtilization: total('concurrency') === 0 ? 0 : total('running') / total('concurrency'),
  };
}

const timingsMax = 1_000;

/** How long the last jobs of this process took. */
class Timings {
  readonly #last: { readonly queue: string; readonly ms: number }[] = [];
  #next = 0;

  add(queue: string, ms: number): void {
    this.#last[this.#next] = { queue, ms };
    this.#next = (this.#next + 1) % timingsMax;
  }

  /** Null when there are none. */
  mean(queues: readonly string[] | null): number | null {
    const mine = this.#last.filter(({ queue }) => queues === null || queues.includes(queue));
    if (mine.length === 0) return null;
    return mine.reduce((sum, { ms }) => sum + ms, 0) / mine.length;
  }
}

const timings = new WeakMap<Engine, Timings>();

/** Counts from the first time on that anybody asks for metrics of this engine. */
function timingsOf(engine: Engine): Timings {
  const known = timings.get(engine);
  if (known !== undefined) return known;
  const added = new Timings();
  timings.set(engine, added);
  engine.on('completed', ({ queue: scoped, durationMs }) => {
    const queue = engine.unscoped(scoped);
    if (queue !== null) added.add(queue, durationMs);
  });
  return added;
}

/** Of the last jobs that any process completed. 0 when there are none. */
async function storedMean(engine: Engine, queues: readonly string[] | null): Promise<number> {
  const jobs = await engine.jobs();
  const filters = queues?.map((queue) => ({ queue: engine.scoped(queue) })) ?? [{}];
  const pages = await Promise.all(
    filters.map((filter) => jobs.list({ ...filter, status: 'completed' }, { limit: 100 })),
  );
  const durations = pages.flatMap(({ jobs: found }) =>
    found.flatMap(({ queue, startedAt, finishedAt }) => {
      if (startedAt === null || finishedAt === null || engine.unscoped(queue) === null) return [];
      return [Date.parse(finishedAt) - Date.parse(startedAt)];
    }),
  );
  if (durations.length === 0) return 0;
  return durations.reduce((sum, ms) => sum + ms, 0) / durations.length;
}

/**
 * Where the scaler reads how busy the workers are: from a Jobs that it is given, or over the
 * connection that the faces of this process share.
 */
import type { JobCounts } from '../../ports/job-queries.ts';
import type { JobStore, WorkerInfo } from '../../ports/jobs.ts';
import { Connection } from '../connection.ts';
import type { PlaceOptions } from '../settings.ts';
import type { Load } from './scaling-rule.ts';

/** What of a Jobs is asked. */
export interface WorkerSource {
  workers(): Promise<readonly WorkerInfo[]>;
  /** Left out: only what runs counts, and not what waits. */
  counts?(queues?: readonly string[]): Promise<ReadonlyMap<string, Pick<JobCounts, 'waiting'>>>;
  readonly store?: Pick<JobStore, 'beater'>;
}

export interface LoadSourceOptions extends PlaceOptions {
  readonly queues?: readonly string[] | undefined;
  readonly jobs?: WorkerSource | undefined;
}

export interface Measurement {
  readonly load: Load;
  /** Live workers of the queues that count. */
  readonly workers: readonly WorkerInfo[];
}

export class LoadSource {
  readonly #queues: ReadonlySet<string> | null;
  readonly #given: WorkerSource | null;
  readonly #connection: Connection | null;

  /** Nothing is connected yet. @throws MillraceError CONFIG_INVALID */
  constructor({ queues, jobs, ...place }: LoadSourceOptions) {
    this.#queues = queues === undefined ? null : new Set(queues);
    this.#given = jobs ?? null;
    this.#connection = jobs === undefined ? new Connection('WorkerScaler', place) : null;
  }

  async measure(): Promise<Measurement> {
    const source = await this.#open();
    const [found, counts] = await Promise.all([source.workers(), source.counts?.() ?? []]);
    const workers = found.filter((worker) => worker.alive && worker.queues.some(this.#concerns));
    let waiting = 0;
    for (const [queue, count] of counts) if (this.#concerns(queue)) waiting += count.waiting;
    const sum = (name: 'running' | 'concurrency') =>
      workers.reduce((total, worker) => total + worker[name], 0);
    const [running, concurrency] = [sum('running'), sum('concurrency')];
    return { workers, load: { workers: workers.length, running, concurrency, waiting } };
  }

  /**
   * For worker processes: where the jobs are, when nothing but this process knows. Only one process
   * can start the embedded Postgres of a directory; the others come to it by its URL.
   */
  async environment(): Promise<Readonly<Record<string, string>>> {
    if (this.#connection?.engine.place.kind !== 'embedded') return {};
    const { store } = await this.#open();
    const { url } = (store?.beater.options ?? {}) as { readonly url?: string };
    return url === undefined ? {} : { MILLRACE_URL: url };
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }

  async #open(): Promise<WorkerSource> {
    return this.#given ?? (this.#connection as Connection).engine.jobs();
  }

  /** Queues of another prefix are another's. */
  readonly #concerns = (queue: string): boolean => {
    const name = this.#connection === null ? queue : this.#connection.engine.unscoped(queue);
    return name !== null && (this.#queues === null || this.#queues.has(name));
  };
}

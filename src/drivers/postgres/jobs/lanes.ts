/**
 * Lanes by name and by number. They never change, so each is asked for once; the head kept here is
 * what this process knows and only serves to bound the search of a repeated append.
 */
import type { NewJob } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

export interface Lane {
  readonly lane: number;
  readonly queueId: number;
  readonly queue: string;
  readonly tenantId: string;
  readonly priority: number;
  readonly key: string;
  head: number;
}

const nameOf = (queue: string, tenantId: string, priority: number, key: string) =>
  `${priority}\u0001${queue}\u0001${tenantId}\u0001${key}`;

export class Lanes {
  readonly #database: Database;
  readonly #byName = new Map<string, Lane>();
  readonly #byId = new Map<number, Lane>();
  readonly #queues = new Map<string, number>();
  readonly #names = new Map<number, string>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** The lane of each job, in order; null when one of them is not known yet: then `learn`. */
  known(jobs: readonly NewJob[]): Lane[] | null {
    const lanes = new Array<Lane>(jobs.length);
    let last: Lane | undefined;
    for (let i = 0; i < jobs.length; i += 1) {
      const { queue, tenantId, priority, key } = jobs[i] as NewJob;
      const same =
        last?.tenantId === tenantId &&
        last.key === key &&
        last.priority === priority &&
        last.queue === queue;
      if (!same) last = this.#byName.get(nameOf(queue, tenantId, priority, key));
      if (last === undefined) return null;
      lanes[i] = last;
    }
    return lanes;
  }

  async of(jobs: readonly NewJob[]): Promise<Lane[]> {
    const found = this.known(jobs);
    if (found) return found;
    const wanted = new Map<string, NewJob>();
    for (const job of jobs) {
      const name = nameOf(job.queue, job.tenantId, job.priority, job.key);
      if (!this.#byName.has(name)) wanted.set(name, job);
    }
    const list = [...wanted.values()];
    const rows = await this.#database.rows<[number, number, number]>(sql.jobLanes, [
      list.map(({ queue }) => queue),
      list.map(({ tenantId }) => tenantId),
      list.map(({ priority }) => priority),
      list.map(({ key }) => key),
    ]);
    for (const [i, [lane, queueId, head]] of rows.entries()) {
      const { queue, tenantId, priority, key } = list[i] as NewJob;
      this.#remember({ lane, queueId, queue, tenantId, priority, key, head });
    }
    return this.known(jobs) as Lane[];
  }

  get(lane: number): Lane | undefined {
    return this.#byId.get(lane);
  }

  /** Makes lanes known that other processes made; numbers that do not exist are left out. */
  async load(ids: Iterable<number>): Promise<void> {
    const unknown = [...new Set(ids)].filter((lane) => !this.#byId.has(lane));
    if (unknown.length === 0) return;
    type Row = [number, number, string, string, number, string];
    const rows = await this.#database.rows<Row>(sql.jobLanesById, [unknown]);
    for (const [lane, queueId, queue, tenantId, priority, key] of rows) {
      this.#remember({ lane, queueId, queue, tenantId, priority, key, head: 0 }, false);
    }
  }

  /** The number of a queue, which is made known by that. */
  async queueId(queue: string): Promise<number> {
    const known = this.#queues.get(queue);
    if (known !== undefined) return known;
    const unchanged = [false, null, null, null, false, null, null, null, null, false, null];
    const [row] = await this.#database.rows<[number]>(sql.configureQueue, [queue, ...unchanged]);
    const [id] = row as [number];
    this.#queues.set(queue, id);
    return id;
  }

  /** Names of queues by number; each is asked for once. */
  async queueNames(ids: readonly number[]): Promise<string[]> {
    const unknown = ids.filter((id) => !this.#names.has(id));
    if (unknown.length > 0) {
      const rows = await this.#database.rows<[number, string]>(sql.queueNames, [unknown]);
      for (const [id, name] of rows) this.#names.set(id, name);
    }
    return ids.map((id) => this.#names.get(id) ?? '');
  }

  #remember(lane: Lane, byName = true): void {
    this.#byId.set(lane.lane, lane);
    this.#queues.set(lane.queue, lane.queueId);
    // Lanes by number include those of state rows, which nothing is appended to by name.
    if (byName) {
      this.#byName.set(nameOf(lane.queue, lane.tenantId, lane.priority, lane.key), lane);
    }
  }
}

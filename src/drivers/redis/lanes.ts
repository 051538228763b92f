/**
 * Lanes by name and by number. The registry gives the numbers, the slot of the queue is told what a
 * number stands for; a process does both before it uses a lane for the first time. Lanes never
 * change, so what is known here stays right. Only a server that lost its data has to be told again.
 */
import { MillraceError } from '../../core/errors.ts';
import type { NewJob } from '../../ports/jobs.ts';
import type { Redis } from './connection.ts';
import type { Keys } from './keys.ts';
import { scripts } from './scripts.ts';

export interface Lane {
  readonly lane: number;
  readonly queue: string;
  readonly tenantId: string;
  readonly priority: number;
  readonly key: string;
  /** False: the lane of jobs that had a row from the start, one per queue and tenant. */
  readonly byRange: boolean;
}

export type LaneName = Omit<Lane, 'lane'>;

/** Of as many lanes at most the names are remembered; then all are asked for anew. */
const rememberedMax = 100_000;

export class Lanes {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #byName = new Map<string, Lane>();
  readonly #byNumber = new Map<number, Lane>();

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** The lane of each plain job, in order. */
  async ofPlain(queue: string, jobs: readonly NewJob[]): Promise<Lane[]> {
    const lanes = new Array<Lane>(jobs.length);
    const known = () => this.#fill(queue, jobs, lanes);
    if (known()) return lanes;
    await this.#name(
      queue,
      jobs.map(({ tenantId, priority, key }) => ({
        queue,
        tenantId,
        priority,
        key,
        byRange: true,
      })),
    );
    known();
    return lanes;
  }

  /** The lane of jobs with a row, for each tenant. */
  async ofRows(queue: string, tenants: readonly string[]): Promise<Lane[]> {
    const names = tenants.map((tenantId) => ({
      queue,
      tenantId,
      priority: 0,
      key: '',
      byRange: false,
    }));
    await this.#name(queue, names);
    return names.map((name) => this.#byName.get(textOf(name)) as Lane);
  }

  get(lane: number): Lane | undefined {
    return this.#byNumber.get(lane);
  }

  /** Makes lanes known that other processes made; numbers that do not exist are left out. */
  async load(numbers: Iterable<number>): Promise<void> {
    const unknown = [...new Set(numbers)].filter((lane) => !this.#byNumber.has(lane));
    if (unknown.length === 0) return;
    const { registry } = this.#keys;
    const texts = await this.#redis.send<(string | null)[]>(registry, [
      'HMGET',
      `${registry}:lanes`,
      ...unknown.map(String),
    ]);
    for (const [i, text] of texts.entries()) {
      if (text !== null) this.#remember(unknown[i] as number, text);
    }
  }

  /** Tells the slot of the queue what the lanes are: it has lost them. */
  async introduce(lanes: readonly Lane[]): Promise<void> {
    const [first] = lanes;
    if (!first) return;
    const args = lanes.flatMap(({ lane, priority, tenantId, key, byRange }) => [
      lane,
      priority,
      tenantId,
      key,
      byRange ? '1' : '',
    ]);
    const base = this.#keys.queue(first.queue);
    const reply = await this.#redis.run<string[]>(scripts.introduceLanes, base, args);
    if (reply[0] === 'taken') throw taken(first.queue, Number(reply[1]));
  }

  /** False when one of them is not known. Jobs of a batch mostly share their lane. */
  #fill(queue: string, jobs: readonly NewJob[], lanes: Lane[]): boolean {
    let last: Lane | undefined;
    for (let i = 0; i < jobs.length; i += 1) {
      const { tenantId, priority, key } = jobs[i] as NewJob;
      const same = last?.tenantId === tenantId && last.key === key && last.priority === priority;
      if (!same) last = this.#byName.get(textOf({ queue, tenantId, priority, key, byRange: true }));
      if (last === undefined) return false;
      lanes[i] = last;
    }
    return true;
  }

  async #name(queue: string, names: readonly LaneName[]): Promise<void> {
    const texts = [...new Set(names.map(textOf))];
    const unknown = texts.filter((text) => !this.#byName.has(text));
    if (unknown.length === 0) return;
    if (this.#byName.size + unknown.length > rememberedMax) this.#forget();
    // All of this call: after forgetting, those that were known are not any more.
    const wanted = texts.filter((text) => !this.#byName.has(text));
    const { registry } = this.#keys;
    const numbers = await this.#redis.run<number[]>(scripts.nameLanes, registry, [
      queue,
      ...wanted,
    ]);
    const lanes = wanted.map((text, i) => ({ ...nameOf(text), lane: numbers[i] as number }));
    await this.introduce(lanes);
    for (const [i, { lane }] of lanes.entries()) this.#remember(lane, wanted[i] as string);
  }

  #forget(): void {
    this.#byName.clear();
    this.#byNumber.clear();
  }

  #remember(number: number, text: string): void {
    const lane = { ...nameOf(text), lane: number };
    this.#byName.set(text, lane);
    this.#byNumber.set(number, lane);
  }
}

function taken(queue: string, lane: number): MillraceError {
  return new MillraceError(
    'STORE_CONFLICT',
    `Lane ${lane} of queue ${queue} stands for other jobs already: Redis has lost its last writes.`,
    { fix: 'Look for a failover without its newest writes; raise the counter {prefix}:lane.' },
  );
}

/** How a lane is written in the registry. */
function textOf({ queue, tenantId, priority, key, byRange }: LaneName): string {
  return `${priority}\u001f${byRange ? 1 : 0}\u001f${queue}\u001f${tenantId}\u001f${key}`;
}

function nameOf(text: string): LaneName {
  const [priority, byRange, queue, tenantId, key] = text.split('\u001f') as [string, ...string[]];
  return {
    queue: queue as string,
    tenantId: tenantId as string,
    priority: Number(priority),
    key: key as string,
    byRange: byRange === '1',
  };
}

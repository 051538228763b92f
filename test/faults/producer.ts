/**
 * Publishes numbered orders, and remembers outside the system what was wanted and what was
 * acknowledged: (key, seq) with seq counting up per key, several of a key under way at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Millrace } from 'millrace';
import type { Random } from '../support/random.ts';
import { OrderPlaced } from './pipeline.ts';

export const tenants = ['acme', 'globex'] as const;

export interface Placed {
  readonly tenantId: string;
  readonly key: string;
  readonly seq: number;
}

/** Resolves when the order is durable. */
export type Place = (placed: Placed) => Promise<unknown>;

export class Producer {
  readonly #place: Place;
  readonly #random: Random;
  readonly #keys: readonly string[];
  readonly #underWay = new Set<Promise<void>>();
  #running: Promise<void> = Promise.resolve();
  #stopping = false;
  /** Highest seq wanted, by key. */
  readonly wanted = new Map<string, number>();
  /** Acknowledged seqs, by key. */
  readonly acknowledged = new Map<string, Set<number>>();
  readonly refusals: unknown[] = [];
  slowestMs = 0;

  /** Publishes on a platform, or does with an order what it is told. */
  constructor(target: Millrace | Place, random: Random, keys = 60) {
    this.#place =
      typeof target === 'function'
        ? target
        : ({ seq, ...place }) => target.publish(OrderPlaced, { ...place, payload: { seq } });
    this.#random = random;
    this.#keys = Array.from({ length: keys }, (_, i) => `k${i}`);
  }

  get acknowledgedCount(): number {
    let count = 0;
    for (const seqs of this.acknowledged.values()) count += seqs.size;
    return count;
  }

  get wantedCount(): number {
    return [...this.wanted.values()].reduce((sum, seq) => sum + seq, 0);
  }

  /** Highest acknowledged seq of each key at this moment. */
  marks(): ReadonlyMap<string, number> {
    return new Map([...this.acknowledged].map(([key, seqs]) => [key, Math.max(...seqs)]));
  }

  /** One order of a random key; resolves when it is acknowledged or refused. */
  publishOne(): Promise<void> {
    const key = this.#random.pick(this.#keys);
    const seq = (this.wanted.get(key) ?? 0) + 1;
    this.wanted.set(key, seq);
    const tenantId = tenants[Number(key.slice(1)) % tenants.length] as string;
    const from = performance.now();
    const done = this.#place({ tenantId, key, seq }).then(
      () => {
        const seqs = this.acknowledged.get(key) ?? new Set();
        this.acknowledged.set(key, seqs.add(seq));
        this.slowestMs = Math.max(this.slowestMs, performance.now() - from);
      },
      (error) => void this.refusals.push(error),
    );
    this.#underWay.add(done);
    return done.finally(() => this.#underWay.delete(done));
  }

  /** Publishes about `perSecond` orders a second until stopped, at most 2,000 unanswered. */
  start(perSecond: number): void {
    this.#running = (async () => {
      const from = performance.now();
      for (let sent = 0; !this.#stopping; ) {
        const due = ((performance.now() - from) / 1000) * perSecond;
        while (sent < due && this.#underWay.size < 2_000) {
          void this.publishOne();
          sent += 1;
        }
        if (sent < due) sent = Math.floor(due); // held back: what was missed is not made up for
        await sleep(5);
      }
    })();
  }

  /** Publishes no more and waits for every answer. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    await Promise.all(this.#underWay);
  }
}

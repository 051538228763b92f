/**
 * Measures how long it takes to get over a fault: from the fault until every order that was
 * acknowledged before it has reached the end. Several faults are watched at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer } from './producer.ts';
import type { FaultServer } from './server.ts';

/** By key: everything up to this seq has reached the end. Rejects while nobody can say. */
export type Reached = () => Promise<ReadonlyMap<string, number>>;

interface Watched {
  readonly at: number;
  readonly marks: ReadonlyMap<string, number>;
}

export class Recoveries {
  readonly #reached: Reached;
  readonly #producer: Producer;
  #watched: Watched[] = [];
  #stopping = false;
  readonly #running: Promise<void>;
  readonly takenMs: number[] = [];

  /** Of the pipeline on a server, or of what else is to be reached. */
  constructor(target: FaultServer | Reached, producer: Producer) {
    this.#reached = typeof target === 'function' ? target : () => reachedBill(target);
    this.#producer = producer;
    this.#running = this.#run();
  }

  /** A fault was injected right now. */
  noteFault(): void {
    this.#watched.push({ at: performance.now(), marks: this.#producer.marks() });
  }

  /** Waits until every fault is got over, at most `withinMs`; then says how long each took. */
  async finish(withinMs: number): Promise<readonly number[]> {
    const until = performance.now() + withinMs;
    while (this.#watched.length > 0 && performance.now() < until) await sleep(50);
    this.#stopping = true;
    await this.#running;
    for (const { at } of this.#watched) this.takenMs.push(performance.now() - at);
    return this.takenMs;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await sleep(100);
      if (this.#watched.length === 0) continue;
      const reached = await this.#reached().catch(() => null);
      if (reached === null) continue;
      this.#watched = this.#watched.filter(({ at, marks }) => {
        const open = [...marks].some(([key, seq]) => (reached.get(key) ?? 0) < seq);
        if (!open) this.takenMs.push(performance.now() - at);
        return open;
      });
    }
  }
}

async function reachedBill(server: FaultServer): Promise<ReadonlyMap<string, number>> {
  const rows = await server.rows<{ key: string; seq: number }>(
    `select key, max(seq) as seq from effect where stage = 'bill' group by key`,
  );
  return new Map(rows.map(({ key, seq }) => [key, seq]));
}

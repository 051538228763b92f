/**
 * Measures how long the pipeline takes to get over a fault: from the fault until every order that
 * was acknowledged before it has reached the last stage. Several faults are watched at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer } from './producer.ts';
import type { FaultServer } from './server.ts';

interface Watched {
  readonly at: number;
  readonly marks: ReadonlyMap<string, number>;
}

export class Recoveries {
  readonly #server: FaultServer;
  readonly #producer: Producer;
  #watched: Watched[] = [];
  #stopping = false;
  readonly #running: Promise<void>;
  readonly takenMs: number[] = [];

  constructor(server: FaultServer, producer: Producer) {
    this.#server = server;
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
      const rows = await this.#server
        .rows<{ key: string; seq: number }>(
          `select key, max(seq) as seq from effect where stage = 'bill' group by key`,
        )
        .catch(() => null);
      if (rows === null) continue;
      const reached = new Map(rows.map(({ key, seq }) => [key, seq]));
      this.#watched = this.#watched.filter(({ at, marks }) => {
        const open = [...marks].some(([key, seq]) => (reached.get(key) ?? 0) < seq);
        if (!open) this.takenMs.push(performance.now() - at);
        return open;
      });
    }
  }
}

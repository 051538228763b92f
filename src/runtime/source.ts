/**
 * Where streams get their events: the log of this database, or a broker that carries it (the feed).
 * Both answer the same questions with the same events; the cursor of a group never knows which of
 * them it was. A source may be behind the log, and never ahead of it.
 */
import type { TypeSet } from '../core/event-pattern.ts';
import type { LogStore, ReadRequest, ReadResult } from '../ports/store.ts';
import type { Heads } from './heads.ts';
import type { Tail } from './tail.ts';

export interface EventSource {
  /** How far this source reaches in the partition: a hint, too low at worst. */
  headOf(partition: number): number;
  /** Answers as the log would, as far as the source reaches. At once where it is in memory. */
  read(request: ReadRequest, types: TypeSet): ReadResult | Promise<ReadResult>;
  /** A stream of this process has settled something of the partition. */
  settled(partition: number): void;
  /** Told when a partition reaches further. Returns how to unsubscribe. */
  subscribe(listener: (partition: number) => void): () => void;
}

/** The log: the newest events from memory, the others from the store. */
export class LogSource implements EventSource {
  readonly #heads: Heads;
  readonly #tail: Tail;
  readonly #log: LogStore;

  constructor(heads: Heads, tail: Tail, log: LogStore) {
    this.#heads = heads;
    this.#tail = tail;
    this.#log = log;
  }

  headOf(partition: number): number {
    return this.#heads.of(partition);
  }

  read(request: ReadRequest, types: TypeSet): ReadResult | Promise<ReadResult> {
    return this.#tail.read(request, types) ?? this.#log.read(request);
  }

  settled(): void {}

  subscribe(listener: (partition: number) => void): () => void {
    return this.#heads.subscribe(listener);
  }
}

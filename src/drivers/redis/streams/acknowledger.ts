/**
 * Acknowledgements of one member: many callers, one script on its way at a time, which takes all
 * that was done by then, of all partitions. It is fenced by the epoch of each partition.
 */
import type { Redis } from '../connection.ts';
import type { Lane } from './lane.ts';
import { baseOf } from './names.ts';
import { scripts } from './scripts.ts';

/** Ids in one script: 2 ms of the server. */
const idsMax = 5_000;

export interface AcknowledgerOptions {
  readonly redis: Redis;
  readonly topic: string;
  readonly group: string;
  readonly lanes: () => Iterable<Lane>;
  /** Some entries fewer are in flight in a partition that was full. */
  readonly onRoom: () => void;
  /** The server says that a partition is not ours. */
  readonly onLost: (lane: Lane) => void;
}

export class Acknowledger {
  readonly #options: AcknowledgerOptions;
  #sending: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  /** Resolves when the server knows of all that is done by now. */
  flush(): Promise<void> {
    if (this.#sending === null) return this.#start();
    this.#next ??= this.#sending
      .catch(() => {}) // told to those who asked for it
      .then(() => {
        this.#next = null;
        return this.#start();
      });
    return this.#next;
  }

  /** Resolves when nothing is under way; never rejects. */
  async idle(): Promise<void> {
    while (this.#sending !== null) await (this.#next ?? this.#sending).catch(() => {});
  }

  #start(): Promise<void> {
    this.#sending = this.#send().finally(() => {
      this.#sending = null;
    });
    return this.#sending;
  }

  async #send(): Promise<void> {
    const { redis, topic, group, onRoom, onLost } = this.#options;
    for (;;) {
      const args: (string | number)[] = [group];
      const parts: { readonly lane: Lane; readonly count: number }[] = [];
      let left = idsMax;
      for (const lane of this.#options.lanes()) {
        const ids = left > 0 && !lane.isDoubtful ? lane.unacknowledged(left) : [];
        if (ids.length === 0) continue;
        left -= ids.length;
        args.push(lane.partition, lane.epoch, ids.length);
        for (const id of ids) args.push(id);
        parts.push({ lane, count: ids.length });
      }
      if (parts.length === 0) return;
      const lost = await redis.run<number[]>(scripts.acknowledge, baseOf(topic), args);
      let hasRoom = false;
      for (const { lane, count } of parts) {
        if (lost.includes(lane.partition)) {
          onLost(lane);
          continue;
        }
        hasRoom ||= lane.isFull;
        lane.acknowledged(count);
      }
      if (hasRoom) onRoom();
    }
  }
}

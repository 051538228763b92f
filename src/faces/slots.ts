/**
 * How many jobs one process works on at a time, over all its queues. When more are wanted than
 * there are slots, the queue with the smaller priority number goes first, and of equals the one
 * that came first.
 */

interface Waiting {
  readonly priority: number;
  grant(): void;
  refuse(reason: unknown): void;
}

export class Slots {
  #capacity: number;
  #taken = 0;
  readonly #waiting: Waiting[] = [];

  constructor(capacity: number = Number.POSITIVE_INFINITY) {
    this.#capacity = capacity;
  }

  get taken(): number {
    return this.#taken;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Slots that are taken beyond a lowered capacity are not taken back. */
  set capacity(capacity: number) {
    this.#capacity = capacity;
    this.#grant();
  }

  /** Takes a slot if one is free and gives how to give it back; null when none is. */
  takeFree(): (() => void) | null {
    if (this.#taken >= this.#capacity) return null;
    this.#taken += 1;
    return this.#release();
  }

  /**
   * Resolves with how to give the slot back.
   * @throws the reason of `signal` when it is aborted first.
   */
  async take(priority: number, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const free = this.takeFree();
    if (free !== null) return free;
    await this.#wait(priority, signal);
    return this.#release();
  }

  /** Whoever waits for a slot is refused it with this reason. */
  turnAway(reason: unknown): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(reason);
  }

  #release(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#taken -= 1;
      this.#grant();
    };
  }

  #wait(priority: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        reject(signal?.reason);
      };
      const stopListening = () => signal?.removeEventListener('abort', giveUp);
      const entry: Waiting = {
        priority,
        grant: () => {
          stopListening();
          resolve();
        },
        refuse: (reason) => {
          stopListening();
          reject(reason);
        },
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      const place = this.#waiting.findIndex((other) => other.priority > priority);
      this.#waiting.splice(place < 0 ? this.#waiting.length : place, 0, entry);
    });
  }

  #grant(): void {
    while (this.#taken < this.#capacity) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#taken += 1;
      next.grant();
    }
  }
}

/** A queue in memory between one writer and one reader: bounded, never waiting on the writer. */
import { Bell } from '../../runtime/bell.ts';

export class BoundedChannel<Item> {
  readonly capacity: number;
  readonly #items: Item[] = [];
  readonly #bell = new Bell();
  #closed = false;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get size(): number {
    return this.#items.length;
  }
  get closed(): boolean {
    return this.#closed;
  }
  /** Share of the capacity that is taken. */
  get fill(): number {
    return this.#items.length / this.capacity;
  }

  /** False when it is full or closed: the item is not taken. */
  push(item: Item): boolean {
    if (this.#closed || this.#items.length >= this.capacity) return false;
    this.#items.push(item);
    this.#bell.ring();
    return true;
  }

  /** The next item; null once the channel is closed. What was not read by then is dropped. */
  async take(): Promise<Item | null> {
    while (!this.#closed) {
      const item = this.#items.shift();
      if (item !== undefined) return item;
      await this.#bell.wait(60_000);
    }
    return null;
  }

  close(): void {
    this.#closed = true;
    this.#items.length = 0;
    this.#bell.ring();
  }
}

/**
 * Which offsets are under way between what is settled and what was read. Keys finish out of order;
 * the cursor says "everything up to position, and these beyond it", so that nothing finished is
 * handled again after a crash and nothing unfinished is passed over.
 */
import type { Entry } from './entry.ts';

export class Window {
  readonly #entries: Entry[] = [];
  #first = 0;
  /** Settled by an earlier owner beyond its position: not read into the window again. */
  #ahead = new Set<number>();
  /** Every offset up to this one was looked at: it is in the window, filtered out, or done. */
  scanned = 0;
  /** What the last settlement said. */
  position = 0;

  /** Starts from a cursor. */
  open(position: number, ahead: readonly number[]): void {
    this.#entries.length = 0;
    this.#first = 0;
    this.#ahead = new Set(ahead);
    this.scanned = position;
    this.position = position;
  }

  /** Entries of the log under way or done but not settled. */
  get size(): number {
    return this.#entries.length - this.#first;
  }

  isDone(offset: number): boolean {
    return this.#ahead.size > 0 && this.#ahead.has(offset);
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** The cursor if everything done now were settled. */
  progress(): { position: number; ahead: number[] } {
    let first = this.#first;
    const entries = this.#entries;
    while (first < entries.length && (entries[first] as Entry).done) first += 1;
    const undone = entries[first];
    const position = undone === undefined ? this.scanned : undone.event.offset - 1;
    const ahead = this.#ahead.size > 0 ? [...this.#ahead].filter((o) => o > position) : [];
    for (let i = first + 1; i < entries.length; i += 1) {
      const entry = entries[i] as Entry;
      if (entry.done) ahead.push(entry.event.offset);
    }
    return { position, ahead: ahead.sort((a, b) => a - b) };
  }

  /** Takes over the progress that was settled. */
  settled(progress: { position: number; ahead: readonly number[] }): void {
    this.position = progress.position;
    const entries = this.#entries;
    while (
      this.#first < entries.length &&
      (entries[this.#first] as Entry).event.offset <= progress.position
    ) {
      this.#first += 1;
    }
    if (this.#first === entries.length) {
      entries.length = 0;
      this.#first = 0;
    } else if (this.#first > 4096) {
      entries.splice(0, this.#first);
      this.#first = 0;
    }
    for (const offset of this.#ahead) if (offset <= progress.position) this.#ahead.delete(offset);
  }
}

/**
 * The newest events of each partition, as this process appended them: a contiguous run that ends at
 * the last append. Groups that keep up read from here instead of the store, which saves the server
 * the read and us the parsing. Holds committed events only, and nothing at all after a gap (another
 * process appended in between), so what it answers is exactly what the store would.
 */
import type { StoredEvent } from '../core/event.ts';
import type { ReadRequest, ReadResult } from '../ports/store.ts';

export class Tail {
  readonly #runs: StoredEvent[][] = [];
  readonly #eventsMax: number;

  constructor(options: { eventsMax: number }) {
    this.#eventsMax = options.eventsMax;
  }

  /** Takes events that are durably committed, ascending within each partition. */
  push(events: readonly StoredEvent[]): void {
    for (const event of events) {
      let run = this.#runs[event.partition];
      if (run === undefined) {
        run = [];
        this.#runs[event.partition] = run;
      }
      const last = run.at(-1);
      if (last !== undefined) {
        if (event.offset <= last.offset) continue; // answered late; the newer run stays
        if (event.offset !== last.offset + 1) run.length = 0;
      }
      run.push(event);
      // Cut in large pieces: a shift per event would copy the run each time.
      if (run.length >= this.#eventsMax * 2) run.splice(0, run.length - this.#eventsMax);
    }
  }

  /** Answers like the store, or null when the run does not reach from `after` on. */
  read({ partition, after, limit }: ReadRequest, types: ReadonlySet<string>): ReadResult | null {
    const run = this.#runs[partition];
    const first = run?.[0];
    if (run === undefined || first === undefined || after + 1 < first.offset) return null;
    let i = after + 1 - first.offset;
    if (i >= run.length) return null;
    const events: StoredEvent[] = [];
    for (; i < run.length && events.length < limit; i += 1) {
      const event = run[i] as StoredEvent;
      if (types.has(event.eventType)) events.push(event);
    }
    return { events, scannedTo: first.offset + i - 1, atHead: i >= run.length };
  }
}

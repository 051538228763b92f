/**
 * The newest events of each partition, as this process appended them: a contiguous run that ends at
 * the last append. Groups that keep up read from here instead of the store, which saves the server
 * the read and us the parsing. It holds committed events only, and answers exactly what the store
 * would; after a gap (another process appended in between) it starts a new run.
 */
import type { StoredEvent } from '../core/event.ts';
import type { TypeSet } from '../core/event-pattern.ts';
import type { ReadRequest, ReadResult } from '../ports/store.ts';

type Batch = readonly StoredEvent[];

interface Run {
  events: StoredEvent[];
  /** Batches beyond a gap. Answers of two commits can overtake each other on the way here, so a gap
   * usually closes within a millisecond. */
  early: Batch[];
}

/** A gap that outlives this many batches was made by another process. */
const earlyMax = 8;

export class Tail {
  readonly #runs: Run[];
  readonly #eventsMax: number;

  constructor(options: { partitions: number; eventsMax: number }) {
    this.#eventsMax = options.eventsMax;
    this.#runs = Array.from({ length: options.partitions }, () => ({ events: [], early: [] }));
  }

  /** Takes a batch of one partition that is durably committed, offsets ascending by one. */
  push(partition: number, batch: Batch): void {
    const run = this.#runs[partition];
    const first = batch[0];
    if (run === undefined || first === undefined) return;
    const next = nextOffset(run);
    if (next !== null && first.offset > next) {
      run.early.push(batch);
      run.early.sort((a, b) => (a[0] as StoredEvent).offset - (b[0] as StoredEvent).offset);
      if (run.early.length > earlyMax) run.events.length = 0;
    } else if (next === null || first.offset === next) {
      append(run, batch);
    }
    this.#join(run);
    // Cut in large pieces: a shift per event would copy the run each time.
    const { events } = run;
    if (events.length >= this.#eventsMax * 2) run.events = events.slice(-this.#eventsMax);
  }

  /** Answers like the store, or null when the run does not reach from `after` on. */
  read({ partition, after, limit }: ReadRequest, types: TypeSet): ReadResult | null {
    const run = this.#runs[partition]?.events;
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

  /** One event, when it is in memory. */
  at(partition: number, offset: number): StoredEvent | null {
    const run = this.#runs[partition]?.events;
    const first = run?.[0];
    if (run === undefined || first === undefined) return null;
    return run[offset - first.offset] ?? null;
  }

  #join(run: Run): void {
    for (;;) {
      const batch = run.early[0];
      if (batch === undefined) return;
      const next = nextOffset(run);
      const { offset } = batch[0] as StoredEvent;
      if (next !== null && offset > next) return;
      run.early.shift();
      if (next === null || offset === next) append(run, batch);
    }
  }
}

function nextOffset({ events }: Run): number | null {
  const last = events.at(-1);
  return last === undefined ? null : last.offset + 1;
}

function append(run: Run, batch: Batch): void {
  for (const event of batch) run.events.push(event);
}

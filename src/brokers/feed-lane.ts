/**
 * What a broker brought of one log partition, in order of log offsets: duplicates dropped, early
 * ones held, and `reach` saying how far readers may go. Up to `reach` every offset is either here
 * or in the log; beyond it nothing is read, whatever the log has.
 *
 *   first             reach          early
 *     │ ■ ■ ■ □ ■ ■ ■ ■ │  gap  │ ■ ■ │        ■ here   □ let go of, or filled from the log
 *
 * Bounded: what lies too far beyond the reach is not kept (it is read from the log when its turn
 * comes), and `dropTo` lets go of what nobody needs any more.
 */
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { StoredEvent } from '../core/event.ts';
import type { TypeSet } from '../core/event-pattern.ts';
import type { ReadRequest, ReadResult } from '../ports/store.ts';

/** One event as it came, and as it reads once somebody has wanted it. */
export interface Slot {
  readonly received: ReceivedEvent;
  stored: StoredEvent | null;
}

export type Arrival = 'taken' | 'duplicate' | 'far';

/** Beyond the reach at most; a broker that loses more than that in a row is read around. */
const earlyMax = 20_000;

export class FeedLane {
  #slots: (Slot | undefined)[] = [];
  /** Slots before this index are let go of; cut off now and then. */
  #start = 0;
  /** Offset of `#slots[0]`. */
  #base = 1;
  #farthest = 0;
  #known = false;
  #held = 0;
  bytes = 0;
  /** Readers may go up to this offset. */
  reach = 0;
  /** performance.now() at which a gap before an early event was noticed; null without one. */
  gapSince: number | null = null;

  /** Events in memory. */
  get held(): number {
    return this.#held;
  }

  /** False until something says where this partition stands. */
  get known(): boolean {
    return this.#known;
  }

  put(offset: number, received: ReceivedEvent): Arrival {
    if (!this.#known) this.#begin(offset - 1);
    if (offset <= this.reach) return 'duplicate';
    this.#farthest = Math.max(this.#farthest, offset);
    if (offset > this.reach + earlyMax) {
      this.gapSince ??= performance.now();
      return 'far';
    }
    const index = offset - this.#base;
    if (this.#slots[index] !== undefined) return 'duplicate';
    while (this.#slots.length < index) this.#slots.push(undefined);
    this.#slots[index] = { received, stored: null };
    this.#held += 1;
    this.bytes += received.dataJson.length;
    if (offset === this.reach + 1) this.#advance();
    else this.gapSince ??= performance.now();
    return 'taken';
  }

  /** The offset of the first event beyond the gap; null when there is no gap. */
  get early(): number | null {
    if (this.gapSince === null) return null;
    for (let i = this.reach + 1 - this.#base; i < this.#slots.length; i += 1) {
      if (this.#slots[i] !== undefined) return this.#base + i;
    }
    return this.#farthest > this.reach ? this.#farthest : null;
  }

  /** Readers may go up to `offset`, the log has what is not here. Returns how many that opened. */
  raise(offset: number): number {
    if (!this.#known) {
      this.#begin(offset);
      return 0;
    }
    const opened = offset - this.reach;
    if (opened <= 0) return 0;
    this.reach = offset;
    if (this.#slots.length <= offset - this.#base) this.#restart(offset);
    this.gapSince = null;
    this.#advance();
    if (this.#farthest > this.reach) this.gapSince = performance.now();
    return opened;
  }

  /** Lets go of events up to this offset: they were settled, or can be read from the log. */
  dropTo(offset: number): void {
    const end = Math.min(offset, this.reach) + 1 - this.#base;
    for (; this.#start < end && this.#start < this.#slots.length; this.#start += 1) {
      const slot = this.#slots[this.#start];
      if (slot === undefined) continue;
      this.#held -= 1;
      this.bytes -= slot.received.dataJson.length;
      this.#slots[this.#start] = undefined;
    }
    if (this.#start === this.#slots.length) this.#restart(Math.max(this.reach, this.#base - 1));
    else if (this.#start >= 4_096) {
      this.#slots.splice(0, this.#start);
      this.#base += this.#start;
      this.#start = 0;
    }
  }

  /** Events up to the reach, oldest first, until `count` of them are left. The last let go of. */
  oldestBeyond(count: number): number {
    let surplus = this.#held - count;
    let i = this.#start;
    for (; surplus > 0 && i < this.#slots.length && this.#base + i <= this.reach; i += 1) {
      if (this.#slots[i] !== undefined) surplus -= 1;
    }
    return this.#base + i - 1;
  }

  /**
   * Answers as the log would, from what is here; null when the next offset is not.
   * @param open makes a stored event of what came; null when it cannot be read.
   */
  read(
    { after, limit }: ReadRequest,
    types: TypeSet | null,
    open: (offset: number, slot: Slot) => StoredEvent | null,
  ): ReadResult | null {
    let i = after + 1 - this.#base;
    if (i < this.#start || after >= this.reach) return null;
    const events: StoredEvent[] = [];
    for (; this.#base + i <= this.reach && events.length < limit; i += 1) {
      const slot = this.#slots[i];
      if (slot === undefined) break;
      if (types !== null && !types.has(slot.received.type)) continue;
      const event = slot.stored ?? open(this.#base + i, slot);
      if (event === null) {
        this.#discard(i, slot);
        break;
      }
      slot.stored = event;
      events.push(event);
    }
    const scannedTo = this.#base + i - 1;
    return scannedTo === after ? null : { events, scannedTo, atHead: scannedTo >= this.reach };
  }

  /** How far the log may be read for someone who stands at `after`: up to the next event here. */
  logLimit(after: number): number {
    const from = Math.max(after + 1 - this.#base, this.#start);
    for (let i = from; i < this.#slots.length && this.#base + i <= this.reach; i += 1) {
      if (this.#slots[i] !== undefined) return this.#base + i - 1;
    }
    return this.reach;
  }

  /** Knows nothing again: what comes next says where the partition stands. */
  reset(): void {
    this.#known = false;
    this.reach = 0;
    this.#farthest = 0;
    this.gapSince = null;
    this.#restart(0);
  }

  #begin(reach: number): void {
    this.#known = true;
    this.reach = reach;
    this.#farthest = reach;
    this.#restart(reach);
  }

  #restart(reach: number): void {
    this.#slots = [];
    this.#start = 0;
    this.#base = reach + 1;
    this.#held = 0;
    this.bytes = 0;
  }

  #advance(): void {
    while (this.#slots[this.reach + 1 - this.#base] !== undefined) this.reach += 1;
    this.#farthest = Math.max(this.#farthest, this.reach);
    if (this.#farthest === this.reach) this.gapSince = null;
  }

  #discard(index: number, slot: Slot): void {
    this.#slots[index] = undefined;
    this.#held -= 1;
    this.bytes -= slot.received.dataJson.length;
  }
}

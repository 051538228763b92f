/**
 * One partition of a group while this member leases it: reads after the cursor, hands on as much as
 * may be in flight, and moves the cursor by what is acknowledged. The epoch of the lease fences it:
 * a settlement after another member took the partition is refused, and the lane is lost.
 */
import { MillraceError } from '../../../core/errors.ts';
import type { StoredEvent } from '../../../core/event.ts';
import type { Store } from '../../../ports/store.ts';
import { type Bell, createBell } from './bell.ts';
import { translate } from './store-errors.ts';

/** Of one read; large events make it large enough. */
const eventsMax = 250;

export interface LaneOptions {
  readonly store: Store;
  readonly group: string;
  readonly partition: number;
  readonly epoch: number;
  readonly inFlightMax: number;
  /** Looks at the log at least this often, whatever notices say. */
  readonly pollMs: number;
  deliver(events: readonly StoredEvent[]): void;
  /** Another member owns the partition. */
  onLost(): void;
  onError(error: unknown): void;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #bell: Bell = createBell();
  #seq = 0;
  /** Where the cursor is in the store. */
  #settled = 0;
  #ahead: ReadonlySet<number> = new Set();
  /** False at the start, and after an error with an unknown outcome. */
  #opened = false;
  #delivered = -1;
  #acknowledged = 0;
  #settling: Promise<void> | null = null;
  #paused = false;
  #stopped = false;
  #lost = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  get partition(): number {
    return this.#options.partition;
  }

  async run(): Promise<void> {
    const { store, partition, inFlightMax, pollMs, onError } = this.#options;
    while (!this.#stopped) {
      try {
        if (this.#delivered < 0) await this.#open();
        const room = inFlightMax - (this.#delivered - this.#acknowledged);
        if (this.#paused || room <= 0) {
          await this.#bell.wait(pollMs);
          continue;
        }
        const request = { partition, after: this.#delivered, types: null };
        const limit = Math.min(room, eventsMax);
        const { events, scannedTo, atHead } = await store.log.read({ ...request, limit });
        if (this.#stopped || this.#paused) continue; // read again when it goes on
        this.#delivered = scannedTo;
        const fresh = events.filter(({ offset }) => !this.#ahead.has(offset));
        if (fresh.length > 0) this.#options.deliver(fresh);
        if (atHead) await this.#bell.wait(pollMs);
      } catch (error) {
        onError(error);
        await this.#bell.wait(pollMs);
      }
    }
  }

  wake(): void {
    this.#bell.ring();
  }

  setPaused(paused: boolean): void {
    this.#paused = paused;
    this.#bell.ring();
  }

  /** Delivers nothing any more; acknowledging goes on. */
  stop(): void {
    this.#stopped = true;
    this.#bell.ring();
  }

  /** The partition is another member's: from now on acknowledging has no effect. */
  lose(): void {
    this.#lost = true;
    this.stop();
  }

  /** Up to and including the offset; what was never delivered here is not acknowledged. */
  acknowledge(offset: number): Promise<void> {
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(offset, this.#delivered));
    this.#bell.ring();
    return this.settle();
  }

  /** Moves the cursor to what is acknowledged, if it is not there. */
  async settle(): Promise<void> {
    if (this.#lost || this.#settled >= this.#acknowledged) return;
    this.#settling ??= this.#settleAll();
    await this.#settling;
  }

  async #settleAll(): Promise<void> {
    try {
      while (!this.#lost && this.#settled < this.#acknowledged) await this.#settleOnce();
    } catch (error) {
      throw translate(error, 'Acknowledging');
    } finally {
      this.#settling = null; // in the turn of the last look
    }
  }

  async #settleOnce(): Promise<void> {
    const { store, group, partition, epoch } = this.#options;
    // A settlement that was lost with its connection may have happened.
    if (!this.#opened) await this.#open();
    const position = this.#acknowledged;
    if (this.#settled >= position) return;
    this.#opened = false;
    const ahead = [...this.#ahead].filter((offset) => offset > position);
    const nothing = { events: [], failures: [], resolved: [] };
    const seq = this.#seq + 1;
    try {
      await store.streams.settle({ group, partition, epoch, seq, position, ahead, ...nothing });
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== 'LEASE_LOST') throw error;
      this.lose();
      this.#options.onLost();
      return;
    }
    this.#seq = seq;
    this.#settled = position;
    this.#opened = true;
  }

  async #open(): Promise<void> {
    const { store, group, partition } = this.#options;
    const { seq, position, ahead } = await store.streams.openCursor({ group, partition });
    this.#seq = seq;
    this.#settled = position;
    this.#ahead = new Set(ahead);
    this.#opened = true;
    if (this.#delivered >= 0) return;
    this.#delivered = position;
    this.#acknowledged = position;
  }
}

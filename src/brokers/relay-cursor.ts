/**
 * The cursor of one relay stream: settled beside the publishing, one settlement at a time, each
 * with everything that was acknowledged by then. Busy, one settlement stands for many batches.
 */
import type { FailureRecord } from '../ports/failures.ts';
import type { RoutedEvent } from '../ports/store.ts';
import type { SettleResult, StreamStore } from '../ports/streams.ts';
import { sleep } from '../runtime/bell.ts';

export interface Advance {
  readonly position: number;
  readonly failures: readonly FailureRecord[];
  readonly events: readonly RoutedEvent[];
  readonly resolved: readonly number[];
}

export interface RelayCursorOptions {
  readonly streams: Pick<StreamStore, 'settle'>;
  readonly group: string;
  readonly partition: number;
  readonly epoch: number;
  readonly seq: number;
  readonly position: number;
  onSettled(result: SettleResult): void;
  /** A settlement failed: `check` throws its error from now on. */
  onBroken(): void;
}

/** Acknowledged and not settled at most: so many are published again after a crash. */
const aheadMax = 8_000;
/** Between two settlements: a commit each for single events would cost the store more than them. */
const pauseMs = 25;

export class RelayCursor {
  readonly #options: RelayCursorOptions;
  #seq: number;
  #pending: Advance | null = null;
  #running: Promise<void> | null = null;
  #broken: { readonly error: unknown } | null = null;
  #hurry = false;
  position: number;

  constructor(options: RelayCursorOptions) {
    this.#options = options;
    this.#seq = options.seq;
    this.position = options.position;
  }

  /** @throws what a settlement failed with. */
  check(): void {
    if (this.#broken !== null) throw this.#broken.error;
  }

  /** Takes what was acknowledged; waits only when too much is not settled yet. */
  async advance(next: Advance): Promise<void> {
    this.check();
    const { failures, events, resolved } = this.#pending ?? next;
    this.#pending =
      this.#pending === null
        ? next
        : {
            position: next.position,
            failures: [...failures, ...next.failures],
            events: [...events, ...next.events],
            resolved: [...resolved, ...next.resolved],
          };
    this.#running ??= this.#run();
    if (next.position - this.position > aheadMax || next.failures.length > 0) await this.settled();
  }

  /** Resolves when nothing is left to settle. @throws what a settlement failed with. */
  async settled(): Promise<void> {
    this.#hurry = true;
    while (this.#running !== null) await this.#running;
    this.#hurry = false;
    this.check();
  }

  async #run(): Promise<void> {
    try {
      for (let next = this.#pending; next !== null; next = this.#pending) {
        this.#pending = null;
        await this.#settle(next);
        if (!this.#hurry) await sleep(pauseMs);
      }
    } catch (error) {
      this.#broken = { error };
      this.#options.onBroken();
    } finally {
      this.#running = null;
    }
  }

  async #settle({ position, failures, events, resolved }: Advance): Promise<void> {
    const { streams, group, partition, epoch, onSettled } = this.#options;
    const seq = this.#seq + 1;
    const at = { group, partition, epoch, seq, position, ahead: [] };
    const result = await streams.settle({ ...at, failures, events, resolved });
    this.#seq = seq;
    this.position = position;
    onSettled(result);
  }
}

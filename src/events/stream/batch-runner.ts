/**
 * Runs batch handlers: one call per tenant and batch. When some events of a call fail, its effects
 * are undone and it is made again without them; when the whole call throws, each half is tried
 * by itself, down to one event, so that one bad event never takes its neighbours with it.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import { BatchContext, type ContextShared } from './context.ts';
import { type Entry, laneOf, nothing } from './entry.ts';
import type { Executor, ExecutorOptions } from './executor.ts';
import { isTimeout, withTimeout } from './timeout.ts';

export class BatchRunner {
  readonly #options: ExecutorOptions;
  readonly #executor: Executor;
  readonly #shared: ContextShared;
  underWay = 0;

  constructor(options: ExecutorOptions, executor: Executor) {
    this.#options = options;
    this.#executor = executor;
    const { effects, partitions, signal, redactor } = options;
    this.#shared = { effects, partitions, signal, prepare: { redactor } };
  }

  /**
   * Redeliveries go alone: they have failed before. Tenants come in order of their names, so that
   * the transactions of two partitions that write the same rows wait for each other, never in a
   * circle.
   */
  async run(entries: readonly Entry[]): Promise<void> {
    const byTenant = new Map<string, Entry[]>();
    for (const entry of entries) {
      const { tenantId, eventId } = entry.event;
      const name = entry.redelivery ? `${tenantId} ${eventId}` : tenantId;
      const batch = byTenant.get(name);
      if (batch) batch.push(entry);
      else byTenant.set(name, [entry]);
    }
    this.underWay = entries.length;
    try {
      for (const name of [...byTenant.keys()].sort()) await this.#call(byTenant.get(name) ?? []);
    } finally {
      this.underWay = 0;
    }
  }

  async #call(entries: readonly Entry[]): Promise<void> {
    const batch = this.#decodable(entries);
    const first = batch[0];
    if (first === undefined || this.#options.signal.aborted) return;
    const attempt = batch.length === 1 ? first.entry.attempts + 1 : 1;
    const context = new BatchContext(first.event.tenantId, attempt, this.#shared);
    this.#executor.handled += batch.length;
    let thrown: { error: unknown } | null = null;
    try {
      const events = batch.map(({ event }) => event);
      const { handleBatch, timeoutMs } = this.#options.group;
      await withTimeout(handleBatch?.(events, context), timeoutMs);
    } catch (error) {
      thrown = { error };
      if (isTimeout(error)) context.abort(error);
    }
    const followUps = context.close();
    try {
      const keep = thrown === null && context.failed.size === 0;
      if (context.turn) await (await context.turn).end(keep);
    } catch (error) {
      if (this.#options.effects.broken) throw error;
      thrown = { error };
    }
    if (thrown === null && context.failed.size === 0) {
      for (const [i, { entry }] of batch.entries()) {
        this.#executor.finish(entry, i === 0 ? followUps : nothing);
      }
      return;
    }
    this.#executor.handled -= batch.length;
    await this.#recover(batch, context, thrown);
  }

  async #recover(
    batch: readonly Decoded[],
    context: BatchContext,
    thrown: { error: unknown } | null,
  ): Promise<void> {
    const [only] = batch;
    if (thrown !== null) {
      if (batch.length === 1 && only) this.#executor.fail(only.entry, thrown.error);
      else await this.#halve(batch);
      return;
    }
    const rest: Entry[] = [];
    const others: Decoded[] = [];
    const lanes = new Set<string>();
    for (const item of batch) {
      const lane = laneOf(item.event);
      if (context.failed.has(item.event)) lanes.add(lane);
      if (lanes.has(lane)) others.push(item);
      else rest.push(item.entry);
    }
    // A handler that reports an event it was not given would be called for ever.
    if (others.length === 0) {
      const error = new MillraceError('HANDLER_FAILED', 'fail() named an event of another batch.');
      for (const entry of rest) this.#failInOrder(entry, error);
      return;
    }
    // What came before a failed event of its key is handled first, what came after it parks.
    await this.#call(rest);
    for (const { entry, event } of others) this.#failInOrder(entry, context.failed.get(event));
  }

  /** The first failure of a key blocks it; the others of the batch wait behind that one. */
  #failInOrder(entry: Entry, error: unknown): void {
    if (!this.#executor.parkIfBlocked(entry, laneOf(entry.event)))
      this.#executor.fail(entry, error);
  }

  /** One bad event among 1,000 is found in 20 calls, not 1,000. */
  async #halve(batch: readonly Decoded[]): Promise<void> {
    const entries = batch.map(({ entry }) => entry);
    const middle = Math.ceil(entries.length / 2);
    await this.#call(entries.slice(0, middle));
    await this.#call(entries.slice(middle));
  }

  /** Without events of blocked keys, which are parked, and without what cannot be read. */
  #decodable(entries: readonly Entry[]): Decoded[] {
    const { group, decode } = this.#options;
    const batch: Decoded[] = [];
    for (const entry of entries) {
      const { event } = entry;
      // An event that cannot be read has blocked its key: what follows on that key waits.
      if (this.#executor.blocked.size > 0 && this.#executor.parkIfBlocked(entry, laneOf(event))) {
        continue;
      }
      if (group.definitions.get(event.eventType)?.version === event.version) {
        batch.push({ entry, event });
        continue;
      }
      try {
        batch.push({ entry, event: decode(event) });
      } catch (error) {
        this.#executor.fail(entry, error);
      }
    }
    return batch;
  }
}

interface Decoded {
  readonly entry: Entry;
  readonly event: StoredEvent;
}

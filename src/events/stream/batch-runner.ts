/**
 * Runs batch handlers: one call per tenant and batch. When some events of a call fail, its effects
 * are undone and it is made again without them; when the whole call throws, each event is tried
 * alone, so that one bad event never takes its neighbours with it.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import { BatchContext, type ContextShared } from './context.ts';
import { type Entry, laneOf, nothing } from './entry.ts';
import type { Executor, ExecutorOptions } from './executor.ts';
import { withTimeout } from './timeout.ts';

export class BatchRunner {
  readonly #options: ExecutorOptions;
  readonly #executor: Executor;
  readonly #shared: ContextShared;

  constructor(options: ExecutorOptions, executor: Executor) {
    this.#options = options;
    this.#executor = executor;
    const { effects, partitions, signal } = options;
    this.#shared = { effects, partitions, signal };
  }

  /** Redeliveries go alone: they have failed before. */
  async run(entries: readonly Entry[]): Promise<void> {
    const byTenant = new Map<string, Entry[]>();
    for (const entry of entries) {
      const tenant = entry.redelivery ? entry.event.eventId : entry.event.tenantId;
      const batch = byTenant.get(tenant);
      if (batch) batch.push(entry);
      else byTenant.set(tenant, [entry]);
    }
    for (const batch of byTenant.values()) await this.#call(batch);
  }

  async #call(entries: readonly Entry[]): Promise<void> {
    const batch = this.#decodable(this.#runnable(entries));
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
    }
    const followUps = context.close();
    const good = thrown === null && context.failed.size === 0;
    if (context.turn) await (await context.turn).end(good);
    if (good) {
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
      else for (const { entry } of batch) await this.#call([entry]);
      return;
    }
    const rest: Entry[] = [];
    for (const { entry, event } of batch) {
      if (context.failed.has(event)) this.#executor.fail(entry, context.failed.get(event));
      else rest.push(entry);
    }
    // A handler that reports an event it was not given would be called for ever.
    if (rest.length === batch.length) {
      const error = new MillraceError('HANDLER_FAILED', 'fail() named an event of another batch.');
      for (const entry of rest) this.#executor.fail(entry, error);
    } else await this.#call(rest);
  }

  /** Without events of blocked keys: those are parked here. */
  #runnable(entries: readonly Entry[]): Entry[] {
    if (this.#executor.blocked.size === 0) return [...entries];
    return entries.filter((entry) => !this.#executor.parkIfBlocked(entry, laneOf(entry.event)));
  }

  #decodable(entries: readonly Entry[]): Decoded[] {
    const { group, decode } = this.#options;
    const batch: Decoded[] = [];
    for (const entry of entries) {
      const { event } = entry;
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
    // An event that cannot be read has just blocked its key: what follows on that key waits.
    return batch.length === entries.length
      ? batch
      : batch.filter(({ entry }) => !this.#executor.parkIfBlocked(entry, laneOf(entry.event)));
  }
}

interface Decoded {
  readonly entry: Entry;
  readonly event: StoredEvent;
}

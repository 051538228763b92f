/**
 * Appends what is published, one append after the other: batches keep the order of their calls, and
 * those that wait go together. Every append looks for ids that are there already, so that what is
 * published again after an unknown outcome is stored once.
 */
import { MillraceError } from '../../../core/errors.ts';
import type { OutgoingEvent } from '../../../ports/broker.ts';
import type { LogStore, RoutedEvent } from '../../../ports/store.ts';
import { isAway, translate, unavailable, within } from './store-errors.ts';

/** Of one append. */
const eventsMax = 5_000;

interface Call {
  readonly events: readonly RoutedEvent[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface PublisherOptions {
  readonly log: LogStore;
  readonly timeoutMs: number;
  /** Events became durable: the last offset of each partition that has new ones. */
  onAppended(heads: ReadonlyMap<number, number>): void;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #waiting: Call[] = [];
  #working: Promise<void> | null = null;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  publish(events: readonly OutgoingEvent[]): Promise<void> {
    if (this.#closed) return Promise.reject(unavailable('This client of the broker is closed.'));
    const routed = events.map(
      ({ event, payloadJson, metadataJson, partition }): RoutedEvent => ({
        ...{ event, payloadJson, metadataJson, partition, checkDuplicate: true },
      }),
    );
    const done = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ events: routed, resolve, reject });
    });
    this.#working ??= this.#work();
    return within(this.#options.timeoutMs, 'Publishing', done);
  }

  /** Refuses what comes from now on; resolves when what was accepted has its answer. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const calls = this.#next();
      try {
        await this.#append(calls.flatMap(({ events }) => events));
        for (const { resolve } of calls) resolve();
      } catch (error) {
        await this.#afterError(calls, error);
      }
    }
    this.#working = null; // in the turn of the last look, so that no call is left behind
  }

  #next(): readonly Call[] {
    let count = 0;
    let calls = 0;
    for (const { events } of this.#waiting) {
      if (calls > 0 && count + events.length > eventsMax) break;
      count += events.length;
      calls += 1;
    }
    return this.#waiting.splice(0, calls);
  }

  /** One call with an event that the store refuses spoils its own batch and no other one. */
  async #afterError(calls: readonly Call[], error: unknown): Promise<void> {
    for (const { events, resolve, reject } of calls) {
      if (isAway(error)) reject(translate(error, 'Publishing'));
      else await this.#appendParts(events, 0).then(resolve, reject);
    }
  }

  /** Halves until the event that is refused stands alone; what is before it is stored. */
  async #appendParts(events: readonly RoutedEvent[], first: number): Promise<void> {
    try {
      await this.#append(events);
    } catch (error) {
      const told = translate(error, 'Publishing');
      if (told instanceof MillraceError) throw told;
      if (events.length === 1) {
        const { eventId, eventType } = (events[0] as RoutedEvent).event;
        throw new MillraceError(
          'BROKER_EVENT_REFUSED',
          `Postgres refuses event ${eventId} (${eventType}): ${(error as Error).message}`,
          { cause: error, details: { index: first, eventId } },
        );
      }
      const half = Math.ceil(events.length / 2);
      await this.#appendParts(events.slice(0, half), first);
      await this.#appendParts(events.slice(half), first + half);
    }
  }

  async #append(events: readonly RoutedEvent[]): Promise<void> {
    for (let from = 0; from < events.length; from += eventsMax) {
      const part = events.slice(from, from + eventsMax);
      const positions = await this.#options.log.append(part, { once: true });
      const heads = new Map<number, number>();
      for (const { partition, offset, duplicate } of positions) {
        if (!duplicate) heads.set(partition, Math.max(heads.get(partition) ?? 0, offset));
      }
      if (heads.size > 0) this.#options.onAppended(heads);
    }
  }
}

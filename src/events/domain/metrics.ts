/**
 * Counts of domain events in this process, by delivery mode, and how long handlers took. Plain
 * numbers: telemetry and HTTP turn them into whatever is asked for.
 */
import { type DeliveryMode, deliveryModes } from '../../core/workflow/domain-event.ts';

export type ByDelivery = Readonly<Record<DeliveryMode, number>>;

export interface DurationHistogram {
  /** Upper bounds in seconds. */
  readonly bounds: readonly number[];
  /** One more than bounds: the last one counts what is above all of them. Not cumulative. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

export interface DomainEventMetrics {
  /** Handed to subscribers, to the log, or to both. */
  readonly published: ByDelivery;
  /** Pushed out of a full buffer, given up without a dead letter, or published while disabled. */
  readonly dropped: ByDelivery;
  /** Refused by a schema, not declared, or not stored. */
  readonly failed: ByDelivery;
  /** Calls of handlers that went well. */
  readonly delivered: ByDelivery;
  /** Calls of handlers that failed. */
  readonly handlerFailed: ByDelivery;
  /** Empty while metrics are switched off. */
  readonly handlerSeconds: Readonly<Partial<Record<DeliveryMode, DurationHistogram>>>;
}

export type CounterName = Exclude<keyof DomainEventMetrics, 'handlerSeconds'>;

/** Under which names telemetry shows them; the delivery mode is a label. */
export const domainEventMetricNames: Readonly<Record<keyof DomainEventMetrics, string>> = {
  published: 'tasker.domain_events.published.total',
  dropped: 'tasker.domain_events.dropped.total',
  failed: 'tasker.domain_events.failed.total',
  delivered: 'tasker.domain_events.delivered.total',
  handlerFailed: 'tasker.domain_events.handler_failures.total',
  handlerSeconds: 'tasker.domain_events.handler.duration',
};

interface Tally {
  readonly counts: number[];
  sum: number;
  count: number;
}

/** Hears how long each call of a handler took, where a histogram of its own is wanted. */
export type ReportHandled = (delivery: DeliveryMode, seconds: number) => void;

const counterNames = ['published', 'dropped', 'failed', 'delivered', 'handlerFailed'] as const;

export class DomainEventCounters {
  readonly #counters = new Map<CounterName, Record<DeliveryMode, number>>(
    counterNames.map((name) => [name, zeros()]),
  );
  readonly #durations = new Map<DeliveryMode, Tally>();
  readonly #bounds: readonly number[];
  readonly #measures: boolean;
  #report: ReportHandled | null = null;

  constructor(bounds: readonly number[], measures: boolean) {
    this.#bounds = bounds;
    this.#measures = measures;
  }

  add(name: CounterName, delivery: DeliveryMode, count = 1): void {
    (this.#counters.get(name) as Record<DeliveryMode, number>)[delivery] += count;
  }

  /** From now on, unless nothing is measured; the one that is given last. */
  reportHandled(report: ReportHandled): void {
    this.#report = report;
  }

  /** A call of a handler has ended. */
  handled(delivery: DeliveryMode, succeeded: boolean, ms: number): void {
    this.add(succeeded ? 'delivered' : 'handlerFailed', delivery);
    if (!this.#measures) return;
    let tally = this.#durations.get(delivery);
    if (tally === undefined) {
      tally = { counts: new Array<number>(this.#bounds.length + 1).fill(0), sum: 0, count: 0 };
      this.#durations.set(delivery, tally);
    }
    const seconds = ms / 1_000;
    const place = this.#bounds.findIndex((bound) => seconds <= bound);
    tally.counts[place < 0 ? this.#bounds.length : place] = tallyUp(tally.counts, place);
    tally.sum += seconds;
    tally.count += 1;
    this.#report?.(delivery, seconds);
  }

  read(): DomainEventMetrics {
    const counted = (name: CounterName): ByDelivery => ({
      ...(this.#counters.get(name) as Record<DeliveryMode, number>),
    });
    const handlerSeconds: Partial<Record<DeliveryMode, DurationHistogram>> = {};
    for (const [delivery, { counts, sum, count }] of this.#durations) {
      handlerSeconds[delivery] = { bounds: this.#bounds, counts: [...counts], sum, count };
    }
    return {
      published: counted('published'),
      dropped: counted('dropped'),
      failed: counted('failed'),
      delivered: counted('delivered'),
      handlerFailed: counted('handlerFailed'),
      handlerSeconds,
    };
  }
}

function tallyUp(counts: readonly number[], place: number): number {
  return (counts.at(place) as number) + 1; // -1, above every bound, is the last one
}

function zeros(): Record<DeliveryMode, number> {
  return Object.fromEntries(deliveryModes.map((mode) => [mode, 0])) as Record<DeliveryMode, number>;
}

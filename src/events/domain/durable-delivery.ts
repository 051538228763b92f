/**
 * Subscriptions through the log: a group of the ordinary streams, whose handler gets domain events.
 * Retries, order per key, dead letters and the commit of effects with the cursor are the streams';
 * here is what is particular to domain events: the exact pattern, one tenant only, the contexts.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import { eventsLike } from '../../core/event-pattern.ts';
import type { JsonValue } from '../../core/json.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import type { DomainEvent } from '../../core/workflow/domain-event.ts';
import type { HandlerContext } from '../stream/context.ts';
import type { SingleSubscription } from '../stream/subscription.ts';
import { isPromise } from '../stream/timeout.ts';
import type { DomainEventCounters } from './metrics.ts';
import type { NamePattern } from './name-pattern.ts';
import { toDomainEvent } from './preparation.ts';

/** A follow-up: tenant, task and correlation are those of the event that caused it. */
export interface FollowUpOptions {
  /** The namespace that declares it; needed when several do. */
  readonly namespace?: string | undefined;
  /** Default: the key of the event that caused it. */
  readonly key?: string | null | undefined;
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
}

export interface DurableContext {
  readonly delivery: 'durable';
  /** 1 for the first delivery. */
  readonly attempt: number;
  /** Aborted when the handler's time is over, its lease is lost, or a shutdown waits no longer. */
  readonly signal: AbortSignal;
  /**
   * Publishes a follow-up, which is stored if and when this event is acknowledged. Answers with its
   * id. @throws MillraceError EVENT_INVALID, EVENT_UNKNOWN
   */
  publish(name: string, payload: unknown, options?: FollowUpOptions): string;
}

export interface AcknowledgedContext extends Omit<DurableContext, 'delivery'> {
  readonly delivery: 'acknowledged';
  /**
   * What is written through it commits together with the acknowledgement and the follow-ups, or not
   * at all. Handlers of one partition take turns in it: do slow things before the first query.
   * Row-level security shows the event's tenant only.
   */
  readonly tx: SqlTransaction;
}

export interface DurableOptions {
  readonly pattern: NamePattern;
  readonly delivery: 'durable' | 'acknowledged';
  readonly group: string;
  readonly namespace: string | null;
  readonly tenantId: string | null;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly retry: Partial<RetryPolicy>;
  readonly attemptsMax: number;
  readonly from: 'start' | 'end';
  /** False: what no attempt could handle is dropped instead of becoming a dead letter. */
  readonly dlqEnabled: boolean;
  readonly counters: DomainEventCounters;
  handle(event: DomainEvent, context: DurableContext | AcknowledgedContext): unknown;
  /** Prepares a follow-up; those that go to this process only are sent by `after`. */
  followUp(cause: DomainEvent, context: HandlerContext, request: FollowUpRequest): FollowUp;
  /** Soon there will be a dead letter that nobody wants to keep. */
  onUnwantedLetter(): void;
  onError(error: unknown): void;
}

export interface FollowUpRequest extends FollowUpOptions {
  readonly name: string;
  readonly payload: unknown;
}

export interface FollowUp {
  readonly eventId: string;
  /** Once the handler has succeeded. */
  after(): void;
}

/** The subscription for the streams. */
export function durableSubscription(options: DurableOptions): SingleSubscription<never[]> {
  const { pattern, group, namespace, concurrency, timeoutMs, retry, from } = options;
  const subscription = {
    group,
    events: [eventsLike(pattern.logType(namespace))],
    concurrency,
    timeoutMs,
    retry,
    from,
    handle: (stored: StoredEvent, context: HandlerContext) => deliver(options, stored, context),
  };
  return subscription as unknown as SingleSubscription<never[]>;
}

function deliver(
  options: DurableOptions,
  stored: StoredEvent,
  context: HandlerContext,
): undefined | Promise<void> {
  const { pattern, namespace, tenantId } = options;
  if (tenantId !== null && stored.tenantId !== tenantId) return undefined;
  const event = toDomainEvent(stored);
  if (namespace !== null && event.metadata.namespace !== namespace) return undefined;
  if (!pattern.matches(event.name)) return undefined;
  return call(options, event, context);
}

async function call(
  options: DurableOptions,
  event: DomainEvent,
  context: HandlerContext,
): Promise<void> {
  const { delivery, counters, attemptsMax, dlqEnabled } = options;
  const after: (() => void)[] = [];
  const started = performance.now();
  try {
    const answer = options.handle(event, contextFor(options, event, context, after));
    if (isPromise(answer)) await answer;
  } catch (error) {
    counters.handled(delivery, false, performance.now() - started);
    if (dlqEnabled || (context.attempt < attemptsMax && !isPermanent(error))) throw error;
    counters.add('dropped', delivery);
    options.onError(error);
    if (context.turn === null && after.length === 0) return;
    // Only a failure takes back what was written and published there, and leaves a letter.
    options.onUnwantedLetter();
    throw error;
  }
  counters.handled(delivery, true, performance.now() - started);
  for (const send of after) send();
}

function contextFor(
  options: DurableOptions,
  event: DomainEvent,
  context: HandlerContext,
  after: (() => void)[],
): DurableContext | AcknowledgedContext {
  const { delivery } = options;
  const shared = {
    attempt: context.attempt,
    // Asked for by few handlers, and made only then.
    get signal() {
      return context.signal;
    },
    publish(name: string, payload: unknown, given: FollowUpOptions = {}): string {
      const followUp = options.followUp(event, context, { ...given, name, payload });
      after.push(() => followUp.after());
      return followUp.eventId;
    },
  };
  if (delivery === 'durable') return Object.assign(shared, { delivery });
  const tx: SqlTransaction = {
    query: async (text, values) => (await context.tx()).query(text, values),
  };
  return Object.assign(shared, { delivery, tx });
}

function isPermanent(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'PERMANENT_FAILURE';
}

/** What a developer says to subscribe to domain events, and the checked form of it. */
import { MillraceError } from '../../core/errors.ts';
import { parseRetryPolicy, type RetryPolicy } from '../../core/retry.ts';
import type { DeliveryMode, DomainEvent } from '../../core/workflow/domain-event.ts';
import type { AcknowledgedContext, DurableContext } from './durable-delivery.ts';
import type { LocalContext } from './local-delivery.ts';
import { checkNamespace, NamePattern } from './name-pattern.ts';
import type { DomainEventSettings } from './options.ts';

/** Both ways at once would bring every event twice. */
export type SubscriptionDelivery = Exclude<DeliveryMode, 'broadcast'>;

export interface SubscribeOptions<Delivery extends SubscriptionDelivery = SubscriptionDelivery> {
  /** Default: fire_and_forget, which hears all that this process publishes. */
  readonly delivery?: Delivery | undefined;
  /** Only events of this namespace. */
  readonly namespace?: string | undefined;
  /** Only events of this tenant. */
  readonly tenantId?: string | undefined;
  /** Handlers of different keys under way at once; 32 by default (per partition, if durable). */
  readonly concurrency?: number | undefined;
  /** Default: the configured visibility timeout. 0: no limit. */
  readonly timeoutMs?: number | undefined;
  /**
   * Durable ones: processes with the same group share the events. Default: made of namespace and
   * pattern.
   */
  readonly group?: string | undefined;
  /** Durable ones. Default: 3 attempts, as configured. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Durable ones: where a new group begins. Default: with the oldest event there is. */
  readonly from?: 'start' | 'end' | undefined;
}

export interface DeliveryContexts {
  readonly fire_and_forget: LocalContext;
  readonly durable: DurableContext;
  readonly acknowledged: AcknowledgedContext;
}

export type SubscriptionHandler<Event, Delivery extends SubscriptionDelivery> = (
  event: Event,
  context: DeliveryContexts[Delivery],
) => unknown;

export interface DomainSubscription {
  readonly pattern: string;
  readonly delivery: SubscriptionDelivery;
  /** Of durable ones. */
  readonly group: string | null;
  /** Resolves when a group that was added to a started process is known to the store. */
  readonly ready: Promise<void>;
  /** Takes nothing more; resolves when the handlers under way have ended. */
  stop(): Promise<void>;
}

export interface CheckedSubscription {
  readonly pattern: NamePattern;
  readonly delivery: SubscriptionDelivery;
  readonly namespace: string | null;
  readonly tenantId: string | null;
  readonly group: string;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly retry: Partial<RetryPolicy>;
  readonly attemptsMax: number;
  readonly from: 'start' | 'end';
  handle(event: DomainEvent, context: DeliveryContexts[SubscriptionDelivery]): unknown;
}

const logOnly = ['group', 'retry', 'from'] as const;
const deliveries: readonly string[] = ['fire_and_forget', 'durable', 'acknowledged'];

/** @throws MillraceError DEFINITION_INVALID naming the option. */
export function checkSubscription(
  text: string,
  options: SubscribeOptions,
  handler: unknown,
  settings: DomainEventSettings,
): CheckedSubscription {
  const pattern = new NamePattern(text);
  const refuse = (problem: string, fix?: string): never => {
    throw new MillraceError('DEFINITION_INVALID', `Subscription to ${text}: ${problem}.`, { fix });
  };
  if (typeof handler !== 'function') refuse('there is no handler');
  const delivery = options.delivery ?? 'fire_and_forget';
  if (!deliveries.includes(delivery)) {
    refuse(`delivery is '${delivery}'; it can be ${deliveries.join(', ')}`);
  }
  const local = delivery === 'fire_and_forget';
  const stray = local ? logOnly.find((name) => options[name] !== undefined) : undefined;
  if (stray) refuse(`${stray} is for durable and acknowledged ones`, 'Leave it out.');
  const { tenantId = null, concurrency = 32, timeoutMs = settings.visibilityTimeoutMs } = options;
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
    refuse(`concurrency is ${concurrency}, not a whole number from 1 to 10000`);
  }
  if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > 86_400_000) {
    refuse(`timeoutMs is ${timeoutMs}, not a whole number from 0 to 86400000`);
  }
  const namespace = options.namespace === undefined ? null : checkNamespace(options.namespace);
  const group = options.group ?? groupName(pattern, namespace);
  if (!local && tenantId !== null && options.group === undefined) {
    refuse('one for a single tenant needs a group of its own', "Give a name: group: '…'.");
  }
  if (!local && group.length > 63) refuse('its group name would be too long', 'Give a group.');
  const retry = { maxRetries: settings.deliveryAttemptsMax - 1, ...options.retry };
  const attemptsMax = 1 + parseRetryPolicy(retry, `${text}: retry`).maxRetries;
  return {
    pattern,
    delivery,
    namespace,
    tenantId,
    group,
    concurrency,
    timeoutMs,
    retry,
    attemptsMax,
    from: options.from ?? 'start',
    handle: handler as CheckedSubscription['handle'],
  };
}

/** The same at every start: a group is known by its name. No event has capitals in its name. */
function groupName(pattern: NamePattern, namespace: string | null): string {
  const stream = namespace === null ? 'domain_events' : `${namespace}_domain_events`;
  const name = `${stream}.${pattern.text.replaceAll('*', 'ANY')}`;
  return /^[A-Za-z]/.test(name) ? name : `n${name}`;
}

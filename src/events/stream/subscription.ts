/**
 * What a developer says to subscribe a group to events, and the checked form the engine works with.
 */
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition, StoredEvent } from '../../core/event.ts';
import { createTypeSet, isTypePattern, type TypeSet } from '../../core/event-pattern.ts';
import { parseRetryPolicy, type RetryPolicy } from '../../core/retry.ts';
import { retryPolicies } from '../retry.ts';
import type { BatchContext, HandlerContext } from './context.ts';

/** The events that a list of definitions describes. */
export type EventOf<D> = D extends EventDefinition<infer P> ? StoredEvent<P> : never;

// biome-ignore lint/suspicious/noExplicitAny: definitions of different payloads share one list
export type AnyDefinition = EventDefinition<any>;

interface SubscriptionOptions<D extends readonly AnyDefinition[]> {
  /** Name of the group (worker type): workers with the same name share its partitions. */
  readonly group: string;
  readonly events: D;
  /** Handlers of different keys under way at once, per partition; 32 by default. */
  readonly concurrency?: number;
  /** Events read and settled together at most; 1,000 by default. */
  readonly batchMax?: number;
  /** Waits this long for a fuller batch; 0 by default. For projections, not for latency. */
  readonly lingerMs?: number;
  /** A handler that takes longer has failed; 30,000 by default, 0 for no limit. */
  readonly timeoutMs?: number;
  /** Overrides the policy of the event type, for this group. */
  readonly retry?: Partial<RetryPolicy>;
  /** Where a new group begins: every event there is, or only those to come. */
  readonly from?: 'start' | 'end';
  /** Handle events of a newer version than the definition knows, as they are. */
  readonly allowFutureVersions?: boolean;
}

/** Called once per event; events of one key in order, different keys at once. */
export interface SingleSubscription<D extends readonly AnyDefinition[]>
  extends SubscriptionOptions<D> {
  handle(event: EventOf<D[number]>, context: HandlerContext): void | Promise<void>;
  readonly handleBatch?: undefined;
}

/** Called with many events of one tenant, in log order. */
export interface BatchSubscription<D extends readonly AnyDefinition[]>
  extends SubscriptionOptions<D> {
  handleBatch(events: readonly EventOf<D[number]>[], context: BatchContext): void | Promise<void>;
  readonly handle?: undefined;
}

export type Subscription<D extends readonly AnyDefinition[] = readonly AnyDefinition[]> =
  | SingleSubscription<D>
  | BatchSubscription<D>;

/** A subscription with every default filled in. */
export interface Group {
  readonly name: string;
  readonly definitions: ReadonlyMap<string, AnyDefinition>;
  readonly types: readonly string[];
  readonly typeSet: TypeSet;
  readonly concurrency: number;
  readonly batchMax: number;
  readonly lingerMs: number;
  readonly timeoutMs: number;
  readonly from: 'start' | 'end';
  readonly allowFutureVersions: boolean;
  readonly handle: ((event: StoredEvent, context: HandlerContext) => unknown) | null;
  readonly handleBatch: ((events: readonly StoredEvent[], context: BatchContext) => unknown) | null;
  policy(eventType: string): RetryPolicy;
}

const limits = {
  concurrency: [1, 10_000],
  batchMax: [1, 10_000],
  lingerMs: [0, 60_000],
  timeoutMs: [0, 86_400_000],
} as const;

const defaults = { concurrency: 32, batchMax: 1000, lingerMs: 0, timeoutMs: 30_000 } as const;

/** Checks a subscription. DEFINITION_INVALID names the option that is wrong. */
export function createGroup(subscription: Subscription): Group {
  const { group, events } = subscription;
  const refuse = (what: string): never => {
    throw new MillraceError('DEFINITION_INVALID', `Subscription '${group}': ${what}.`);
  };
  if (!/^[A-Za-z][\w.-]{0,62}$/.test(group)) refuse('the group needs a name of letters and digits');
  if (events.length === 0) refuse('it names no events');
  if (!subscription.handle === !subscription.handleBatch) {
    refuse('give either handle or handleBatch');
  }
  const numbers = { ...defaults };
  for (const name of Object.keys(limits) as (keyof typeof limits)[]) {
    const value = subscription[name] ?? defaults[name];
    const [least, most] = limits[name];
    if (!Number.isInteger(value) || value < least || value > most) {
      refuse(`${name} is ${value}, not a whole number from ${least} to ${most}`);
    }
    Object.assign(numbers, { [name]: value });
  }
  const definitions = new Map(events.map((definition) => [definition.type, definition]));
  const policies = new Map(
    events.map((definition) => [
      definition.type,
      parseRetryPolicy(
        subscription.retry ?? {},
        `${group}.retry`,
        definition.retry ?? retryPolicies.for(definition.type),
      ),
    ]),
  );
  return {
    name: group,
    definitions,
    types: [...definitions.keys()],
    typeSet: createTypeSet([...definitions.keys()]),
    ...numbers,
    from: subscription.from ?? 'start',
    allowFutureVersions: subscription.allowFutureVersions ?? false,
    handle: (subscription.handle?.bind(subscription) ?? null) as Group['handle'],
    handleBatch: (subscription.handleBatch?.bind(subscription) ?? null) as Group['handleBatch'],
    policy: policyLookup(policies),
  };
}

/** By name, else by the first pattern that fits. */
function policyLookup(policies: ReadonlyMap<string, RetryPolicy>): Group['policy'] {
  const patterns = [...policies]
    .filter(([type]) => isTypePattern(type))
    .map(([type, policy]) => ({ types: createTypeSet([type]), policy }));
  return (eventType) =>
    policies.get(eventType) ??
    patterns.find(({ types }) => types.has(eventType))?.policy ??
    retryPolicies.for(eventType);
}

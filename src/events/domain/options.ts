/**
 * The settings of domain events, in the shape of the `[events]` tables of the configuration files,
 * checked once and with every default filled in.
 */
import { MillraceError } from '../../core/errors.ts';
import {
  type DeliveryMode,
  deliveryDefault,
  deliveryModes,
} from '../../core/workflow/domain-event.ts';

const overflowStrategies = ['drop_oldest', 'drop_newest', 'block'] as const;
export type OverflowStrategy = (typeof overflowStrategies)[number];

export interface DomainEventsOptions {
  /** False: subscriptions stay silent, and what is published is dropped and counted. */
  readonly enabled?: boolean | undefined;
  /** Of declarations that name none; durable by default. */
  readonly defaultDelivery?: DeliveryMode | undefined;
  readonly fireAndForget?:
    | {
        /** Events that wait for one subscription at most; 1,000 by default. */
        readonly bufferSize?: number | undefined;
        /** What a full buffer does: forget one event, or make the publisher wait. */
        readonly overflowStrategy?: OverflowStrategy | undefined;
      }
    | undefined;
  readonly durable?:
    | {
        /** Time a handler has before its event is delivered again; 30,000 by default. */
        readonly visibilityTimeoutMs?: number | undefined;
        /** The first one included; 3 by default. */
        readonly maxDeliveryAttempts?: number | undefined;
        /** False: what no attempt could handle is dropped and counted. */
        readonly dlqEnabled?: boolean | undefined;
        /** Dead letters are removed after this time; 7 days by default. */
        readonly dlqRetentionMs?: number | undefined;
      }
    | undefined;
  readonly metrics?:
    | {
        /** False: durations of handlers are not measured. */
        readonly enabled?: boolean | undefined;
        /** Upper bounds in seconds, ascending; 0.001 to 1 by default. */
        readonly histogramBuckets?: readonly number[] | undefined;
      }
    | undefined;
}

export interface DomainEventSettings {
  readonly enabled: boolean;
  readonly defaultDelivery: DeliveryMode;
  readonly bufferSize: number;
  readonly overflow: OverflowStrategy;
  readonly visibilityTimeoutMs: number;
  readonly deliveryAttemptsMax: number;
  readonly dlqEnabled: boolean;
  readonly dlqRetentionMs: number;
  readonly measures: boolean;
  readonly buckets: readonly number[];
}

const defaultBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0] as const;
const dayMs = 86_400_000;

/** @throws MillraceError CONFIG_INVALID naming the option. */
export function readSettings(options: DomainEventsOptions = {}): DomainEventSettings {
  const { fireAndForget = {}, durable = {}, metrics = {} } = options;
  return {
    enabled: options.enabled ?? true,
    defaultDelivery: oneOf(deliveryModes, options.defaultDelivery ?? deliveryDefault, 'delivery'),
    bufferSize: whole(fireAndForget.bufferSize ?? 1_000, 1, 10_000_000, 'bufferSize'),
    overflow: oneOf(
      overflowStrategies,
      fireAndForget.overflowStrategy ?? 'drop_oldest',
      'overflowStrategy',
    ),
    visibilityTimeoutMs: whole(
      durable.visibilityTimeoutMs ?? 30_000,
      1,
      dayMs,
      'visibilityTimeoutMs',
    ),
    deliveryAttemptsMax: whole(durable.maxDeliveryAttempts ?? 3, 1, 1_001, 'maxDeliveryAttempts'),
    dlqEnabled: durable.dlqEnabled ?? true,
    dlqRetentionMs: between(
      durable.dlqRetentionMs ?? 7 * dayMs,
      0,
      36_500 * dayMs,
      'dlqRetentionMs',
    ),
    measures: metrics.enabled ?? true,
    buckets: ascending(metrics.histogramBuckets ?? defaultBuckets),
  };
}

function oneOf<const T extends string>(allowed: readonly T[], value: T, name: string): T {
  if (allowed.includes(value)) return value;
  throw invalid(name, `is '${value}'; it can be ${allowed.join(', ')}`);
}

function between(value: number, least: number, most: number, name: string): number {
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw invalid(name, `is ${value}, not a number from ${least} to ${most}`);
}

function whole(value: number, least: number, most: number, name: string): number {
  if (Number.isInteger(between(value, least, most, name))) return value;
  throw invalid(name, `is ${value}, not a whole number`);
}

function ascending(buckets: readonly number[]): readonly number[] {
  const good =
    buckets.length > 0 &&
    buckets.every((bound, i) => bound > (i === 0 ? 0 : (buckets[i - 1] as number)));
  if (good) return Object.freeze([...buckets]);
  throw invalid('histogramBuckets', `are ${buckets.join(', ')}: not positive and ascending`);
}

function invalid(name: string, problem: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `domainEvents: ${name} ${problem}.`, {
    details: { path: `domainEvents.${name}` },
  });
}

/**
 * When a failed event is tried again (P9-14): exponential backoff with a cap and jitter. Pure
 * rules; the runtime counts attempts and the store keeps the time of the next one.
 */
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';

export interface RetryPolicy {
  /** Tries after the first one; 0 sends a failed event to the dead letters at once. */
  readonly maxRetries: number;
  readonly initialDelayMs: number;
  /** Each delay is this many times the one before. */
  readonly multiplier: number;
  /** Cap of the delay, before jitter: at the cap too, retries must not all come at one moment. */
  readonly maxDelayMs: number;
  /** 0 to 1: up to this share of the delay is added at random. */
  readonly jitter: number;
}

export const defaultRetryPolicy: RetryPolicy = Object.freeze({
  maxRetries: 3,
  initialDelayMs: 1000,
  multiplier: 2,
  maxDelayMs: 300_000,
  jitter: 0.2,
});

const dayMs = 86_400_000;
/** Member → lowest and highest value allowed. */
const ranges: Readonly<Record<keyof RetryPolicy, readonly [min: number, max: number]>> = {
  maxRetries: [0, 1000],
  initialDelayMs: [0, 30 * dayMs],
  multiplier: [1, 100],
  maxDelayMs: [0, 30 * dayMs],
  jitter: [0, 1],
};
const members = Object.keys(ranges) as readonly (keyof RetryPolicy)[];

/**
 * A complete policy from what a caller or a configuration file gives; members left out are
 * `fallback`'s.
 * @param path how messages call the value, such as `ExceptionIngested.retry`.
 * @throws MillraceError CONFIG_INVALID naming the member.
 */
export function parseRetryPolicy(
  value: unknown,
  path = 'retry',
  fallback: RetryPolicy = defaultRetryPolicy,
): RetryPolicy {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(path, `is ${describeKind(value)}, not an object`);
  }
  const stranger = Object.keys(value).find((name) => !Object.hasOwn(ranges, name));
  if (stranger !== undefined) {
    throw invalid(`${path}.${stranger}`, 'is not part of a policy', `Use ${members.join(', ')}.`);
  }
  const given = value as Partial<Readonly<Record<keyof RetryPolicy, unknown>>>;
  const read = (name: keyof RetryPolicy) =>
    readMember(given[name] === undefined ? fallback[name] : given[name], name, path);
  const policy: RetryPolicy = Object.freeze({
    maxRetries: read('maxRetries'),
    initialDelayMs: read('initialDelayMs'),
    multiplier: read('multiplier'),
    maxDelayMs: read('maxDelayMs'),
    jitter: read('jitter'),
  });
  if (policy.initialDelayMs <= policy.maxDelayMs) return policy;
  throw invalid(
    `${path}.initialDelayMs`,
    `is ${policy.initialDelayMs}, above maxDelayMs ${policy.maxDelayMs}`,
    'Lower initialDelayMs or raise maxDelayMs; the one left out has its default.',
  );
}

function readMember(value: unknown, name: keyof RetryPolicy, path: string): number {
  const [min, max] = ranges[name];
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw invalid(`${path}.${name}`, `is ${describeKind(value)}, not a number`);
  }
  if (value < min || value > max) {
    throw invalid(`${path}.${name}`, `is ${value}, not from ${min} to ${max}`);
  }
  if (name === 'maxRetries' && !Number.isInteger(value)) {
    throw invalid(`${path}.${name}`, `is ${value}, not a whole number`);
  }
  return value;
}

function invalid(path: string, problem: string, fix?: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${path} ${problem}.`, { fix, details: { path } });
}

/**
 * How long to wait after a failure, in whole milliseconds.
 * @param attempt 1 after the first failure.
 * @param random from 0 up to 1.
 */
export function retryDelayMs(
  policy: RetryPolicy,
  attempt: number,
  random: number = Math.random(),
): number {
  const { initialDelayMs, multiplier, maxDelayMs, jitter } = policy;
  // 0 × Infinity would be NaN: a policy without delay stays without one.
  if (initialDelayMs === 0) return 0;
  const delayMs = Math.min(initialDelayMs * multiplier ** (attempt - 1), maxDelayMs);
  return Math.round(delayMs * (1 + jitter * random));
}

/** Policies by event type; types without one of their own get the default. */
export interface RetryPolicies {
  for(eventType: string): RetryPolicy;
}

/**
 * @param byType event type → members that differ from the default.
 * @throws MillraceError CONFIG_INVALID
 */
export function createRetryPolicies(
  byType: Readonly<Record<string, Partial<RetryPolicy>>> = {},
  fallback: Partial<RetryPolicy> = defaultRetryPolicy,
): RetryPolicies {
  const base = parseRetryPolicy(fallback, 'retry.default');
  const policies = new Map(
    Object.entries(byType).map(([eventType, policy]) => [
      eventType,
      parseRetryPolicy(policy, `retry.${eventType}`, base),
    ]),
  );
  return { for: (eventType) => policies.get(eventType) ?? base };
}

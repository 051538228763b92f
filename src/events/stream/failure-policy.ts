/**
 * What a failed handler call leads to: a retry after a delay, or the dead-letter queue, each with
 * the control event that says so (P9-14, P9-15). Pure but for the clock and the jitter.
 */
import { MillraceError } from '../../core/errors.ts';
import { type PreparedEvent, prepareEvent, type StoredEvent } from '../../core/event.ts';
import { type RetryPolicy, retryDelayMs } from '../../core/retry.ts';
import type { FailureRecord } from '../../ports/failures.ts';
import type { RoutedEvent } from '../../ports/store.ts';
import { DeadLettered, isControlEvent, RetryScheduled } from '../control.ts';

export interface FailedCall {
  readonly event: StoredEvent;
  readonly group: string;
  /** Handler calls so far, this one included. */
  readonly attempts: number;
  readonly error: unknown;
  readonly policy: RetryPolicy;
}

export interface FailureOutcome {
  readonly failure: FailureRecord;
  readonly followUps: readonly RoutedEvent[];
}

const detailMax = 4_000;
const reasonMax = 1_000;

/** Waiting behind a failed event of the same key: recorded by reference, never attempted. */
export function park(event: StoredEvent): FailureRecord {
  return {
    event,
    status: 'parked',
    attempts: 0,
    delayMs: null,
    reason: null,
    errorCode: null,
    fingerprint: null,
    detail: null,
  };
}

export function decideFailure(call: FailedCall): FailureOutcome {
  const { event, group, attempts, error, policy } = call;
  const { reason, errorCode, detail, final } = describe(error);
  const dead = final || attempts > policy.maxRetries;
  const delayMs = dead ? null : retryDelayMs(policy, attempts);
  const fingerprint = fingerprintOf(group, event.eventType, errorCode, reason);
  const failure: FailureRecord = {
    event,
    status: dead ? 'dead' : 'retrying',
    attempts,
    delayMs,
    reason,
    errorCode,
    fingerprint,
    detail,
  };
  // A failing subscriber of control events must not feed itself.
  if (isControlEvent(event.eventType)) return { failure, followUps: [] };
  const about = { eventId: event.eventId, eventType: event.eventType, group, reason, errorCode };
  const control =
    delayMs === null
      ? prepareEvent(DeadLettered, {
          ...identity(event),
          payload: { ...about, retryCount: attempts - 1, fingerprint },
        })
      : prepareEvent(RetryScheduled, {
          ...identity(event),
          payload: {
            ...about,
            attempt: attempts,
            delayMs,
            nextAttemptAt: new Date(Date.now() + delayMs).toISOString(),
          },
        });
  return { failure, followUps: [{ ...(control as PreparedEvent), partition: event.partition }] };
}

function identity(event: StoredEvent) {
  const { tenantId, key, correlationId, eventId } = event;
  return { tenantId, key, correlationId, causationId: eventId };
}

function describe(error: unknown) {
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code;
    return {
      reason: withoutNul(error.message || error.name, reasonMax),
      errorCode: typeof code === 'string' ? withoutNul(code, 100) : error.name,
      detail: withoutNul(error.stack ?? error.message, detailMax),
      final:
        error instanceof MillraceError &&
        (error.code === 'PERMANENT_FAILURE' || error.code === 'EVENT_VERSION_UNSUPPORTED'),
    };
  }
  const reason = withoutNul(text(error), reasonMax);
  return { reason, errorCode: null, detail: null, final: false };
}

/** Anything can be thrown, and some of it cannot be printed. */
function text(thrown: unknown): string {
  try {
    return typeof thrown === 'string' ? thrown : (JSON.stringify(thrown) ?? String(thrown));
  } catch {
    return 'a value that cannot be printed was thrown';
  }
}

const withoutNul = (value: string, max: number) =>
  value.replaceAll('\u0000', '').toWellFormed().slice(0, max).toWellFormed();

/** The same for failures of one kind: what differs from case to case is taken out of the reason. */
export function fingerprintOf(
  group: string,
  eventType: string,
  errorCode: string | null,
  reason: string,
): string {
  const kind = reason
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '<id>')
    .replace(/'[^']*'|"[^"]*"/g, '<text>')
    .replace(/\d+(?:\.\d+)?/g, '<n>')
    .slice(0, 160);
  return `${group}/${eventType}/${errorCode ?? '-'}: ${kind}`;
}

/**
 * What a failed handler call leads to: a retry after a delay, or the dead-letter queue, each with
 * the control event that says so (P9-14, P9-15). Pure but for the clock and the jitter.
 */
import { describeThrown, kindOf } from '../../core/error-record.ts';
import { isMillraceError } from '../../core/errors.ts';
import { type PreparedEvent, prepareEvent, type StoredEvent } from '../../core/event.ts';
import type { Redactor } from '../../core/redaction.ts';
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
  /** What a handler throws may quote what it was working on, or a connection string. */
  readonly redactor?: Redactor | undefined;
}

export interface FailureOutcome {
  readonly failure: FailureRecord;
  readonly followUps: readonly RoutedEvent[];
}

const textLimits = { messageMax: 1_000, stackMax: 4_000 } as const;

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
  const { reason, errorCode, detail, final } = describe(error, event.tenantId, call.redactor);
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

function describe(error: unknown, tenantId: string, redactor: Redactor | undefined) {
  const { code, message, stack } = describeThrown(error, textLimits);
  const masked = (text: string) => redactor?.text(tenantId, text) ?? text;
  const final =
    isMillraceError(error) &&
    (error.code === 'PERMANENT_FAILURE' || error.code === 'EVENT_VERSION_UNSUPPORTED');
  const detail = stack === null ? null : masked(stack);
  return { reason: masked(message), errorCode: code, detail, final };
}

/** The same for failures of one kind: what differs from case to case is taken out of the reason. */
export function fingerprintOf(
  group: string,
  eventType: string,
  errorCode: string | null,
  reason: string,
): string {
  return `${group}/${eventType}/${errorCode ?? '-'}: ${kindOf(reason)}`;
}

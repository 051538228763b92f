/**
 * Events that the engine publishes about its own work (P9-3): a retry was scheduled, an event was
 * dead-lettered, a producer was told to slow down. Trusted, so their schemas only describe.
 */
import { defineEvent } from '../core/event.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';

function trusted<T>(): StandardSchemaV1<unknown, T> {
  return {
    '~standard': { version: 1, vendor: 'millrace', validate: (value) => ({ value: value as T }) },
  };
}

export interface AboutFailure {
  readonly eventId: string;
  readonly eventType: string;
  readonly group: string;
  readonly reason: string;
  readonly errorCode: string | null;
}

export const RetryScheduled = defineEvent('RetryScheduled', {
  schema: trusted<
    AboutFailure & {
      /** Handler calls so far. */
      readonly attempt: number;
      readonly delayMs: number;
      readonly nextAttemptAt: string;
    }
  >(),
});

export const DeadLettered = defineEvent('DeadLettered', {
  schema: trusted<AboutFailure & { readonly retryCount: number; readonly fingerprint: string }>(),
});

export const BackpressureDetected = defineEvent('BackpressureDetected', {
  schema: trusted<{
    readonly where: string;
    readonly waiting: number;
    readonly limit: number;
  }>(),
});

export const controlEvents = [RetryScheduled, DeadLettered, BackpressureDetected] as const;

const types = new Set<string>(controlEvents.map(({ type }) => type));

export function isControlEvent(eventType: string): boolean {
  return types.has(eventType);
}

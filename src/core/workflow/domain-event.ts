/**
 * Domain events (the second tier): what steps and workflows declare, and what subscribers get. The
 * first tier, system events, is telemetry and has no face here.
 */
import type { DeepReadonly, JsonValue } from '../json.ts';

export const deliveryModes = ['fire_and_forget', 'durable', 'acknowledged', 'broadcast'] as const;
/**
 * fire_and_forget: to subscribers of the process that publishes, best effort. durable: through the
 * log, at least once. acknowledged: through the log, effects and acknowledgement in one commit.
 * broadcast: both ways.
 */
export type DeliveryMode = (typeof deliveryModes)[number];

/** Of events that say nothing, unless it is configured otherwise: the safer one. */
export const deliveryDefault: DeliveryMode = 'durable';

export const publishConditions = [
  'success',
  'failure',
  'retryable_failure',
  'permanent_failure',
  'always',
] as const;
export type PublishCondition = (typeof publishConditions)[number];

/** A domain event as a step or a workflow declares it (`publishes_events`). */
export interface DomainEventDeclaration {
  /** Segments of `[a-z0-9_]`, at least two, joined by dots. */
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON Schema of the payload. */
  readonly schema?: Readonly<Record<string, unknown>> | undefined;
  /** Left out: what the process that publishes has configured, `durable` by default. */
  readonly delivery?: DeliveryMode | undefined;
  readonly condition: PublishCondition;
  /** Of a custom publisher: the event goes out by itself when the condition holds. */
  readonly publisher?: string | null | undefined;
}

/** Names are those of the requirement. The first three are null outside of workflows. */
export interface DomainEventMetadata {
  readonly task_uuid: string | null;
  readonly step_uuid: string | null;
  readonly step_name: string | null;
  readonly namespace: string;
  readonly correlation_id: string;
  /** ISO 8601, UTC, milliseconds. */
  readonly fired_at: string;
  /** The worker, or who published it. */
  readonly fired_by: string;
  /** What a custom publisher added. */
  readonly [more: string]: JsonValue;
}

/** As subscribers get it. Deeply frozen. */
export interface DomainEvent<Name extends string = string, Payload = unknown> {
  readonly name: Name;
  readonly payload: DeepReadonly<Payload>;
  readonly metadata: DomainEventMetadata;
  /** UUIDv7; the same at every delivery. */
  readonly event_id: string;
  /** Of the workflow that declares it. */
  readonly event_version: string;
  readonly tenant_id: string;
  /** W3C trace context. */
  readonly traceparent: string | null;
}

/** How a step ended, as conditions see it. */
export interface StepOutcome {
  readonly success: boolean;
  /** Of a failure: whether the step is tried again. */
  readonly retryable: boolean;
  /** Of a success. */
  readonly result?: unknown;
  /** Of a failure. */
  readonly error?: { readonly code: string | null; readonly message: string } | undefined;
}

export function conditionHolds(condition: PublishCondition, outcome: StepOutcome): boolean {
  const { success, retryable } = outcome;
  switch (condition) {
    case 'always':
      return true;
    case 'success':
      return success;
    case 'failure':
      return !success;
    case 'retryable_failure':
      return !success && retryable;
    case 'permanent_failure':
      return !success && !retryable;
  }
}

/** A domain event as a step or a workflow declares it (`publishes_events`). */

export const deliveryModes = ['fire_and_forget', 'durable', 'acknowledged', 'broadcast'] as const;
export type DeliveryMode = (typeof deliveryModes)[number];

export const publishConditions = [
  'success',
  'failure',
  'retryable_failure',
  'permanent_failure',
  'always',
] as const;
export type PublishCondition = (typeof publishConditions)[number];

export interface DomainEventDeclaration {
  /** Segments of `[a-z0-9_]`, at least two, joined by dots. */
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON Schema of the payload. */
  readonly schema?: Readonly<Record<string, unknown>> | undefined;
  readonly delivery: DeliveryMode;
  readonly condition: PublishCondition;
}

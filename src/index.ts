/** The public face of Millrace: explicit names only, the same that README and the apps use. */
export { type ConnectOptions, connect } from './connect.ts';
export {
  type ErrorCode,
  errorCodes,
  MillraceError,
  type MillraceErrorOptions,
  permanentFailure,
} from './core/errors.ts';
export {
  defineEvent,
  type Event,
  type EventDefinition,
  type EventInput,
  type StoredEvent,
} from './core/event.ts';
export { eventIdTime, isUuid, newEventId } from './core/ids.ts';
export { type DeepReadonly, freezeJson, type JsonValue, parseJson } from './core/json.ts';
export { partitionFor } from './core/partition.ts';
export type { RetryPolicy } from './core/retry.ts';
export type { StandardSchemaV1 } from './core/schema.ts';
export type { BulkRequest, BulkResult } from './events/bulk.ts';
export {
  BackpressureDetected,
  controlEvents,
  DeadLettered,
  RetryScheduled,
} from './events/control.ts';
export type { DeadLetters } from './events/dead-letters.ts';
export type { Published } from './events/publisher.ts';
export type { BatchContext, FollowUp, HandlerContext } from './events/stream/context.ts';
export type {
  AnyDefinition,
  BatchSubscription,
  EventOf,
  SingleSubscription,
  Subscription,
} from './events/stream/subscription.ts';
export type { StreamStatus } from './events/streams.ts';
export { type Health, Millrace, type MillraceOptions } from './millrace.ts';
export type { DeadLetter, DeadLetterFilter, DeadLetterRef } from './ports/failures.ts';
export type { CausalNode, EventFilter, EventPage } from './ports/history.ts';
export type { Migration, SqlTransaction, Store } from './ports/store.ts';
export { type DeploymentMode, deploymentModes } from './runtime/heads.ts';

/** The public face of Millrace: explicit names only, the same that README and the apps use. */
export {
  type ConnectJobsOptions,
  type ConnectOptions,
  connect,
  connectJobs,
} from './connect.ts';
export type { Backoff, BackoffKind, BackoffOption } from './core/backoff.ts';
export type { JobErrorRecord } from './core/error-record.ts';
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
export type { JobStatus, ParentFailure, UniqueMode } from './core/job.ts';
export type { BatchJob, JobBatchContext, JobContext, JobLog } from './core/job-context.ts';
export {
  type AnyJobDefinition,
  defineJob,
  type JobDefinition,
  type JobInput,
  type JobPayload,
  type JobProgress,
  type JobResult,
} from './core/job-definition.ts';
export type { JobOptions } from './core/job-options.ts';
export { cancelJob, snooze } from './core/job-outcome.ts';
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
export type { BulkJobsRequest, BulkOperation } from './jobs/bulk-operation.ts';
export type { JobMiddleware } from './jobs/executor.ts';
export { Jobs } from './jobs/jobs.ts';
export type { JobEventName, JobEvents } from './jobs/lifecycle.ts';
export type {
  Enqueued,
  EnqueueItem,
  EnqueueOptions,
  JobsHealth,
  JobsOptions,
  WorkOptions,
} from './jobs/options.ts';
export type { Why } from './jobs/reason.ts';
export type { SandboxContext } from './jobs/sandbox/messages.ts';
export type { ScheduleView } from './jobs/schedule/schedules.ts';
export type { CallerTransaction } from './jobs/transaction.ts';
export type { JobView } from './jobs/view.ts';
export { type Health, Millrace, type MillraceOptions } from './millrace.ts';
export type { DeadLetter, DeadLetterFilter, DeadLetterRef } from './ports/failures.ts';
export type { CausalNode, EventFilter, EventPage } from './ports/history.ts';
export type { JobCounts, JobFilter } from './ports/job-queries.ts';
export type { Limits, QueueSettings, QueueState, WorkerInfo } from './ports/jobs.ts';
export type { Migration, SqlTransaction, Store } from './ports/store.ts';
export { type DeploymentMode, deploymentModes } from './runtime/heads.ts';

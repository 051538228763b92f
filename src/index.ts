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
export {
  type CronSchedule,
  CronScheduler,
  type CronSchedulerOptions,
  type ScheduledJob,
} from './faces/cron-scheduler.ts';
export {
  ErrorRecovery,
  type ErrorRecoveryOptions,
  type RecoveryDecision,
  type RecoveryNotice,
  type RecoveryStrategy,
} from './faces/error-recovery.ts';
export { JobError, QueueError, WorkerError } from './faces/errors.ts';
export { Job, type JobRequest, type StatusNote, type StoredJob } from './faces/job.ts';
export { JobProcessor, type Processor } from './faces/job-processor.ts';
export { JobQueue, type JobQueueOptions, type QueueOptions } from './faces/job-queue.ts';
export {
  type OneTimeSchedule,
  OneTimeScheduler,
  type OneTimeSchedulerOptions,
} from './faces/one-time-scheduler.ts';
export type { QueueEvents } from './faces/queue-events.ts';
export {
  RetryManager,
  type RetryManagerOptions,
  type RetryOptions,
} from './faces/retry-manager.ts';
export {
  KubernetesReplicas,
  type KubernetesReplicasOptions,
} from './faces/scaling/kubernetes-replicas.ts';
export {
  LoadBalancer,
  type LoadBalancerEvents,
  type LoadBalancerOptions,
  type TakenWorker,
  type WorkerState,
} from './faces/scaling/load-balancer.ts';
export type { ScalingOptions } from './faces/scaling/scaling-rule.ts';
export { WorkerProcesses, type WorkerProcessesOptions } from './faces/scaling/worker-processes.ts';
export type { WorkerListener, WorkerProvider } from './faces/scaling/worker-provider.ts';
export {
  type ScalerStatus,
  WorkerScaler,
  type WorkerScalerEvents,
  type WorkerScalerOptions,
} from './faces/scaling/worker-scaler.ts';
export type { StoredSchedule } from './faces/schedule-book.ts';
export {
  type CheckResult,
  type HealthCheck,
  type HealthReport,
  WorkerHealthChecker,
  type WorkerHealthCheckerOptions,
} from './faces/worker-health-checker.ts';
export {
  type WorkerEvents,
  WorkerManager,
  type WorkerManagerOptions,
} from './faces/worker-manager.ts';
export {
  type MetricName,
  WorkerMetrics,
  type WorkerMetricsOptions,
  type WorkerMetricValues,
} from './faces/worker-metrics.ts';
export { type StepContext, StepProcessor, Workflow, WorkflowStep } from './faces/workflow.ts';
export {
  WorkflowEngine,
  type WorkflowEngineOptions,
  type WorkflowEvents,
} from './faces/workflow-engine.ts';
export type { RunStatus, StepStatus, WorkflowRun } from './faces/workflow-run.ts';
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

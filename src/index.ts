/** The public face of Millrace: explicit names only, the same that README and the apps use. */
import './core/node-version.ts';

export {
  type AsyncApiOptions,
  type AsyncApiServer,
  asyncApiDocument,
} from './brokers/async-api.ts';
export type { FeedCounts } from './brokers/feed-options.ts';
export type { Inlet, InletOptions, InletStatus } from './brokers/inlet.ts';
export type { BrokerLink, BrokerSummary } from './brokers/link.ts';
export type { LinkStatus, RelayLag } from './brokers/link-status.ts';
export type { BrokerOptions } from './brokers/options.ts';
export {
  BrokerMessageRefused,
  operatorTenant,
  type RefusedMessage,
  refusedGroup,
} from './brokers/refusals.ts';
export type { TenantRule } from './brokers/tenant-rule.ts';
export { type TopicNames, topicNames } from './brokers/topics.ts';
export type {
  BrokerConfig,
  Configuration,
  EventSystemMode,
  EventsConfig,
  JobsConfig,
  LogConfig,
  StoreConfig,
  TelemetryConfig,
  WorkerEventSystemConfig,
  WorkerListenerConfig,
  WorkerPollerConfig,
  WorkflowsConfig,
} from './configuration/configuration.ts';
export {
  defaultConfiguration,
  type LoadedConfiguration,
  type LoadOptions,
  loadConfiguration,
} from './configuration/load.ts';
export {
  type BrokerChoice,
  brokerScheme,
  type ConnectJobsOptions,
  type ConnectOptions,
  connect,
  connectJobs,
  openBroker,
} from './connect.ts';
export { connectOptions, connectUrl } from './connect-options.ts';
export type { Backoff, BackoffKind, BackoffOption } from './core/backoff.ts';
export { attributesOf, type ReceivedEvent, readCloudEvent } from './core/cloud-event.ts';
export { printBatch, printStructured, readBatch, readStructured } from './core/cloud-event-json.ts';
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
export {
  type DefinitionRedaction,
  type PersonalKind,
  personalKinds,
  type RedactionOptions,
  type RedactionRules,
  Redactor,
} from './core/redaction.ts';
export type { RetryPolicy } from './core/retry.ts';
export type { StandardSchemaV1 } from './core/schema.ts';
export type {
  DeliveryMode,
  DomainEvent,
  DomainEventDeclaration,
  DomainEventMetadata,
  PublishCondition,
  StepOutcome,
} from './core/workflow/domain-event.ts';
export type { Transition } from './core/workflow/run-record.ts';
export { type StepState, stepStates, type TaskState, taskStates } from './core/workflow/states.ts';
export type { CompiledStep, CompiledTemplate } from './core/workflow/template.ts';
export type { LocatedProblem as TemplateProblem } from './core/workflow/template-problems.ts';
export {
  type StepTransition,
  stepTransitions,
  type TaskTransition,
  taskTransitions,
} from './core/workflow/transitions.ts';
export type { BulkRequest, BulkResult } from './events/bulk.ts';
export {
  BackpressureDetected,
  controlEvents,
  DeadLettered,
  RetryScheduled,
} from './events/control.ts';
export type { DeadLetters } from './events/dead-letters.ts';
export type { EventPublisher, PublishContext } from './events/domain/custom-publisher.ts';
export type { DomainEvents } from './events/domain/domain-events.ts';
export type {
  AcknowledgedContext,
  DurableContext,
  FollowUpOptions,
} from './events/domain/durable-delivery.ts';
// All of it, so that `declare module 'millrace'` can add to the map of events.
export type * from './events/domain/event-map.ts';
export type {
  DeclarationInput,
  DeclaringWorkflow,
  EventDescription,
} from './events/domain/event-registry.ts';
export type { LocalContext } from './events/domain/local-delivery.ts';
export {
  type DomainEventMetrics,
  type DurationHistogram,
  domainEventMetricNames,
} from './events/domain/metrics.ts';
export type { DomainEventsOptions } from './events/domain/options.ts';
export type {
  DomainEventPage,
  DomainPublishOptions,
  DomainStream,
  PublishedDomainEvent,
} from './events/domain/publishing.ts';
export type {
  DomainSubscription,
  SubscribeOptions,
  SubscriptionDelivery,
  SubscriptionHandler,
} from './events/domain/subscribing.ts';
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
export {
  type EventData,
  type EventPublisherOptions,
  EventPublisherService,
  getPartitionKey,
  type PublishedEvent,
  type SnakeCaseEventData,
} from './faces/event-publisher.ts';
export type {
  EventDrivenSystem,
  HealthStatus,
  SystemHealth,
  SystemStatistics,
} from './faces/event-system/event-driven-system.ts';
export { eventSystemModes } from './faces/event-system/event-driven-system.ts';
export {
  type EventIntegrationStatus,
  type EventReceipt,
  type ResultReceipt,
  type StepExecutionResult,
  type StepReceipt,
  type TemplateRefresh,
  type WorkerAnswer,
  type WorkerAnswers,
  type WorkerCommand,
  type WorkerCommandType,
  type WorkerStatus,
  workerCommandTypes,
} from './faces/event-system/worker-command.ts';
export type {
  LatencySummary,
  WorkerEventStatistics,
} from './faces/event-system/worker-event-statistics.ts';
export {
  WorkerEventSystem,
  type WorkerEventSystemOptions,
  type WorkerEventSystemSettings,
  type WorkerSystemEvents,
} from './faces/event-system/worker-event-system.ts';
export { WorkerFallbackPoller } from './faces/event-system/worker-fallback-poller.ts';
export { WorkerProcessor } from './faces/event-system/worker-processor.ts';
export type {
  MessageReadyEvent,
  StepMessage,
  StepMessageContext,
  StepMessageHandler,
  WorkerHealthUpdate,
  WorkerNotification,
  WorkerQueueEvent,
} from './faces/event-system/worker-queue-event.ts';
export { WorkerQueueListener } from './faces/event-system/worker-queue-listener.ts';
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
export type {
  Broker,
  BrokerCapabilities,
  BrokerHealth,
  BrokerSettings,
  BrokerSubscription,
  BrokerTls,
  BrokerToken,
  Delivery,
  LogPlace,
  OutgoingEvent,
  PartitionLag,
  SubscribeOptions as BrokerSubscribeOptions,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from './ports/broker.ts';
export type { DeadLetter, DeadLetterFilter, DeadLetterRef } from './ports/failures.ts';
export type { CausalNode, EventFilter, EventPage } from './ports/history.ts';
export type { JobCounts, JobFilter } from './ports/job-queries.ts';
export type { Limits, QueueSettings, QueueState, WorkerInfo } from './ports/jobs.ts';
export type { Migration, SqlTransaction, Store } from './ports/store.ts';
export { pseudonyms } from './pseudonyms.ts';
export { type DeploymentMode, deploymentModes } from './runtime/heads.ts';
export { defineTask, TaskBuilder } from './workflows/dag/define-task.ts';
export { type DefineTemplatesOptions, defineTemplates } from './workflows/dag/define-templates.ts';
export {
  type DagDefinition,
  type TemplateWorkflowOptions,
  workflowFromTemplate,
} from './workflows/dag/definition.ts';
export { remoteStepRunner } from './workflows/dag/remote.ts';
export type { TaskOptions, TaskStep, TaskStepOptions } from './workflows/dag/task-types.ts';
export {
  type AnyWorkflowDefinition,
  defaultLifecycle,
  type IdentityStrategy,
  type Lifecycle,
  type WorkflowDefinition,
} from './workflows/definition.ts';
export type {
  ApprovalOptions,
  ChildOptions,
  Compensation,
  Decision,
  EventWaitOptions,
  FunctionStepTools,
  InvokeOptions,
  MapOptions,
  RunOptions,
  SignalWaitOptions,
  StepFunction,
  StepRetry,
  WaitOptions,
  WorkflowContext,
} from './workflows/functions/context.ts';
export {
  type DefineWorkflowOptions,
  defineWorkflow,
  type FunctionWorkflow,
} from './workflows/functions/define-workflow.ts';
export type { Duration } from './workflows/functions/duration.ts';
export {
  describeHistory,
  type RecordedHistory,
  type ReplayReport,
  recordHistory,
  replayHistory,
} from './workflows/functions/replay.ts';
export type {
  AnalyticsRequest,
  Bottlenecks,
  Performance,
  StepPerformance,
} from './workflows/operator/analytics.ts';
export type {
  BulkRuns,
  BulkRunsRequest,
  BulkRunsState,
} from './workflows/operator/bulk-runs.ts';
export type {
  DeadLetterDesk,
  InvestigationStats,
  InvestigationView,
  QueuedInvestigation,
} from './workflows/operator/dead-letters.ts';
export type { Staleness } from './workflows/operator/lifecycle.ts';
export type { WorkflowOperator } from './workflows/operator/operator.ts';
export type { RunReason, RunReasonKind, RunWhy } from './workflows/operator/reason.ts';
export type { RunView, StepView } from './workflows/operator/run-view.ts';
export type { StaleRun, SweepReport } from './workflows/operator/staleness.ts';
export type { RunVerb, VerbAnswer, VerbRequest } from './workflows/operator/verbs.ts';
export type {
  ResultOptions,
  RunDetails,
  RunHandle,
  StartOptions,
  VerbOptions,
  WorkflowsHealth,
  WorkflowsOptions,
  WorkflowWorkOptions,
} from './workflows/options.ts';
export {
  fromInput,
  fromStep,
  type HandlerArguments,
  type Source,
} from './workflows/steps/arguments.ts';
export {
  type ApiClient,
  type ApiRequest,
  type ApiResponse,
  apiClient,
  defineApiHandler,
} from './workflows/steps/define-api-handler.ts';
export {
  type Batch,
  defineBatchAnalyzer,
  defineBatchWorker,
  defineDecisionHandler,
} from './workflows/steps/define-branching.ts';
export { defineHandler, type HandlerDefinition } from './workflows/steps/define-handler.ts';
export type {
  HandlerResolver,
  HandlerResolvers,
  Handlers,
} from './workflows/steps/handler-registry.ts';
export {
  type BatchOutcome,
  type BatchPlan,
  createSteps,
  type DecisionOutcome,
  noBranches,
} from './workflows/steps/outcomes.ts';
export type {
  Checkpoint,
  StepContext as StepHandlerContext,
} from './workflows/steps/step-context.ts';
export { type StepErrorOptions, stepError } from './workflows/steps/step-failure.ts';
export {
  failure,
  type StepAnswer,
  type StepFailure,
  StepHandler,
  type StepSuccess,
  success,
} from './workflows/steps/step-handler.ts';
export {
  type LoadTemplateOptions,
  loadTemplates,
  type ParseTemplateOptions,
  parseTemplate,
} from './workflows/template/load.ts';
export { Workflows } from './workflows/workflows.ts';

/**
 * Every event type of the exception pipeline (P9-3). The key of each is its exceptionId, so all
 * events of one exception stay in order. Payloads are strict: an unknown member is refused where it
 * is published. RetryScheduled, DeadLettered and BackpressureDetected belong to the engine.
 *
 * The usual way of one exception:
 *   ExceptionIngested → ExceptionNormalized → TriageRequested, TriageCompleted
 *   → PolicyEvaluationRequested, PolicyEvaluationCompleted, PlaybookMatched
 *   → PlaybookStarted, (StepExecutionRequested, PlaybookStepCompleted) per step
 *   → PlaybookCompleted, ExceptionResolved → FeedbackCaptured
 * A tool step adds ToolExecutionRequested and ToolExecutionCompleted; a supervised one an approval.
 */
import { defineEvent } from 'millrace';
import { z } from 'zod';
import {
  actionabilities,
  actorTypes,
  agentFields,
  approvalDecisions,
  identifier,
  jsonObject,
  policyDecisions,
  runSchema,
  severitySchema,
  snapshotSchema,
  statuses,
} from './vocabulary.ts';

const text = z.string();
const exceptionId = identifier;
const key = (payload: { readonly exceptionId: string }): string => payload.exceptionId;

/** What a source knows; everything but the id and the raw payload may be left to intake. */
const ingestedFields = {
  exceptionId,
  /** When given, it must be the tenant of the event: a payload of another tenant is refused. */
  tenantId: text.optional(),
  source: text.optional(),
  domain: text.optional(),
  exceptionType: text.optional(),
  severity: severitySchema.optional(),
  occurredAt: text.optional(),
  ingestionMethod: text.optional(),
  rawPayload: jsonObject,
};

// -- inbound ---------------------------------------------------------------------------------

export const ExceptionIngested = defineEvent('ExceptionIngested', {
  description: 'An exception came in from a source system, unread so far.',
  schema: z.strictObject(ingestedFields),
  key,
  retry: { maxRetries: 5, initialDelayMs: 2_000, multiplier: 2, maxDelayMs: 600_000, jitter: 0.2 },
});

export const ManualExceptionCreated = defineEvent('ManualExceptionCreated', {
  description: 'A person entered an exception by hand.',
  schema: z.strictObject({ ...ingestedFields, createdBy: text }),
  key,
});

export const ExceptionNormalized = defineEvent('ExceptionNormalized', {
  description: 'Intake brought the exception into the common form.',
  schema: z.strictObject({
    exceptionId,
    exception: snapshotSchema,
    /** Severity and type as reported, null when the source gave none. */
    reportedSeverity: severitySchema.nullable(),
    reportedType: text.nullable(),
    /** A deadline that came with the exception; it only ever shortens the pack's. */
    reportedDeadline: text.nullable(),
    /** Error text or code, up to 200 characters, for inferring the type. */
    hint: text.nullable(),
    summary: text.nullable(),
    pipelineId: text,
    normalizedAt: text,
    ...agentFields,
  }),
  key,
});

// -- agents ----------------------------------------------------------------------------------

export const TriageRequested = defineEvent('TriageRequested', {
  description: 'Triage began.',
  schema: z.strictObject({ exceptionId, exceptionType: text.nullable() }),
  key,
});

export const TriageCompleted = defineEvent('TriageCompleted', {
  description: 'Type, severity and deadline are known.',
  schema: z.strictObject({ exceptionId, exception: snapshotSchema, ...agentFields }),
  key,
});

export const PolicyEvaluationRequested = defineEvent('PolicyEvaluationRequested', {
  description: 'Policy evaluation began.',
  schema: z.strictObject({ exceptionId, exceptionType: text, severity: severitySchema }),
  key,
});

export const PolicyEvaluationCompleted = defineEvent('PolicyEvaluationCompleted', {
  description: 'Guardrails and approvals were weighed.',
  schema: z.strictObject({
    exceptionId,
    actionability: z.enum(actionabilities),
    approvalReasons: z.array(text).readonly(),
    violations: z.array(text).readonly(),
    playbookId: text.nullable(),
    ...agentFields,
    decision: z.enum(policyDecisions),
  }),
  key,
});

export const PlaybookMatched = defineEvent('PlaybookMatched', {
  description: 'A playbook fits. AUTOMATIC runs at once, SUPERVISED after an approval.',
  schema: z.strictObject({
    exceptionId,
    exception: snapshotSchema,
    playbookId: identifier,
    playbookName: text,
    priority: z.number(),
    mode: z.enum(['AUTOMATIC', 'SUPERVISED']),
  }),
  key,
});

export const PlaybookRecalculationRequested = defineEvent('PlaybookRecalculationRequested', {
  description: 'Someone asks policy to choose the playbook again.',
  schema: z.strictObject({
    exceptionId,
    exception: snapshotSchema,
    confidence: z.number().min(0).max(1),
    requestedBy: text,
  }),
  key,
});

// -- approvals -------------------------------------------------------------------------------

export const ApprovalRequested = defineEvent('ApprovalRequested', {
  description: 'A person must decide. 60 minutes until overdue, twice that until escalation.',
  schema: z.strictObject({
    exceptionId,
    approvalId: identifier,
    reasons: z.array(text).readonly(),
    dueAt: text,
    escalateAt: text,
    exception: snapshotSchema,
    run: runSchema,
  }),
  key,
});

export const ApprovalDecided = defineEvent('ApprovalDecided', {
  description: 'The decision on an approval; carries what the playbook needs to go on.',
  schema: z.strictObject({
    exceptionId,
    approvalId: identifier,
    decision: z.enum(approvalDecisions),
    user: text,
    comments: text.optional(),
    exception: snapshotSchema,
    run: runSchema,
  }),
  key,
});

// -- playbook --------------------------------------------------------------------------------

export const PlaybookStarted = defineEvent('PlaybookStarted', {
  description: 'A playbook run began.',
  schema: z.strictObject({
    exceptionId,
    runId: identifier,
    playbookId: identifier,
    playbookName: text,
    totalSteps: z.number().int(),
    approvedBy: text.nullable(),
  }),
  key,
});

export const StepExecutionRequested = defineEvent('StepExecutionRequested', {
  description: 'A step is due. With executor human it waits, and carries what is needed to go on.',
  schema: z.strictObject({
    exceptionId,
    runId: identifier,
    playbookId: identifier,
    stepOrder: z.number().int(),
    stepName: text,
    action: text,
    risky: z.boolean(),
    executor: z.enum(['system', 'tool', 'human']),
    parameters: jsonObject,
    exception: snapshotSchema.optional(),
    run: runSchema.optional(),
  }),
  key,
});

export const PlaybookStepCompletionRequested = defineEvent('PlaybookStepCompletionRequested', {
  description: 'Someone says that the waiting step is done, or is to be skipped.',
  schema: z.strictObject({
    exceptionId,
    stepOrder: z.number().int(),
    verb: z.enum(['complete', 'skip']),
    actorType: z.enum(actorTypes),
    actorId: text,
    notes: text.optional(),
    exception: snapshotSchema,
    run: runSchema,
  }),
  key,
});

const stepFields = {
  exceptionId,
  runId: identifier,
  playbookId: identifier,
  stepOrder: z.number().int(),
  stepName: text,
  action: text,
  actorType: z.enum(actorTypes),
  actorId: text,
  notes: text.optional(),
};

export const PlaybookStepCompleted = defineEvent('PlaybookStepCompleted', {
  description: 'A step ended; status and owner say what it changed.',
  schema: z.strictObject({
    ...stepFields,
    result: z.enum(['SUCCESS', 'FAILED']),
    status: z.enum(statuses).optional(),
    owner: text.optional(),
    recipients: z.array(text).readonly().optional(),
    executionId: text.optional(),
  }),
  key,
});

export const PlaybookStepSkipped = defineEvent('PlaybookStepSkipped', {
  description: 'A person skipped a step.',
  schema: z.strictObject(stepFields),
  key,
});

export const PlaybookCompleted = defineEvent('PlaybookCompleted', {
  description: 'The last step of the run ended.',
  schema: z.strictObject({
    exceptionId,
    runId: identifier,
    playbookId: identifier,
    totalSteps: z.number().int(),
    completedSteps: z.number().int(),
    skippedSteps: z.number().int(),
  }),
  key,
});

export const CommentAdded = defineEvent('CommentAdded', {
  description: 'A remark on the exception, by a person or a stage.',
  schema: z.strictObject({ exceptionId, text, author: text, authorType: z.enum(actorTypes) }),
  key,
});

// -- tools -----------------------------------------------------------------------------------

const toolFields = {
  /** The exception, or the execution itself when a tool is called on its own. */
  exceptionId,
  executionId: identifier,
  tool: identifier,
  domain: identifier,
  actorType: z.enum(actorTypes),
  actorId: text,
  /** The execution that this one takes back, after its failure. */
  rollbackOf: text.nullable(),
  /** What the playbook needs to go on; null for a call outside a playbook. */
  exception: snapshotSchema.nullable(),
  run: runSchema.nullable(),
};

export const ToolExecutionRequested = defineEvent('ToolExecutionRequested', {
  description: 'A tool is to be called; executionId is the idempotency key.',
  schema: z.strictObject({ ...toolFields, payload: jsonObject }),
  key,
  // How often a tool is tried again is its own setting (at most 10); the engine only spaces it.
  retry: { maxRetries: 10, initialDelayMs: 500, multiplier: 2, maxDelayMs: 60_000, jitter: 0.2 },
});

export const ToolExecutionCompleted = defineEvent('ToolExecutionCompleted', {
  description: 'The tool answered.',
  schema: z.strictObject({
    ...toolFields,
    provider: text,
    durationMs: z.number(),
    attempts: z.number().int(),
    output: jsonObject,
  }),
  key,
});

export const ToolExecutionFailed = defineEvent('ToolExecutionFailed', {
  description: 'The tool failed for good, or was not allowed.',
  schema: z.strictObject({
    ...toolFields,
    provider: text,
    durationMs: z.number(),
    attempts: z.number().int(),
    errorCode: text,
    error: text,
  }),
  key,
});

// -- endings ---------------------------------------------------------------------------------

const endFields = {
  exceptionId,
  domain: identifier,
  exceptionType: text,
  severity: severitySchema,
  ingestedAt: text,
  playbookId: text.nullable(),
  totalSteps: z.number().int(),
  completedSteps: z.number().int(),
  lastActor: text,
  reason: text,
};

export const ExceptionResolved = defineEvent('ExceptionResolved', {
  description: 'Nothing is left to do.',
  schema: z.strictObject(endFields),
  key,
});

export const ExceptionEscalated = defineEvent('ExceptionEscalated', {
  description: 'The pipeline hands the exception to people.',
  schema: z.strictObject({ ...endFields, escalatedBy: text }),
  key,
});

export const FeedbackCaptured = defineEvent('FeedbackCaptured', {
  description: 'Metrics of a finished exception; positive only when it was resolved.',
  schema: z.strictObject({
    exceptionId,
    domain: identifier,
    exceptionType: text,
    severity: severitySchema,
    outcome: z.enum(['RESOLVED', 'ESCALATED']),
    positive: z.boolean(),
    playbookId: text.nullable(),
    totalSteps: z.number().int(),
    completedSteps: z.number().int(),
    durationSeconds: z.number(),
    lastActor: text,
    ...agentFields,
  }),
  key,
  retry: { maxRetries: 2, initialDelayMs: 500, multiplier: 2, maxDelayMs: 60_000, jitter: 0.2 },
});

// -- deadlines -------------------------------------------------------------------------------

const slaFields = { exceptionId, severity: severitySchema, slaDeadline: text };

export const SLAImminent = defineEvent('SLAImminent', {
  description: 'The configured share of the time to the deadline is used up (0.8 by default).',
  schema: z.strictObject({ ...slaFields, elapsedShare: z.number() }),
  key,
});

export const SLAExpired = defineEvent('SLAExpired', {
  description: 'The deadline has passed.',
  schema: z.strictObject({ ...slaFields, overdueSeconds: z.number() }),
  key,
});

/** All of them, for a catalogue. */
export const exceptionEvents = [
  ExceptionIngested,
  ManualExceptionCreated,
  ExceptionNormalized,
  TriageRequested,
  TriageCompleted,
  PolicyEvaluationRequested,
  PolicyEvaluationCompleted,
  PlaybookMatched,
  PlaybookRecalculationRequested,
  ApprovalRequested,
  ApprovalDecided,
  PlaybookStarted,
  StepExecutionRequested,
  PlaybookStepCompletionRequested,
  PlaybookStepCompleted,
  PlaybookStepSkipped,
  PlaybookCompleted,
  CommentAdded,
  ToolExecutionRequested,
  ToolExecutionCompleted,
  ToolExecutionFailed,
  ExceptionResolved,
  ExceptionEscalated,
  FeedbackCaptured,
  SLAImminent,
  SLAExpired,
] as const;

/**
 * The present state of an exception as a pure fold over its events: for the projection table, lists
 * and commands. Events of one exception arrive in order. While something is waited for, `waiting`
 * carries what a command needs to let it go on (commands.ts).
 *
 *   OPEN → IN_PROGRESS ⇄ PENDING_APPROVAL → RESOLVED | ESCALATED     (reprocessing starts over)
 */
import type { StoredEvent } from 'millrace';
import * as events from './events.ts';
import { isEvent, type PayloadOf } from './stages/stage.ts';
import type { ExceptionSnapshot, PlaybookRun, Severity, Status } from './vocabulary.ts';

export type StageName =
  | 'intake'
  | 'triage'
  | 'policy'
  | 'approval'
  | 'playbook'
  | 'tool'
  | 'human'
  | 'feedback'
  | 'done';

/** What a person has to answer. */
export interface Waiting {
  readonly kind: 'approval' | 'step';
  /** Approval id, or `runId:step`. */
  readonly id: string;
  /** The event that asks. */
  readonly eventId: string;
  readonly stepOrder: number;
  /** Only a person may answer. */
  readonly risky: boolean;
  readonly reasons: readonly string[];
  readonly dueAt: string | null;
  readonly escalateAt: string | null;
  readonly exception: ExceptionSnapshot;
  readonly run: PlaybookRun;
}

export interface ExceptionState {
  readonly exceptionId: string;
  readonly tenantId: string;
  readonly domain: string;
  readonly type: string;
  readonly severity: Severity;
  readonly status: Status;
  readonly stage: StageName;
  /** What it came to; null while it is on its way. */
  readonly outcome: 'RESOLVED' | 'ESCALATED' | null;
  readonly reason: string | null;
  readonly source: string;
  readonly summary: string | null;
  readonly owner: string | null;
  readonly amount: number | null;
  readonly entity: string | null;
  readonly confidence: number | null;
  readonly decision: string | null;
  readonly slaDeadline: string | null;
  readonly slaStatus: 'ON_TIME' | 'IMMINENT' | 'EXPIRED';
  readonly playbookId: string | null;
  readonly runId: string | null;
  readonly currentStep: number | null;
  readonly totalSteps: number | null;
  readonly waiting: Waiting | null;
  readonly occurredAt: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Seconds from acceptance to the end; null before. */
  readonly durationSeconds: number | null;
}

type Change = Partial<ExceptionState>;
type Fold<P> = (payload: P, state: ExceptionState, event: StoredEvent) => Change;
type P<Name extends keyof typeof events> = PayloadOf<(typeof events)[Name]>;

/**
 * The state after the event. Null in means: this is the first event. Null out means: the event does
 * not belong to an exception that came in here, such as a tool called on its own.
 */
export function projectException(
  state: ExceptionState | null,
  event: StoredEvent,
): ExceptionState | null {
  const fold = folds[event.eventType];
  if (fold === undefined) return state;
  const before = state ?? firstState(event);
  if (before === null) return null;
  return { ...before, ...fold(event.payload, before, event), updatedAt: event.timestamp };
}

function firstState(event: StoredEvent): ExceptionState | null {
  const manual = isEvent(events.ManualExceptionCreated, event);
  if (!manual && !isEvent(events.ExceptionIngested, event)) return null;
  const { payload } = event;
  return {
    exceptionId: payload.exceptionId,
    tenantId: event.tenantId,
    domain: payload.domain ?? '',
    type: payload.exceptionType ?? 'UNKNOWN',
    severity: payload.severity ?? 'MEDIUM',
    status: 'OPEN',
    stage: 'intake',
    outcome: null,
    reason: null,
    source: payload.source ?? 'UNKNOWN',
    summary: null,
    owner: null,
    amount: null,
    entity: null,
    confidence: null,
    decision: null,
    slaDeadline: null,
    slaStatus: 'ON_TIME',
    playbookId: null,
    runId: null,
    currentStep: null,
    totalSteps: null,
    waiting: null,
    // Whatever text the source gave; intake makes a time of it.
    occurredAt: null,
    createdAt: event.timestamp,
    updatedAt: event.timestamp,
    durationSeconds: null,
  };
}

function snapshotChange(exception: ExceptionSnapshot): Change {
  const { domain, type, severity, source, amount, entity, slaDeadline, occurredAt } = exception;
  return { domain, type, severity, source, amount, entity, slaDeadline, occurredAt };
}

/** Coming in again (reprocessing) starts over; when it first came in is kept. */
const restart: Change = {
  status: 'OPEN',
  stage: 'intake',
  outcome: null,
  reason: null,
  waiting: null,
  runId: null,
  currentStep: null,
  totalSteps: null,
  durationSeconds: null,
};

function waitForApproval(payload: P<'ApprovalRequested'>, event: StoredEvent): Change {
  return {
    status: 'PENDING_APPROVAL',
    stage: 'approval',
    waiting: {
      kind: 'approval',
      id: payload.approvalId,
      eventId: event.eventId,
      stepOrder: payload.run.step,
      risky: true,
      reasons: payload.reasons,
      dueAt: payload.dueAt,
      escalateAt: payload.escalateAt,
      exception: payload.exception,
      run: payload.run,
    },
  };
}

function waitForStep(payload: P<'StepExecutionRequested'>, event: StoredEvent): Change {
  const { exception, run, stepOrder, stepName, executor, risky } = payload;
  const progress: Change = {
    currentStep: stepOrder,
    stage: executor === 'system' ? 'playbook' : executor,
  };
  if (exception === undefined || run === undefined) return { ...progress, waiting: null };
  return {
    ...progress,
    status: 'IN_PROGRESS',
    waiting: {
      kind: 'step',
      id: `${run.runId}:${stepOrder}`,
      eventId: event.eventId,
      stepOrder,
      risky,
      reasons: [`step ${stepOrder} (${stepName}) is for a person`],
      dueAt: null,
      escalateAt: null,
      exception,
      run,
    },
  };
}

function end(payload: P<'ExceptionResolved'>, outcome: 'RESOLVED' | 'ESCALATED'): Change {
  const { reason } = payload;
  return { status: outcome, outcome, stage: 'feedback', reason, waiting: null };
}

const foldOf = {
  ExceptionIngested: () => restart,
  ManualExceptionCreated: () => restart,
  ExceptionNormalized: (payload: P<'ExceptionNormalized'>) => ({
    ...snapshotChange(payload.exception),
    stage: 'triage',
    summary: payload.summary,
    confidence: payload.confidence,
  }),
  TriageCompleted: (payload: P<'TriageCompleted'>) => ({
    ...snapshotChange(payload.exception),
    stage: 'policy',
    status: 'IN_PROGRESS',
    confidence: payload.confidence,
  }),
  PolicyEvaluationCompleted: (payload: P<'PolicyEvaluationCompleted'>) => ({
    decision: payload.decision,
    playbookId: payload.playbookId,
    confidence: payload.confidence,
  }),
  PlaybookMatched: (payload: P<'PlaybookMatched'>) => ({
    playbookId: payload.playbookId,
    stage: payload.mode === 'AUTOMATIC' ? 'playbook' : 'approval',
    status: 'IN_PROGRESS',
    outcome: null,
    reason: null,
    waiting: null,
  }),
  ApprovalRequested: (payload: P<'ApprovalRequested'>, _: ExceptionState, event: StoredEvent) =>
    waitForApproval(payload, event),
  ApprovalDecided: (payload: P<'ApprovalDecided'>, { waiting }: ExceptionState) =>
    payload.decision === 'TIMED_OUT'
      ? { waiting: waiting === null ? null : { ...waiting, dueAt: null } }
      : { waiting: null, status: 'IN_PROGRESS', stage: 'playbook' },
  PlaybookStarted: (payload: P<'PlaybookStarted'>) => ({
    status: 'IN_PROGRESS',
    stage: 'playbook',
    playbookId: payload.playbookId,
    runId: payload.runId,
    currentStep: 1,
    totalSteps: payload.totalSteps,
    waiting: null,
  }),
  StepExecutionRequested: (
    payload: P<'StepExecutionRequested'>,
    _: ExceptionState,
    event: StoredEvent,
  ) => waitForStep(payload, event),
  PlaybookStepCompleted: (payload: P<'PlaybookStepCompleted'>, state: ExceptionState) => ({
    stage: 'playbook',
    waiting: null,
    owner: payload.owner ?? state.owner,
    status: payload.status ?? state.status,
  }),
  PlaybookStepSkipped: () => ({ stage: 'playbook', waiting: null }),
  PlaybookCompleted: () => ({ currentStep: null }),
  ExceptionResolved: (payload: P<'ExceptionResolved'>) => end(payload, 'RESOLVED'),
  ExceptionEscalated: (payload: P<'ExceptionEscalated'>) => end(payload, 'ESCALATED'),
  FeedbackCaptured: (payload: P<'FeedbackCaptured'>) => ({
    stage: 'done',
    durationSeconds: payload.durationSeconds,
  }),
  SLAImminent: (_: unknown, state: ExceptionState) => ({
    slaStatus: state.slaStatus === 'EXPIRED' ? 'EXPIRED' : 'IMMINENT',
  }),
  SLAExpired: () => ({ slaStatus: 'EXPIRED' }),
} satisfies Record<string, (payload: never, state: ExceptionState, event: StoredEvent) => Change>;

const folds = foldOf as unknown as Readonly<Record<string, Fold<unknown>>>;

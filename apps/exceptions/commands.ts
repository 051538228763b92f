/**
 * What people may do to an exception: decide an approval, complete or skip a step, ask
 * for another playbook, run a tool. Each takes what is known (the projected state, or an event of
 * the history) and gives the event to publish, with all that the stages need to go on.
 *
 * The id of a decision is derived from what it decides, so of two clicks one is stored: publishing
 * the second answers with the position of the first.
 */
import { createHash } from 'node:crypto';
import {
  type EventDefinition,
  type EventInput,
  MillraceError,
  newEventId,
  type StoredEvent,
} from 'millrace';
import {
  ApprovalDecided,
  ExceptionIngested,
  PlaybookRecalculationRequested,
  PlaybookStepCompletionRequested,
  ToolExecutionRequested,
  type TriageCompleted,
} from './events.ts';
import type { ExceptionState, Waiting } from './projection.ts';
import type { EventWith, PayloadOf } from './stages/stage.ts';
import type { ActorType, ApprovalDecision } from './vocabulary.ts';

/** An event ready for `mill.publish(definition, input)`. */
export interface Command<P> {
  readonly definition: EventDefinition<P>;
  readonly input: EventInput<P>;
}

/** A UUID (version 8, RFC 9562) that is the same for the same words. */
export function derivedId(...words: readonly string[]): string {
  const hash = createHash('sha256').update(words.join('\u0000')).digest('hex');
  const variant = ((Number.parseInt(hash[16] as string, 16) & 0x3) | 0x8).toString(16);
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    `8${hash.slice(13, 16)}`,
    `${variant}${hash.slice(17, 20)}`,
    hash.slice(20, 32),
  ].join('-');
}

function answerTo(event: StoredEvent) {
  const { tenantId, key, correlationId, eventId } = event;
  return { tenantId, key, correlationId, causationId: eventId };
}

function refuse(message: string, fix: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message, { fix });
}

/** The exception as the projection shows it. */
export type WaitingState = Pick<ExceptionState, 'exceptionId' | 'status' | 'waiting'>;

function waitingFor(
  kind: Waiting['kind'],
  { exceptionId, status, waiting }: WaitingState,
): Waiting {
  if (waiting?.kind === kind) return waiting;
  const what = kind === 'approval' ? 'an approval' : 'a step';
  const instead = waiting === null ? `it is ${status}` : `it waits: ${waiting.reasons.join('; ')}`;
  throw refuse(
    `exception ${exceptionId} does not wait for ${what}`,
    `Look at the exception again: ${instead}.`,
  );
}

export interface ApprovalAnswer {
  readonly decision: ApprovalDecision;
  readonly user: string;
  readonly comments?: string | undefined;
}

/**
 * Decides the approval that is waited for. TIMED_OUT only notes that it is overdue; the others are
 * final.
 * @throws MillraceError REQUEST_INVALID when no approval is waited for.
 */
export function decideApproval(
  tenantId: string,
  state: WaitingState,
  { decision, user, comments }: ApprovalAnswer,
): Command<PayloadOf<typeof ApprovalDecided>> {
  const { id: approvalId, eventId, exception, run } = waitingFor('approval', state);
  const { exceptionId } = exception;
  const kind = decision === 'TIMED_OUT' ? 'overdue' : 'final';
  const payload = { exceptionId, approvalId, decision, user, exception, run };
  return {
    definition: ApprovalDecided,
    input: {
      tenantId,
      causationId: eventId,
      eventId: derivedId('approval', tenantId, approvalId, kind),
      payload: comments === undefined ? payload : { ...payload, comments },
    },
  };
}

export interface StepAnswer {
  readonly stepOrder: number;
  readonly verb: 'complete' | 'skip';
  readonly actorType: ActorType;
  readonly actorId: string;
  readonly notes?: string | undefined;
}

/**
 * Completes or skips the step that is waited for.
 * @throws MillraceError REQUEST_INVALID when none is, for another step, and for a risky step
 * without a person.
 */
export function answerStep(
  tenantId: string,
  state: WaitingState,
  { notes, ...answer }: StepAnswer,
): Command<PayloadOf<typeof PlaybookStepCompletionRequested>> {
  const { eventId, exception, run, stepOrder, risky } = waitingFor('step', state);
  if (answer.stepOrder !== stepOrder) {
    throw refuse(
      `step ${answer.stepOrder} is not the one that waits`,
      `Steps go in strict order; answer step ${stepOrder}.`,
    );
  }
  if (risky && answer.actorType !== 'human') {
    throw refuse(
      `step ${stepOrder} is risky and actorType is ${answer.actorType}`,
      'Let a person complete it, with actorType human.',
    );
  }
  const payload = { exceptionId: exception.exceptionId, ...answer, exception, run };
  return {
    definition: PlaybookStepCompletionRequested,
    input: {
      tenantId,
      causationId: eventId,
      eventId: derivedId('step', tenantId, run.runId, String(stepOrder)),
      payload: notes === undefined ? payload : { ...payload, notes },
    },
  };
}

/** Asks policy to choose again, from what triage found. Not while a tool is under way. */
export function recalculatePlaybook(
  triaged: EventWith<PayloadOf<typeof TriageCompleted>>,
  requestedBy: string,
): Command<PayloadOf<typeof PlaybookRecalculationRequested>> {
  const { exceptionId, exception, confidence } = triaged.payload;
  return {
    definition: PlaybookRecalculationRequested,
    input: {
      ...answerTo(triaged),
      payload: { exceptionId, exception, confidence, requestedBy },
    },
  };
}

/** Sends the exception through all stages again, as it first came in. */
export function reprocess(
  ingested: EventWith<PayloadOf<typeof ExceptionIngested>>,
): Command<PayloadOf<typeof ExceptionIngested>> {
  return {
    definition: ExceptionIngested,
    input: { ...answerTo(ingested), payload: ingested.payload },
  };
}

export interface ToolCall {
  readonly tenantId: string;
  readonly domain: string;
  readonly tool: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly actorType: ActorType;
  readonly actorId: string;
  readonly exceptionId?: string;
}

/** Calls a tool outside a playbook; the stage checks that the tenant may. */
export function executeTool(call: ToolCall): Command<PayloadOf<typeof ToolExecutionRequested>> {
  const executionId = newEventId();
  const { tenantId, tool, domain, actorType, actorId, payload } = call;
  return {
    definition: ToolExecutionRequested,
    input: {
      tenantId,
      payload: {
        exceptionId: call.exceptionId ?? executionId,
        executionId,
        tool,
        domain,
        actorType,
        actorId,
        rollbackOf: null,
        exception: null,
        run: null,
        payload,
      },
    },
  };
}

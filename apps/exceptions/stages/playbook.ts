/**
 * Playbook: runs the steps in strict order (P9-9). Steps that only record something are done at
 * once, in the same transaction; a tool step hands over to the tool stage; a risky step that may
 * not run by itself waits for a person. All progress is in the events:
 *
 *   PlaybookMatched(AUTOMATIC) ─┐                ┌─ notify, assign_owner … → next step
 *   ApprovalDecided(APPROVED) ──┼─ run from step ┼─ call_tool → ToolExecutionRequested
 *   PlaybookStepCompletion… ────┤                │     → ToolExecutionCompleted → next step
 *   ToolExecutionCompleted ─────┘                │     → ToolExecutionFailed → rollback, escalate
 *                                                └─ manual → StepExecutionRequested(human), waits
 *
 * A call_tool step runs by itself when policy approved the run (with or without a person) and the
 * tool is allowed for the tenant; otherwise only a human actor may complete it.
 */
import type { StoredEvent } from 'millrace';
import {
  ApprovalDecided,
  CommentAdded,
  ExceptionEscalated,
  PlaybookMatched,
  PlaybookStarted,
  PlaybookStepCompleted,
  PlaybookStepCompletionRequested,
  PlaybookStepSkipped,
  ToolExecutionCompleted,
  ToolExecutionFailed,
  ToolExecutionRequested,
} from '../events.ts';
import type { CompiledPlaybook, CompiledStep, Scope } from '../packs/compiled.ts';
import type { Packs } from '../packs/load.ts';
import type { ActorType, ExceptionSnapshot, PlaybookRun } from '../vocabulary.ts';
import { startRun } from './policy.ts';
import { endOf, runSteps, type StepRun } from './run-steps.ts';
import { isEvent, type PayloadOf, type Stage, type StageContext, scopeOf } from './stage.ts';

export function createPlaybook(packs: Packs): Stage {
  return {
    group: 'playbook',
    events: [
      PlaybookMatched,
      ApprovalDecided,
      PlaybookStepCompletionRequested,
      ToolExecutionCompleted,
      ToolExecutionFailed,
    ],
    handle(event, context) {
      if (isEvent(PlaybookMatched, event)) {
        if (event.payload.mode === 'AUTOMATIC') start(packs, event, event.payload, context);
      } else if (isEvent(ToolExecutionCompleted, event)) {
        afterTool(packs, event, event.payload, context);
      } else if (isEvent(ToolExecutionFailed, event)) {
        afterFailure(packs, event, event.payload, context);
      } else if (isEvent(PlaybookStepCompletionRequested, event)) {
        completeStep(packs, event, event.payload, context);
      } else if (isEvent(ApprovalDecided, event)) {
        afterApproval(packs, event, event.payload, context);
      }
    },
  };
}

type Matched = PayloadOf<typeof PlaybookMatched>;
type Decided = PayloadOf<typeof ApprovalDecided>;
type Completion = PayloadOf<typeof PlaybookStepCompletionRequested>;
type ToolDone = PayloadOf<typeof ToolExecutionCompleted>;
type ToolFailed = PayloadOf<typeof ToolExecutionFailed>;

function start(packs: Packs, event: StoredEvent, payload: Matched, context: StageContext): void {
  const scope = scopeOf(packs, event, payload.exception.domain);
  const playbook = scope.playbooks.get(payload.playbookId);
  if (playbook === undefined) {
    escalate(
      context,
      payload.exception,
      null,
      `playbook ${payload.playbookId} is gone`,
      'playbook',
    );
    return;
  }
  begin(event, scope, playbook, payload.exception, startRun(playbook, event.eventId), context);
}

function begin(
  event: StoredEvent,
  scope: Scope,
  playbook: CompiledPlaybook,
  exception: ExceptionSnapshot,
  run: PlaybookRun,
  context: StageContext,
): void {
  context.publish(PlaybookStarted, {
    payload: {
      exceptionId: exception.exceptionId,
      runId: run.runId,
      playbookId: playbook.id,
      playbookName: playbook.name,
      totalSteps: run.total,
      approvedBy: run.approvedBy,
    },
  });
  const actor = run.approvedBy === null ? 'system' : run.approvedBy;
  runSteps({ tenantId: event.tenantId, scope, playbook, exception, run, context }, actor);
}

function afterApproval(
  packs: Packs,
  event: StoredEvent,
  payload: Decided,
  context: StageContext,
): void {
  const { decision, exception, user, comments } = payload;
  const { exceptionId } = exception;
  if (decision === 'TIMED_OUT') {
    const text = `approval ${payload.approvalId} is overdue`;
    context.publish(CommentAdded, {
      payload: { exceptionId, text, author: user, authorType: 'system' },
    });
    return;
  }
  if (decision !== 'APPROVED') {
    const why = comments === undefined ? '' : `: ${comments}`;
    const reason =
      decision === 'REJECTED' ? 'approval was rejected' : 'approval was not given in time';
    escalate(context, exception, payload.run, `${reason}${why}`, user);
    return;
  }
  const run = { ...payload.run, approvedBy: user };
  const plan = planOf(packs, event, exception, run, context);
  if (plan !== null) begin(event, plan.scope, plan.playbook, exception, run, context);
}

/** The playbook of a run; null, after an escalation, when it is gone or has changed meanwhile. */
function planOf(
  packs: Packs,
  event: StoredEvent,
  exception: ExceptionSnapshot,
  run: PlaybookRun,
  context: StageContext,
): { scope: Scope; playbook: CompiledPlaybook } | null {
  const scope = scopeOf(packs, event, exception.domain);
  const playbook = scope.playbooks.get(run.playbookId);
  if (playbook !== undefined && playbook.plan === run.plan) return { scope, playbook };
  const change = playbook === undefined ? 'was removed' : 'was changed';
  const reason = `playbook ${run.playbookId} ${change} while the run waited at step ${run.step}`;
  escalate(context, exception, run, reason, 'playbook');
  return null;
}

function completeStep(
  packs: Packs,
  event: StoredEvent,
  payload: Completion,
  context: StageContext,
): void {
  const { exception, run, actorType, actorId, stepOrder, verb } = payload;
  const plan = planOf(packs, event, exception, run, context);
  if (plan === null) return;
  const step = plan.playbook.steps[run.step - 1] as CompiledStep;
  const refusal =
    stepOrder !== run.step
      ? `step ${stepOrder} cannot be ${verb}d, because step ${run.step} is next`
      : step.risky && actorType !== 'human'
        ? `step ${stepOrder} (${step.action}) is risky: only a person may ${verb} it`
        : null;
  if (refusal !== null) {
    // A failure would hold up the exception's other events, so a refused command is a remark.
    context.publish(CommentAdded, {
      payload: {
        exceptionId: exception.exceptionId,
        text: `refused: ${refusal}`,
        author: 'playbook',
        authorType: 'agent',
      },
    });
    return;
  }
  const result = stepResult(exception, run, step, actorType, actorId, payload.notes);
  if (verb === 'skip') context.publish(PlaybookStepSkipped, { payload: result });
  else {
    context.publish(PlaybookStepCompleted, { payload: { ...result, result: 'SUCCESS' as const } });
  }
  const next = advance(run, verb === 'skip');
  runSteps({ tenantId: event.tenantId, ...plan, exception, run: next, context }, actorId);
}

function stepResult(
  exception: ExceptionSnapshot,
  run: PlaybookRun,
  step: CompiledStep,
  actorType: ActorType,
  actorId: string,
  notes: string | undefined,
) {
  const fields = {
    exceptionId: exception.exceptionId,
    runId: run.runId,
    playbookId: run.playbookId,
    stepOrder: step.order,
    stepName: step.name,
    action: step.action,
    actorType,
    actorId,
  };
  return notes === undefined ? fields : { ...fields, notes };
}

/** The run at its next step. */
export function advance(run: PlaybookRun, skipped: boolean): PlaybookRun {
  return {
    ...run,
    step: run.step + 1,
    completed: run.completed + (skipped ? 0 : 1),
    skipped: run.skipped + (skipped ? 1 : 0),
  };
}

function afterTool(
  packs: Packs,
  event: StoredEvent,
  payload: ToolDone,
  context: StageContext,
): void {
  const { exception, run, executionId, actorType, actorId } = payload;
  if (exception === null || run === null) return;
  if (payload.rollbackOf !== null) {
    const reason = `step ${run.step} failed and ${payload.tool} took it back`;
    escalate(context, exception, run, reason, 'playbook');
    return;
  }
  const plan = planOf(packs, event, exception, run, context);
  if (plan === null) return;
  const step = plan.playbook.steps[run.step - 1] as CompiledStep;
  context.publish(PlaybookStepCompleted, {
    payload: {
      ...stepResult(exception, run, step, actorType, actorId, undefined),
      result: 'SUCCESS',
      executionId,
    },
  });
  const stepRun: StepRun = {
    tenantId: event.tenantId,
    ...plan,
    exception,
    run: advance(run, false),
    context,
  };
  runSteps(stepRun, actorId);
}

function afterFailure(
  packs: Packs,
  event: StoredEvent,
  payload: ToolFailed,
  context: StageContext,
): void {
  const { exception, run, executionId, error, tool } = payload;
  if (exception === null || run === null) return;
  if (payload.rollbackOf !== null) {
    const reason = `step ${run.step} failed, and so did its rollback ${tool}: ${error}`;
    escalate(context, exception, run, reason, 'playbook');
    return;
  }
  const scope = scopeOf(packs, event, exception.domain);
  const step = scope.playbooks.get(run.playbookId)?.steps[run.step - 1];
  if (step !== undefined) {
    context.publish(PlaybookStepCompleted, {
      payload: {
        ...stepResult(exception, run, step, payload.actorType, payload.actorId, error),
        result: 'FAILED',
        executionId,
      },
    });
  }
  const rollback = scope.tools.get(tool)?.rollback ?? null;
  if (rollback === null) {
    escalate(context, exception, run, `step ${run.step}: ${tool} failed: ${error}`, 'playbook');
    return;
  }
  context.publish(ToolExecutionRequested, {
    payload: {
      exceptionId: exception.exceptionId,
      executionId: `${executionId}:rollback`,
      tool: rollback,
      domain: exception.domain,
      actorType: 'system',
      actorId: 'playbook',
      rollbackOf: executionId,
      exception,
      run,
      payload: { exceptionId: exception.exceptionId, executionId },
    },
  });
}

function escalate(
  context: StageContext,
  exception: ExceptionSnapshot,
  run: PlaybookRun | null,
  reason: string,
  lastActor: string,
): void {
  context.publish(ExceptionEscalated, {
    payload: { ...endOf(exception, run, reason, lastActor), escalatedBy: 'playbook' },
  });
}

/**
 * Executes playbook steps from the run's present one until something has to be waited for, or the
 * run is finished. A pure function of its input apart from what it publishes, in order; used by
 * playbook.ts only. The loop is bounded by the number of steps.
 */
import {
  CommentAdded,
  ExceptionEscalated,
  ExceptionResolved,
  PlaybookCompleted,
  PlaybookStepCompleted,
  StepExecutionRequested,
  ToolExecutionRequested,
} from '../events.ts';
import {
  type CompiledPlaybook,
  type CompiledStep,
  notificationToolOf,
  type Scope,
} from '../packs/compiled.ts';
import type { ExceptionSnapshot, PlaybookRun, Status } from '../vocabulary.ts';
import type { StageContext } from './stage.ts';

export interface StepRun {
  readonly tenantId: string;
  readonly scope: Scope;
  readonly playbook: CompiledPlaybook;
  readonly exception: ExceptionSnapshot;
  readonly run: PlaybookRun;
  readonly context: StageContext;
}

type Parameters = Readonly<Record<string, unknown>>;

/** `actor` is the last one who moved the run on; it ends up in the closing event. */
export function runSteps(start: StepRun, actor: string): void {
  const { playbook, exception, context } = start;
  let { run } = start;
  while (run.step <= run.total) {
    const step = playbook.steps[run.step - 1] as CompiledStep;
    const parameters = step.render({ tenantId: start.tenantId, exception }) as Parameters;
    const executor = executorOf(step);
    const request = {
      exceptionId: exception.exceptionId,
      runId: run.runId,
      playbookId: playbook.id,
      stepOrder: step.order,
      stepName: step.name,
      action: step.action,
      risky: step.risky,
      executor,
      parameters,
    };
    if (executor === 'human') {
      context.publish(StepExecutionRequested, { payload: { ...request, exception, run } });
      return;
    }
    context.publish(StepExecutionRequested, { payload: request });
    if (executor === 'tool') {
      requestTool(start, run, step, parameters);
      return;
    }
    completeInline(start, run, step, parameters);
    run = { ...run, step: run.step + 1, completed: run.completed + 1 };
  }
  finish(start, run, actor);
}

function executorOf(step: CompiledStep): 'system' | 'tool' | 'human' {
  if (step.kind === 'call_tool') return step.tool?.allowed === true ? 'tool' : 'human';
  return step.kind === 'manual' ? 'human' : 'system';
}

function requestTool(
  { exception, context }: StepRun,
  run: PlaybookRun,
  step: CompiledStep,
  payload: Parameters,
): void {
  context.publish(ToolExecutionRequested, {
    payload: {
      exceptionId: exception.exceptionId,
      executionId: `${run.runId}:${step.order}`,
      tool: step.tool?.name ?? step.name,
      domain: exception.domain,
      actorType: run.approvedBy === null ? 'system' : 'human',
      actorId: run.approvedBy ?? 'playbook',
      rollbackOf: null,
      exception,
      run,
      payload,
    },
  });
}

/** Steps that are nothing but a record: the event itself is the effect. */
function completeInline(
  start: StepRun,
  run: PlaybookRun,
  step: CompiledStep,
  parameters: Parameters,
): void {
  const { context, exception } = start;
  if (step.kind === 'add_comment') {
    const text = String(parameters.text ?? parameters.text_template ?? '');
    context.publish(CommentAdded, {
      payload: {
        exceptionId: exception.exceptionId,
        text,
        author: 'playbook',
        authorType: 'system',
      },
    });
  }
  if (step.kind === 'notify') postNotification(start, run, step, parameters);
  context.publish(PlaybookStepCompleted, {
    payload: {
      exceptionId: exception.exceptionId,
      runId: run.runId,
      playbookId: run.playbookId,
      stepOrder: step.order,
      stepName: step.name,
      action: step.action,
      actorType: 'system',
      actorId: 'playbook',
      result: 'SUCCESS',
      ...effectOf(start.scope, step, parameters),
    },
  });
}

const noRecipients: readonly string[] = [];

function recipientsOf(scope: Scope, parameters: Parameters): readonly string[] {
  const groups = scope.policy.notificationPolicies.recipientsByGroup;
  return groups[String(parameters.group ?? '')] ?? noRecipients;
}

/**
 * Posts to the tenant's webhook of the channel, if there is one. It belongs to no run: a message
 * that cannot be delivered is on record as ToolExecutionFailed and holds nothing up.
 */
function postNotification(
  { scope, exception, context }: StepRun,
  run: PlaybookRun,
  step: CompiledStep,
  parameters: Parameters,
): void {
  const tool = notificationToolOf(String(parameters.channel ?? ''));
  if (!scope.tools.has(tool)) return;
  const subject = String(parameters.subject ?? step.name);
  const message = String(parameters.message ?? '');
  context.publish(ToolExecutionRequested, {
    payload: {
      exceptionId: exception.exceptionId,
      executionId: `${run.runId}:${step.order}`,
      tool,
      domain: exception.domain,
      actorType: 'system',
      actorId: 'playbook',
      rollbackOf: null,
      exception: null,
      run: null,
      payload: {
        text: message === '' ? subject : `${subject}\n${message}`,
        exceptionId: exception.exceptionId,
        recipients: recipientsOf(scope, parameters),
      },
    },
  });
}

function effectOf(
  scope: Scope,
  step: CompiledStep,
  parameters: Parameters,
): { status?: Status; owner?: string; recipients?: readonly string[] } {
  if (step.kind === 'set_status') return { status: parameters.status as Status };
  if (step.kind === 'assign_owner') {
    return { owner: String(parameters.user_id ?? parameters.queue) };
  }
  if (step.kind === 'notify') {
    return { recipients: recipientsOf(scope, parameters) };
  }
  return {};
}

function finish({ playbook, exception, context }: StepRun, run: PlaybookRun, actor: string): void {
  context.publish(PlaybookCompleted, {
    payload: {
      exceptionId: exception.exceptionId,
      runId: run.runId,
      playbookId: run.playbookId,
      totalSteps: run.total,
      completedSteps: run.completed,
      skippedSteps: run.skipped,
    },
  });
  const payload = endOf(exception, run, `playbook ${run.playbookId} completed`, actor);
  if (playbook.finalStatus === 'RESOLVED') context.publish(ExceptionResolved, { payload });
  else {
    context.publish(ExceptionEscalated, { payload: { ...payload, escalatedBy: 'playbook' } });
  }
}

/** The members that both closing events have. */
export function endOf(
  exception: ExceptionSnapshot,
  run: PlaybookRun | null,
  reason: string,
  lastActor: string,
) {
  return {
    exceptionId: exception.exceptionId,
    domain: exception.domain,
    exceptionType: exception.type,
    severity: exception.severity,
    ingestedAt: exception.ingestedAt,
    playbookId: run?.playbookId ?? null,
    totalSteps: run?.total ?? 0,
    completedSteps: run?.completed ?? 0,
    lastActor,
    reason,
  };
}

/**
 * What people tell a waiting exception: a step is done or skipped, an approval is given or refused.
 * The row of the projection carries what commands.ts needs. Of two decisions at once the first
 * counts, and the second hears so.
 */
import { type Millrace, MillraceError } from 'millrace';
import { type ApprovalAnswer, answerStep, decideApproval, type StepAnswer } from './commands.ts';
import type { Packs } from './packs/load.ts';
import { type ExceptionView, findException, findWaiting } from './projection/queries.ts';
import type { Waiting } from './projection.ts';

/** The playbook as its exception stands in it. */
export interface PlaybookView {
  readonly exceptionId: string;
  readonly playbookId: string;
  readonly playbookName: string;
  readonly steps: readonly {
    readonly stepOrder: number;
    readonly name: string;
    readonly actionType: string;
    readonly status: 'completed' | 'current' | 'pending';
  }[];
  readonly currentStep: number | null;
}

export function viewPlaybook(packs: Packs, exception: ExceptionView): PlaybookView {
  const { tenantId, exceptionId, domain, playbookId, currentStep, outcome } = exception;
  const playbook =
    playbookId === null ? undefined : packs.scope(tenantId, domain)?.playbooks.get(playbookId);
  if (playbook === undefined) {
    throw new MillraceError('NOT_FOUND', `Exception ${exceptionId} follows no playbook.`);
  }
  const next = outcome === 'RESOLVED' ? playbook.steps.length + 1 : (currentStep ?? 0);
  return {
    exceptionId,
    playbookId: playbook.id,
    playbookName: playbook.name,
    steps: playbook.steps.map(({ order, name, action }) => ({
      stepOrder: order,
      name,
      actionType: action,
      status: order < next ? 'completed' : order === next ? 'current' : 'pending',
    })),
    currentStep,
  };
}

interface Pipeline {
  readonly mill: Millrace;
  readonly packs: Packs;
}

/** @throws MillraceError NOT_FOUND, REQUEST_INVALID, STORE_CONFLICT when it was decided before */
export async function decideStep(
  { mill, packs }: Pipeline,
  ref: { readonly tenantId: string; readonly exceptionId: string },
  answer: StepAnswer,
): Promise<PlaybookView> {
  const { tenantId, exceptionId } = ref;
  const exception = await findException(mill, tenantId, exceptionId);
  const { definition, input } = answerStep(tenantId, exception, answer);
  const { duplicate } = await mill.publish(definition, input);
  if (duplicate) throw conflict(`Step ${answer.stepOrder} of ${exceptionId} was decided before.`);
  return viewPlaybook(packs, exception);
}

/** @throws MillraceError NOT_FOUND, STORE_CONFLICT when somebody else decided first */
export async function answerApproval(
  mill: Millrace,
  ref: { readonly tenantId: string; readonly approvalId: string },
  answer: ApprovalAnswer & { readonly decision: 'APPROVED' | 'REJECTED' },
): Promise<ApprovalView> {
  const { tenantId, approvalId } = ref;
  const exception = await findWaiting(mill, tenantId, approvalId);
  const { definition, input } = decideApproval(tenantId, exception, answer);
  const { duplicate } = await mill.publish(definition, input);
  if (duplicate) throw conflict(`Approval ${approvalId} was decided before.`);
  const { decision, user, comments = null } = answer;
  return { ...viewApproval(exception), status: decision, user, comments };
}

export interface ApprovalView {
  readonly approvalId: string;
  readonly tenantId: string;
  readonly exceptionId: string;
  readonly status: 'PENDING' | 'APPROVED' | 'REJECTED';
  readonly reasons: readonly string[];
  readonly playbookId: string;
  readonly dueAt: string | null;
  readonly escalateAt: string | null;
  readonly user: string | null;
  readonly comments: string | null;
}

export function viewApproval({ tenantId, exceptionId, waiting }: ExceptionView): ApprovalView {
  const { id, reasons, run, dueAt, escalateAt } = waiting as Waiting;
  return {
    approvalId: id,
    tenantId,
    exceptionId,
    status: 'PENDING',
    reasons,
    playbookId: run.playbookId,
    dueAt,
    escalateAt,
    user: null,
    comments: null,
  };
}

function conflict(message: string): MillraceError {
  return new MillraceError('STORE_CONFLICT', message, {
    fix: 'Look at the exception again; its events say who decided what.',
  });
}

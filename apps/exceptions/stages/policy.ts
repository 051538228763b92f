/**
 * Policy: may this exception be acted upon, by which playbook, and does a person have to agree
 * (P9-8)? In this order: a forbidden tool blocks; nothing to do, or too little confidence,
 * escalates; a reason for approval asks a person; the rest is approved.
 *
 * A person's approval is needed when the tenant's rule for the severity says so, when confidence is
 * below the threshold, when the severity is CRITICAL (no tenant rule lifts that), and when a
 * guardrail or the playbook asks for it. Escalation is at threshold - 0.1, as the original has it,
 * counted in whole hundredths; `escalateIfConfidenceBelow` may only raise that.
 */
import type { StoredEvent } from 'millrace';
import {
  ApprovalRequested,
  ExceptionEscalated,
  PlaybookMatched,
  PlaybookRecalculationRequested,
  PolicyEvaluationCompleted,
  PolicyEvaluationRequested,
  TriageCompleted,
} from '../events.ts';
import type { CompiledPlaybook, Scope } from '../packs/compiled.ts';
import type { Packs } from '../packs/load.ts';
import { compileWildcards } from '../packs/wildcard.ts';
import type {
  Actionability,
  ExceptionSnapshot,
  PlaybookRun,
  PolicyDecision,
} from '../vocabulary.ts';
import { isEvent, laterBy, type Stage, type StageContext, scopeOf } from './stage.ts';

/** An approval is overdue after an hour and escalates after twice that. */
const approvalMs = 60 * 60_000;

export interface PolicyAnswer {
  readonly decision: PolicyDecision;
  readonly actionability: Actionability;
  readonly playbook: CompiledPlaybook | null;
  readonly approvalReasons: readonly string[];
  readonly violations: readonly string[];
  readonly evidence: readonly string[];
}

export function createPolicy(packs: Packs): Stage {
  return {
    group: 'policy',
    events: [TriageCompleted, PlaybookRecalculationRequested],
    handle(event, context) {
      if (isEvent(TriageCompleted, event)) {
        const { exception, confidence } = event.payload;
        decide(packs, event, exception, confidence, context);
      } else if (isEvent(PlaybookRecalculationRequested, event)) {
        const { exception, confidence } = event.payload;
        decide(packs, event, exception, confidence, context);
      }
    },
  };
}

const nextSteps: Readonly<Record<PolicyDecision, string>> = {
  APPROVED: 'playbook',
  APPROVED_WITH_HUMAN: 'approval',
  BLOCKED: 'people',
  ESCALATE: 'people',
};
const confidences: Readonly<Record<PolicyDecision, number>> = {
  APPROVED: 0.9,
  APPROVED_WITH_HUMAN: 0.8,
  BLOCKED: 0.6,
  ESCALATE: 0.5,
};

function decide(
  packs: Packs,
  event: StoredEvent,
  exception: ExceptionSnapshot,
  confidence: number,
  context: StageContext,
): void {
  const { exceptionId, type, severity } = exception;
  const scope = scopeOf(packs, event, exception.domain);
  const answer = evaluatePolicy(scope, exception, confidence, event.timestamp);
  const { decision, playbook } = answer;
  context.publish(PolicyEvaluationRequested, {
    payload: { exceptionId, exceptionType: type, severity },
  });
  context.publish(PolicyEvaluationCompleted, {
    payload: {
      exceptionId,
      actionability: answer.actionability,
      approvalReasons: answer.approvalReasons,
      violations: answer.violations,
      playbookId: playbook?.id ?? null,
      decision,
      confidence: confidences[decision],
      evidence: answer.evidence,
      nextStep: nextSteps[decision],
    },
  });
  const goes = decision === 'APPROVED' || decision === 'APPROVED_WITH_HUMAN';
  if (!goes || playbook === null) {
    publishEscalation(context, exception, playbook, reasonOf(answer));
    return;
  }
  context.publish(PlaybookMatched, {
    payload: {
      exceptionId,
      exception,
      playbookId: playbook.id,
      playbookName: playbook.name,
      priority: playbook.priority,
      mode: decision === 'APPROVED' ? 'AUTOMATIC' : 'SUPERVISED',
    },
  });
  if (decision === 'APPROVED') return;
  context.publish(ApprovalRequested, {
    payload: {
      exceptionId,
      approvalId: event.eventId,
      reasons: answer.approvalReasons,
      dueAt: laterBy(event.timestamp, approvalMs),
      escalateAt: laterBy(event.timestamp, 2 * approvalMs),
      exception,
      run: startRun(playbook, event.eventId),
    },
  });
}

/** A run before its first step. */
export function startRun(playbook: CompiledPlaybook, runId: string): PlaybookRun {
  return {
    runId,
    playbookId: playbook.id,
    plan: playbook.plan,
    step: 1,
    total: playbook.steps.length,
    completed: 0,
    skipped: 0,
    approvedBy: null,
  };
}

function reasonOf(answer: PolicyAnswer): string {
  if (answer.decision === 'BLOCKED') return `blocked: ${answer.violations.join('; ')}`;
  return answer.evidence.join('; ');
}

function publishEscalation(
  context: StageContext,
  exception: ExceptionSnapshot,
  playbook: CompiledPlaybook | null,
  reason: string,
): void {
  context.publish(ExceptionEscalated, {
    payload: {
      exceptionId: exception.exceptionId,
      domain: exception.domain,
      exceptionType: exception.type,
      severity: exception.severity,
      ingestedAt: exception.ingestedAt,
      playbookId: playbook?.id ?? null,
      totalSteps: playbook?.steps.length ?? 0,
      completedSteps: 0,
      lastActor: 'policy',
      reason,
      escalatedBy: 'policy',
    },
  });
}

/** The decision alone, without events; `now` is ISO 8601. */
export function evaluatePolicy(
  scope: Scope,
  exception: ExceptionSnapshot,
  confidence: number,
  now: string,
): PolicyAnswer {
  const playbook = matchPlaybook(scope, exception, now);
  if (playbook === null) {
    const evidence = [`no playbook of ${scope.domain} fits ${exception.type}`];
    return answer('ESCALATE', 'NON_ACTIONABLE_INFO_ONLY', null, [], [], evidence);
  }
  const actionability = playbook.approvedProcess
    ? 'ACTIONABLE_APPROVED_PROCESS'
    : 'ACTIONABLE_NON_APPROVED_PROCESS';
  const { violations } = playbook;
  if (violations.length > 0) {
    return answer('BLOCKED', actionability, playbook, [], violations, violations);
  }
  const percent = Math.round(confidence * 100);
  if (percent < scope.escalateBelowPercent) {
    const evidence = [`confidence ${confidence} is below ${scope.escalateBelowPercent / 100}`];
    return answer('ESCALATE', actionability, playbook, [], [], evidence);
  }
  const reasons = approvalReasons(scope, exception, playbook, percent);
  if (reasons.length > 0) {
    return answer('APPROVED_WITH_HUMAN', actionability, playbook, reasons, [], reasons);
  }
  return answer('APPROVED', actionability, playbook, [], [], approvedEvidence);
}

const approvedEvidence = ['approved process, every tool is allowed, no rule asks for a person'];

function answer(
  decision: PolicyDecision,
  actionability: Actionability,
  playbook: CompiledPlaybook | null,
  reasons: readonly string[],
  violations: readonly string[],
  evidence: readonly string[],
): PolicyAnswer {
  return { decision, actionability, playbook, approvalReasons: reasons, violations, evidence };
}

/** Highest priority first, then the newest; the first whose changing conditions hold. */
function matchPlaybook(
  scope: Scope,
  exception: ExceptionSnapshot,
  now: string,
): CompiledPlaybook | null {
  for (const playbook of scope.types.get(exception.type)?.playbooks ?? []) {
    if (playbook.severityIn !== null && !playbook.severityIn.has(exception.severity)) continue;
    if (playbook.slaRemainingLtMs !== null) {
      const deadline = exception.slaDeadline;
      if (deadline === null) continue;
      if (Date.parse(deadline) - Date.parse(now) >= playbook.slaRemainingLtMs) continue;
    }
    const input = { exception, payload: exception.context };
    if (playbook.when === null || playbook.when.matches(input)) return playbook;
  }
  return null;
}

const namesNeedingApproval = new WeakMap<Scope, (name: string) => boolean>();

function approvalReasons(
  scope: Scope,
  exception: ExceptionSnapshot,
  playbook: CompiledPlaybook,
  percent: number,
): readonly string[] {
  const { severity, type } = exception;
  const reasons = [...playbook.approvalReasons];
  if (severity === 'CRITICAL') reasons.push('severity is CRITICAL');
  else if (scope.approvalBySeverity.get(severity) === true) {
    reasons.push(`the tenant's rule asks for approval at ${severity}`);
  }
  if (scope.guardrails.noAutoActionIfSeverityIn.includes(severity)) {
    reasons.push(`no automatic action at ${severity}`);
  }
  if (percent < scope.thresholdPercent) {
    reasons.push(`confidence ${percent / 100} is below ${scope.thresholdPercent / 100}`);
  }
  let needsApproval = namesNeedingApproval.get(scope);
  if (needsApproval === undefined) {
    needsApproval = compileWildcards(scope.guardrails.requireHumanApprovalFor);
    namesNeedingApproval.set(scope, needsApproval);
  }
  if (needsApproval(type)) reasons.push(`type ${type} requires a person's approval`);
  return reasons;
}

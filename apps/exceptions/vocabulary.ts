/**
 * The words of the exception pipeline and the small structures that travel inside its events:
 * the exception's snapshot and the progress of a playbook run. Stages keep nothing in memory, so
 * whatever the next stage needs is here. Packs, stages, sources and the projection import this.
 */
import { z } from 'zod';

export const severities = ['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'] as const;
export type Severity = (typeof severities)[number];

export const severityRank: Readonly<Record<Severity, number>> = {
  LOW: 0,
  MEDIUM: 1,
  HIGH: 2,
  CRITICAL: 3,
};

/** The record and the table of the original had two status sets; this is the one that is kept. */
export const statuses = [
  'OPEN',
  'IN_PROGRESS',
  'RESOLVED',
  'ESCALATED',
  'PENDING_APPROVAL',
] as const;
export type Status = (typeof statuses)[number];

export const actorTypes = ['human', 'agent', 'system'] as const;
export type ActorType = (typeof actorTypes)[number];

export const policyDecisions = ['APPROVED', 'APPROVED_WITH_HUMAN', 'BLOCKED', 'ESCALATE'] as const;
export type PolicyDecision = (typeof policyDecisions)[number];

export const actionabilities = [
  'ACTIONABLE_APPROVED_PROCESS',
  'ACTIONABLE_NON_APPROVED_PROCESS',
  'NON_ACTIONABLE_INFO_ONLY',
] as const;
export type Actionability = (typeof actionabilities)[number];

export const approvalDecisions = ['APPROVED', 'REJECTED', 'TIMED_OUT', 'ESCALATED'] as const;
export type ApprovalDecision = (typeof approvalDecisions)[number];

/** A value kept from the payload for rules and templates. Deep values are kept as text. */
export type Scalar = string | number | boolean | null;
export type Context = Readonly<Record<string, Scalar>>;

export const identifier = z.string().min(1).max(256);
export const severitySchema = z.enum(severities);

function isScalarRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name];
    if (typeof member === 'object' && member !== null) return false;
  }
  return true;
}

/** Plain objects only; that every member is JSON is checked once, when the event is prepared. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** z.record costs 0.9 µs for four members, this loop 0.1 µs; snapshots ride on half the events. */
export const contextSchema = z.custom<Context>(isScalarRecord, 'must be an object of plain values');

export const jsonObject = z.custom<Readonly<Record<string, unknown>>>(
  isPlainObject,
  'must be an object',
);

/** What later stages need of an exception, some 300 bytes. The raw payload stays where it is. */
export const snapshotSchema = z.strictObject({
  exceptionId: identifier,
  source: z.string(),
  domain: identifier,
  type: z.string(),
  severity: severitySchema,
  /** When it happened, as its source says; ISO 8601 UTC. */
  occurredAt: z.string(),
  /** When it was accepted here; deadlines and durations count from this. */
  ingestedAt: z.string(),
  slaDeadline: z.string().nullable(),
  amount: z.number().nullable(),
  entity: z.string().nullable(),
  context: contextSchema,
});
export type ExceptionSnapshot = Readonly<z.infer<typeof snapshotSchema>>;

/** Progress of one playbook run. `step` is the 1-based step that is under way or waited for. */
export const runSchema = z.strictObject({
  runId: identifier,
  playbookId: identifier,
  /** Fingerprint of the steps: a run never continues on a plan that changed under it. */
  plan: z.string(),
  step: z.number().int(),
  total: z.number().int(),
  completed: z.number().int(),
  skipped: z.number().int(),
  /** The person whose approval covers the run; null when policy approved it without one. */
  approvedBy: z.string().nullable(),
});
export type PlaybookRun = Readonly<z.infer<typeof runSchema>>;

/** Every agent answers with these four, flattened into its event. */
export const agentFields = {
  decision: z.string(),
  confidence: z.number().min(0).max(1),
  evidence: z.array(z.string()).readonly(),
  nextStep: z.string(),
} as const;

export interface AgentAnswer {
  readonly decision: string;
  readonly confidence: number;
  readonly evidence: readonly string[];
  readonly nextStep: string;
}

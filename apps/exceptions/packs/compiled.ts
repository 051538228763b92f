/**
 * What packs become when they are loaded: everything that stages ask per event is a lookup or a
 * compiled closure here. A scope is one domain under one tenant's policy; it is immutable.
 */
import type { Severity } from '../vocabulary.ts';
import type { Expression } from './expression.ts';
import type { AttributeType, DomainPack, Guardrails, PolicyPack, ToolSpec } from './schema.ts';
import type { Template } from './template.ts';

export interface CompiledRule {
  readonly expression: Expression;
  readonly severity: Severity;
  /** Ready-made evidence: file, line, condition and severity. */
  readonly evidence: string;
}

export interface CompiledType {
  readonly name: string;
  readonly tags: ReadonlySet<string>;
  /** Rules of the type and of the pack, most severe first. */
  readonly rules: readonly CompiledRule[];
  readonly override: Severity | null;
  /** What the type's name suggests; null when it suggests nothing. */
  readonly heuristic: Severity | null;
  readonly slaMs: Readonly<Record<Severity, number>>;
  /** Playbooks whose fixed conditions fit this type, best first. */
  readonly playbooks: readonly CompiledPlaybook[];
}

export type ActionKind =
  | 'notify'
  | 'assign_owner'
  | 'set_status'
  | 'add_comment'
  | 'call_tool'
  | 'manual';

export interface CompiledStep {
  /** 1-based. */
  readonly order: number;
  readonly name: string;
  readonly kind: ActionKind;
  /** The word in the pack; differs from the kind for actions nobody knows, which people do. */
  readonly action: string;
  /** Risky steps are completed by people, or by the system under an approval. */
  readonly risky: boolean;
  readonly render: Template;
  readonly tool: CompiledTool | null;
}

export interface CompiledPlaybook {
  readonly id: string;
  readonly name: string;
  readonly priority: number;
  readonly approved: boolean;
  readonly severityIn: ReadonlySet<Severity> | null;
  readonly slaRemainingLtMs: number | null;
  readonly when: Expression | null;
  readonly steps: readonly CompiledStep[];
  readonly finalStatus: 'RESOLVED' | 'ESCALATED';
  readonly plan: string;
  /** Forbidden tools: with one of them the playbook is never run. */
  readonly violations: readonly string[];
  /** Why a person must approve it, whatever the exception. */
  readonly approvalReasons: readonly string[];
  /** Approved by the pack, and every tool of it allowed for the tenant. */
  readonly approvedProcess: boolean;
}

export interface CompiledTool {
  readonly name: string;
  readonly domain: string;
  readonly spec: ToolSpec;
  readonly url: string | null;
  readonly timeoutMs: number;
  readonly maxRetries: number;
  /** Allowed for the tenant of the scope. */
  readonly allowed: boolean;
  /** Why it is not allowed; null when it is. */
  readonly refusal: string | null;
  /** Name of the tool that takes it back, null when there is none that is allowed. */
  readonly rollback: string | null;
}

/** The tool that posts to the webhook of a notification channel. */
export function notificationToolOf(channel: string): string {
  return `notification:${channel}`;
}

export interface RetainedField {
  readonly name: string;
  readonly type: AttributeType | null;
}

export interface DetectionRule {
  readonly type: string;
  readonly expression: Expression;
}

export interface Scope {
  readonly domain: string;
  readonly tenantId: string;
  readonly pack: DomainPack;
  readonly policy: PolicyPack;
  readonly guardrails: Guardrails;
  /** In hundredths: 0.8 - 0.1 is 0.7000000000000001, and 0.7 would escalate. */
  readonly thresholdPercent: number;
  readonly escalateBelowPercent: number;
  readonly approvalBySeverity: ReadonlyMap<Severity, boolean>;
  readonly types: ReadonlyMap<string, CompiledType>;
  readonly detection: readonly DetectionRule[];
  readonly tools: ReadonlyMap<string, CompiledTool>;
  readonly playbooks: ReadonlyMap<string, CompiledPlaybook>;
  /** Payload fields that rules, templates and conditions read; intake keeps these. */
  readonly retained: readonly RetainedField[];
}

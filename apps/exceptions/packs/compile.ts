/**
 * Compiles a domain pack under a tenant's policy into a scope. References between the two files
 * (tools, types, fields) are checked here, and every complaint names the place in its file.
 */
import { Redactor } from 'millrace';
import { type Severity, severities, severityRank } from '../vocabulary.ts';
import {
  compilePlaybook,
  type PlaybookCandidate,
  type PlaybookContext,
} from './compile-playbook.ts';
import { compileTools } from './compile-tools.ts';
import type { CompiledRule, CompiledType, DetectionRule, Scope } from './compiled.ts';
import { createExpressionCompiler, type ExpressionResult } from './expression.ts';
import type { AttributeType, DomainPack, Guardrails, PolicyPack } from './schema.ts';
import type { PackSource, Path } from './source.ts';
import { suggest } from './suggest.ts';
import { compileWildcard } from './wildcard.ts';

type Compiler = (text: string) => ExpressionResult;

/** Throws PACK_INVALID or EXPRESSION_INVALID, naming file, line, column and field. */
export function compileScope(
  domain: PackSource<DomainPack>,
  policySource: PackSource<PolicyPack>,
): Scope {
  const pack = domain.value;
  const policy = policySource.value;
  const attributes = attributesOf(domain);
  const compileExpression = createExpressionCompiler(attributes);
  const kept = new Set<string>();
  const guardrails: Guardrails = { ...pack.guardrails, ...definedOf(policy.customGuardrails) };

  const packRules = compileRules(domain, ['severityRules'], pack.severityRules, compileExpression);
  const typeRules = new Map<string, readonly CompiledRule[]>();
  const detection: DetectionRule[] = [];
  for (const [name, spec] of Object.entries(pack.exceptionTypes)) {
    const path = ['exceptionTypes', name, 'severityRules'];
    typeRules.set(name, compileRules(domain, path, spec.severityRules, compileExpression));
    detection.push(...compileDetection(domain, name, spec.detectionRules, compileExpression));
  }
  domain.finish('EXPRESSION_INVALID');
  for (const rule of [...packRules, ...[...typeRules.values()].flat(), ...detection]) {
    for (const field of rule.expression.payloadFields) kept.add(field);
  }

  const typeNames = Object.keys(pack.exceptionTypes);
  const tools = compileTools(domain, policySource, guardrails);
  checkPolicy(policySource, typeNames);
  const context: Omit<PlaybookContext, 'source'> = {
    domain: pack.domainName,
    typeNames,
    tools,
    guardrails,
    compileExpression,
    templateNames: {
      payloadFields: new Set(attributes.keys()),
      domainPack: describeDomain(pack),
      policyPack: describePolicy(policy),
      keep: (field) => kept.add(field),
    },
  };
  const candidates = compilePlaybooks(domain, policySource, context);
  domain.finish();
  policySource.finish();

  return {
    domain: pack.domainName,
    tenantId: policy.tenantId,
    pack,
    policy,
    guardrails,
    thresholdPercent: Math.round(guardrails.humanApprovalThreshold * 100),
    escalateBelowPercent: Math.max(
      Math.round(guardrails.humanApprovalThreshold * 100) - 10,
      Math.round(guardrails.escalateIfConfidenceBelow * 100),
    ),
    approvalBySeverity: new Map(
      policy.humanApprovalRules.map((rule) => [rule.severity, rule.requireApproval]),
    ),
    types: compileTypes(pack, policy, packRules, typeRules, candidates),
    detection,
    tools,
    playbooks: new Map(candidates.map(({ playbook }) => [playbook.id, playbook])),
    retained: [...kept].map((name) => ({ name, type: attributes.get(name) ?? null })),
  };
}

/** Members that were given; an absent guardrail of the tenant leaves the domain's in force. */
function definedOf<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== undefined),
  ) as Partial<T>;
}

/** All declared payload fields of the domain; two entities may share a field of one type. */
function attributesOf(domain: PackSource<DomainPack>): Map<string, AttributeType> {
  const attributes = new Map<string, AttributeType>();
  for (const [entityName, entity] of Object.entries(domain.value.entities)) {
    for (const [name, spec] of Object.entries(entity.attributes)) {
      const type = typeof spec === 'string' ? spec : spec.type;
      const before = attributes.get(name);
      if (before !== undefined && before !== type) {
        domain.complain(
          ['entities', entityName, 'attributes', name],
          `is a ${type} here and a ${before} in another entity`,
        );
      }
      attributes.set(name, type);
    }
  }
  domain.finish();
  return attributes;
}

function compileRules(
  source: PackSource<DomainPack>,
  path: Path,
  rules: readonly { readonly condition: string; readonly severity: Severity }[],
  compile: Compiler,
): readonly CompiledRule[] {
  return rules.flatMap((rule, index) => {
    const result = compile(rule.condition);
    const at = [...path, index, 'condition'];
    if (!result.ok) {
      source.complain(at, result.message);
      return [];
    }
    const evidence = `rule ${source.place(at)} ${rule.condition} → ${rule.severity}`;
    return [{ expression: result.expression, severity: rule.severity, evidence }];
  });
}

function compileDetection(
  source: PackSource<DomainPack>,
  type: string,
  conditions: readonly string[],
  compile: Compiler,
): DetectionRule[] {
  return conditions.flatMap((condition, index) => {
    const result = compile(condition);
    if (result.ok) return [{ type, expression: result.expression }];
    source.complain(['exceptionTypes', type, 'detectionRules', index], result.message);
    return [];
  });
}

/** What the engine would refuse at the start, with the place in the pack. */
function checkFields(policy: PackSource<PolicyPack>, member: 'piiFields' | 'piiKeep'): void {
  policy.value[member].forEach((field, index) => {
    try {
      new Redactor({ default: { fields: [field] } });
    } catch (error) {
      policy.complain([member, index], error instanceof Error ? error.message : String(error));
    }
  });
}

function checkPolicy(policy: PackSource<PolicyPack>, typeNames: readonly string[]): void {
  checkFields(policy, 'piiFields');
  checkFields(policy, 'piiKeep');
  policy.value.customSeverityOverrides.forEach(({ exceptionType }, index) => {
    if (typeNames.some(compileWildcard(exceptionType))) return;
    const path = ['customSeverityOverrides', index, 'exceptionType'];
    const hint = suggest(exceptionType, typeNames);
    policy.complain(path, `'${exceptionType}' fits no exception type of the domain${hint}`);
  });
}

function describeDomain(pack: DomainPack): Record<string, string> {
  return {
    domainName: pack.domainName,
    domain_name: pack.domainName,
    version: pack.version,
    description: pack.description ?? '',
  };
}

function describePolicy(policy: PolicyPack): Record<string, string> {
  return {
    tenantId: policy.tenantId,
    tenant_id: policy.tenantId,
    domainName: policy.domainName,
    dataTTL: String(policy.retentionPolicies.dataTTL),
    channels: policy.notificationPolicies.channels.join(', '),
  };
}

/** Domain playbooks first, the tenant's after them: at equal priority the newest wins. */
function compilePlaybooks(
  domain: PackSource<DomainPack>,
  policy: PackSource<PolicyPack>,
  context: Omit<PlaybookContext, 'source'>,
): readonly PlaybookCandidate[] {
  const seen = new Set<string>();
  const compileAll = (
    source: Pick<PackSource<unknown>, 'complain'>,
    field: string,
    specs: DomainPack['playbooks'],
  ) =>
    specs.map((spec, index) => {
      if (seen.has(spec.id)) source.complain([field, index, 'id'], `'${spec.id}' is used twice`);
      seen.add(spec.id);
      return compilePlaybook(spec, [field, index], { ...context, source });
    });
  return [
    ...compileAll(domain, 'playbooks', domain.value.playbooks),
    ...compileAll(policy, 'customPlaybooks', policy.value.customPlaybooks),
  ]
    .map((candidate, age) => ({ candidate, age }))
    .sort((a, b) => b.candidate.playbook.priority - a.candidate.playbook.priority || b.age - a.age)
    .map(({ candidate }) => candidate);
}

/** CRITICAL or BREAK, HIGH or FAIL, LOW or MISMATCH in the name. */
export function severityOfName(name: string): Severity | null {
  if (/CRITICAL|BREAK/i.test(name)) return 'CRITICAL';
  if (/HIGH|FAIL/i.test(name)) return 'HIGH';
  if (/LOW|MISMATCH/i.test(name)) return 'LOW';
  return null;
}

function compileTypes(
  pack: DomainPack,
  policy: PolicyPack,
  packRules: readonly CompiledRule[],
  typeRules: ReadonlyMap<string, readonly CompiledRule[]>,
  candidates: readonly PlaybookCandidate[],
): Map<string, CompiledType> {
  const types = new Map<string, CompiledType>();
  for (const [name, spec] of Object.entries(pack.exceptionTypes)) {
    const tags = new Set([...spec.tags, ...policy.policyTags]);
    const rules = [...(typeRules.get(name) ?? []), ...packRules];
    rules.sort((a, b) => severityRank[b.severity] - severityRank[a.severity]);
    const override = policy.customSeverityOverrides.find(({ exceptionType }) =>
      compileWildcard(exceptionType)(name),
    );
    const minutes = { ...pack.slaMinutes, ...definedOf(spec.slaMinutes ?? {}) };
    types.set(name, {
      name,
      tags,
      rules,
      override: override?.severity ?? null,
      heuristic: severityOfName(name),
      slaMs: Object.fromEntries(
        severities.map((severity) => [severity, minutes[severity] * 60_000]),
      ) as Record<Severity, number>,
      playbooks: candidates
        .filter((candidate) => candidate.fitsType(name, tags))
        .map((candidate) => candidate.playbook),
    });
  }
  return types;
}

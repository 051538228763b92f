/**
 * Compiles playbooks: fixed conditions become filters, parameters become templates, and what policy
 * must know about a playbook's tools (forbidden, not allowed, in need of approval) is worked out
 * here, once. Called by compile.ts for each playbook of a scope.
 */
import { createHash } from 'node:crypto';
import { isPlainObject, type Severity, statuses } from '../vocabulary.ts';
import type { ActionKind, CompiledPlaybook, CompiledStep, CompiledTool } from './compiled.ts';
import type { Expression, ExpressionResult } from './expression.ts';
import type { Guardrails, PlaybookSpec } from './schema.ts';
import type { PackSource, Path } from './source.ts';
import { suggest } from './suggest.ts';
import { compileTemplate, type TemplateNames } from './template.ts';
import { compileWildcard, compileWildcards } from './wildcard.ts';

export interface PlaybookContext {
  readonly source: Pick<PackSource<unknown>, 'complain'>;
  readonly domain: string;
  readonly typeNames: readonly string[];
  readonly tools: ReadonlyMap<string, CompiledTool>;
  readonly guardrails: Guardrails;
  readonly templateNames: Omit<TemplateNames, 'complain'>;
  compileExpression(text: string): ExpressionResult;
}

/** A playbook and the test of its fixed conditions against a type. */
export interface PlaybookCandidate {
  readonly playbook: CompiledPlaybook;
  fitsType(name: string, tags: ReadonlySet<string>): boolean;
}

const kinds: Readonly<Record<string, ActionKind>> = {
  notify: 'notify',
  assign_owner: 'assign_owner',
  assignowner: 'assign_owner',
  set_status: 'set_status',
  setstatus: 'set_status',
  add_comment: 'add_comment',
  addcomment: 'add_comment',
  call_tool: 'call_tool',
  calltool: 'call_tool',
};

export function compilePlaybook(
  spec: PlaybookSpec,
  path: Path,
  context: PlaybookContext,
): PlaybookCandidate {
  const { source, guardrails } = context;
  const steps = spec.steps.map((_, index) => compileStep(spec, index, path, context));
  const match = spec.conditions?.match ?? {};
  const fitsType = compileTypeMatch(spec, path, context);
  const severities = match.severity === undefined ? match.severityIn : [match.severity];
  const tools = steps.flatMap((step) => (step.tool === null ? [] : [step.tool]));
  const needsApproval = compileWildcards(guardrails.requireHumanApprovalFor);
  const refused = tools.filter((tool) => !tool.allowed);
  const approvalReasons = [
    ...(spec.approved ? [] : [`playbook ${spec.id} is not an approved process`]),
    ...refused.map((tool) => `tool ${tool.name}: ${tool.refusal}`),
    ...[spec.id, ...tools.map((tool) => tool.name)]
      .filter(needsApproval)
      .map((name) => `${name} requires a person's approval`),
  ];
  const optional = guardrails.autoActionAllowedOnlyForApprovedPlaybooks ? 0 : 1;
  const playbook: CompiledPlaybook = {
    id: spec.id,
    name: spec.name ?? spec.id,
    priority: spec.conditions?.priority ?? 0,
    approved: spec.approved,
    severityIn: severities === undefined ? null : new Set<Severity>(severities),
    slaRemainingLtMs:
      match.slaMinutesRemainingLt === undefined ? null : match.slaMinutesRemainingLt * 60_000,
    when: compileWhen(spec, path, context),
    steps,
    finalStatus: finalStatus(spec, path, source),
    plan: createHash('sha256').update(JSON.stringify(spec.steps)).digest('hex').slice(0, 12),
    violations: violations(tools, guardrails),
    approvalReasons: spec.approved ? approvalReasons : approvalReasons.slice(optional),
    approvedProcess: spec.approved && refused.length === 0,
  };
  return { playbook, fitsType };
}

function violations(tools: readonly CompiledTool[], guardrails: Guardrails): string[] {
  const blocked = compileWildcards(guardrails.blockLists);
  const listed = compileWildcards(guardrails.allowLists);
  const found: string[] = [];
  for (const { name } of tools) {
    if (blocked(name)) found.push(`tool ${name} is on the block list`);
    else if (guardrails.allowLists.length > 0 && !listed(name)) {
      found.push(`tool ${name} is not on the allow list`);
    }
  }
  return found;
}

function compileWhen(spec: PlaybookSpec, path: Path, context: PlaybookContext): Expression | null {
  const text = spec.conditions?.when;
  if (text === undefined) return null;
  const result = context.compileExpression(text);
  if (result.ok) {
    for (const field of result.expression.payloadFields) context.templateNames.keep(field);
    return result.expression;
  }
  context.source.complain([...path, 'conditions', 'when'], result.message);
  return null;
}

function compileTypeMatch(
  spec: PlaybookSpec,
  path: Path,
  context: PlaybookContext,
): PlaybookCandidate['fitsType'] {
  const match = spec.conditions?.match ?? {};
  const patterns: [Path, string][] = [];
  if (spec.exceptionType !== undefined) patterns.push([['exceptionType'], spec.exceptionType]);
  const fixed: Path = ['conditions', 'match'];
  if (match.exceptionType !== undefined) {
    patterns.push([[...fixed, 'exceptionType'], match.exceptionType]);
  }
  for (const [at, pattern] of patterns) checkPattern(pattern, [...path, ...at], context);
  match.exceptionTypes?.forEach((pattern, index) => {
    checkPattern(pattern, [...path, ...fixed, 'exceptionTypes', index], context);
  });
  const tests = patterns.map(([, pattern]) => compileWildcard(pattern));
  if (match.exceptionTypes !== undefined) tests.push(compileWildcards(match.exceptionTypes));
  const domainFits = match.domain === undefined || compileWildcard(match.domain)(context.domain);
  const required = match.policyTags ?? [];
  return (name, tags) =>
    domainFits && tests.every((test) => test(name)) && required.every((tag) => tags.has(tag));
}

function checkPattern(pattern: string, path: Path, context: PlaybookContext): void {
  if (context.typeNames.some(compileWildcard(pattern))) return;
  context.source.complain(
    path,
    `'${pattern}' fits no exception type of the domain${suggest(pattern, context.typeNames)}`,
  );
}

function compileStep(
  spec: PlaybookSpec,
  index: number,
  path: Path,
  context: PlaybookContext,
): CompiledStep {
  const step = spec.steps[index] as PlaybookSpec['steps'][number];
  const at: Path = [...path, 'steps', index];
  const kind = kinds[step.action.toLowerCase()] ?? 'manual';
  const names = {
    ...context.templateNames,
    complain: (message: string) => context.source.complain([...at, 'parameters'], message),
  };
  const tool = kind === 'call_tool' ? findTool(step.parameters, at, context) : null;
  if (kind === 'set_status') checkStatus(step.parameters.status, at, context.source);
  if (kind === 'assign_owner' && !('user_id' in step.parameters || 'queue' in step.parameters)) {
    context.source.complain([...at, 'parameters'], 'assign_owner needs user_id or queue');
  }
  return {
    order: index + 1,
    name: step.name ?? step.stepId ?? step.action,
    kind,
    action: step.action,
    risky: kind === 'call_tool' || kind === 'manual',
    render: compileTemplate(parametersOf(kind, step.parameters), names),
    tool,
  };
}

/** For tools only the payload is rendered; the other actions render all their parameters. */
function parametersOf(kind: ActionKind, parameters: Readonly<Record<string, unknown>>): unknown {
  if (kind !== 'call_tool') return parameters;
  const payload = parameters.payload ?? parameters.payload_template ?? parameters.payloadTemplate;
  return isPlainObject(payload) ? payload : { exceptionId: '{exception.exceptionId}' };
}

function findTool(
  parameters: Readonly<Record<string, unknown>>,
  at: Path,
  context: PlaybookContext,
): CompiledTool | null {
  const name = parameters.tool_id ?? parameters.toolId ?? parameters.tool;
  if (typeof name !== 'string') {
    context.source.complain([...at, 'parameters'], 'call_tool needs tool_id, the name of a tool');
    return null;
  }
  const tool = context.tools.get(name);
  if (tool === undefined) {
    context.source.complain(
      [...at, 'parameters', 'tool_id'],
      `'${name}' is not a tool of the domain${suggest(name, context.tools.keys())}`,
    );
    return null;
  }
  return tool;
}

function checkStatus(
  status: unknown,
  at: Path,
  source: Pick<PackSource<unknown>, 'complain'>,
): void {
  if (statuses.includes(status as (typeof statuses)[number])) return;
  source.complain(
    [...at, 'parameters', 'status'],
    `${JSON.stringify(status)} is not one of ${statuses.join(', ')}`,
  );
}

/** Every run ends: its last set_status is RESOLVED or ESCALATED, and RESOLVED without one. */
function finalStatus(
  spec: PlaybookSpec,
  path: Path,
  source: Pick<PackSource<unknown>, 'complain'>,
): 'RESOLVED' | 'ESCALATED' {
  const index = spec.steps.findLastIndex(
    (step) => kinds[step.action.toLowerCase()] === 'set_status',
  );
  if (index < 0) return 'RESOLVED';
  const status = spec.steps[index]?.parameters.status;
  if (status === 'ESCALATED' || status === 'RESOLVED') return status;
  source.complain(
    [...path, 'steps', index, 'parameters', 'status'],
    'the last set_status of a playbook must be RESOLVED or ESCALATED',
  );
  return 'RESOLVED';
}

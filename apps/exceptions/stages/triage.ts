/**
 * Triage: type, severity and deadline (P9-7).
 *
 * The type is the reported one if the pack knows it; else the first whose detection rule holds;
 * else one whose name occurs in the error text. No type at all is a permanent failure.
 *
 * Severity, where the original disagreed with itself: the tenant's override wins; then the most
 * severe matching rule; then what the source reported (the original dropped it); then what the
 * type's name suggests; then MEDIUM.
 *
 * Confidence: .9 type reported and rule hit, .85 rule only, .8 type only, .7 inferred without rule.
 */
import { permanentFailure } from 'millrace';
import { ExceptionNormalized, TriageCompleted, TriageRequested } from '../events.ts';
import type { CompiledType, Scope } from '../packs/compiled.ts';
import type { ExpressionInput } from '../packs/expression.ts';
import type { Packs } from '../packs/load.ts';
import { suggest } from '../packs/suggest.ts';
import type { Severity } from '../vocabulary.ts';
import {
  type EventWith,
  laterBy,
  type PayloadOf,
  type Stage,
  type StageContext,
  scopeOf,
} from './stage.ts';

type Normalized = PayloadOf<typeof ExceptionNormalized>;

export function createTriage(packs: Packs): Stage {
  return {
    group: 'triage',
    events: [ExceptionNormalized],
    handle(event, context) {
      triage(packs, event as EventWith<Normalized>, context);
    },
  };
}

function triage(packs: Packs, event: EventWith<Normalized>, context: StageContext): void {
  const normalized = event.payload;
  const { exception, exceptionId } = normalized;
  const scope = scopeOf(packs, event, exception.domain);
  const input: ExpressionInput = { exception, payload: exception.context };
  const { type, inferred } = classify(scope, normalized, input);
  const { severity, rule, evidence } = rate(type, normalized, input);
  context.publish(TriageRequested, {
    payload: { exceptionId, exceptionType: normalized.reportedType },
  });
  context.publish(TriageCompleted, {
    payload: {
      exceptionId,
      exception: {
        ...exception,
        type: type.name,
        severity,
        slaDeadline: earlier(
          normalized.reportedDeadline,
          exception.ingestedAt,
          type.slaMs[severity],
        ),
      },
      decision: 'TRIAGED',
      confidence: inferred ? (rule ? 0.85 : 0.7) : rule ? 0.9 : 0.8,
      evidence: inferred ? [`type inferred: ${inferred}`, evidence] : [evidence],
      nextStep: 'policy',
    },
  });
}

function classify(
  scope: Scope,
  normalized: Normalized,
  input: ExpressionInput,
): { type: CompiledType; inferred: string } {
  const { reportedType, hint } = normalized;
  const reported = reportedType === null ? undefined : scope.types.get(reportedType);
  if (reported !== undefined) return { type: reported, inferred: '' };
  for (const { type, expression } of scope.detection) {
    const found = scope.types.get(type);
    if (found !== undefined && expression.matches(input)) {
      return { type: found, inferred: expression.text };
    }
  }
  const named = hint === null ? undefined : typeNamedIn(scope, hint);
  if (named !== undefined) return { type: named, inferred: `named in ${hint}` };
  const names = [...scope.types.keys()];
  throw permanentFailure(
    reportedType === null
      ? `no exception type can be found for it in pack ${scope.domain}`
      : `'${reportedType}' is not an exception type of pack ${scope.domain}` +
          suggest(reportedType, names),
  );
}

/** The longest type name contained in the text, `SETTLEMENT_FAIL` as well as `settlement fail`. */
function typeNamedIn(scope: Scope, hint: string): CompiledType | undefined {
  const text = hint.toUpperCase().replace(/[\s-]+/g, '_');
  let best: CompiledType | undefined;
  for (const [name, type] of scope.types) {
    if (text.includes(name.toUpperCase()) && name.length > (best?.name.length ?? 0)) best = type;
  }
  return best;
}

function rate(
  type: CompiledType,
  normalized: Normalized,
  input: ExpressionInput,
): { severity: Severity; rule: boolean; evidence: string } {
  const hit = type.rules.find((rule) => rule.expression.matches(input));
  const rule = hit !== undefined;
  if (type.override !== null) {
    return { severity: type.override, rule, evidence: `tenant override → ${type.override}` };
  }
  if (hit !== undefined) return { severity: hit.severity, rule, evidence: hit.evidence };
  if (normalized.reportedSeverity !== null) {
    const severity = normalized.reportedSeverity;
    return { severity, rule, evidence: `severity reported by the source → ${severity}` };
  }
  if (type.heuristic !== null) {
    return { severity: type.heuristic, rule, evidence: `name of the type → ${type.heuristic}` };
  }
  return { severity: 'MEDIUM', rule, evidence: 'nothing else known → MEDIUM' };
}

/** The deadline by severity, or the one that came with the exception if that is earlier. */
function earlier(given: string | null, ingestedAt: string, slaMs: number): string {
  const own = laterBy(ingestedAt, slaMs);
  return given !== null && given < own ? given : own;
}

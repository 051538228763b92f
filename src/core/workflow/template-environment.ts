/** What environments change: `ALL` first, then by name; initialization is merged deeply. */
import type { JsonValue } from '../json.ts';
import { suggestName } from '../nearest-name.ts';
import type { TemplateProblem } from './graph.ts';
import type { JsonObject } from './template.ts';
import type { Place } from './template-field.ts';
import type { Partly, ReadOverride, ReadStep, ReadTemplate } from './template-read.ts';

export interface OverriddenStep {
  readonly step: Partly<ReadStep>;
  /** Where the last word on its retry policy was said. */
  readonly retryPath: Place;
}

const everyStep = 'ALL';

/** Steps as they are in the environment. Names are checked in all environments. */
export function overrideSteps(
  { steps = [], environments = {} }: Partly<ReadTemplate>,
  environment: string | null,
  problems: TemplateProblem[],
): readonly OverriddenStep[] {
  const names = steps.flatMap((step) => step?.name ?? []);
  for (const [name, one] of Object.entries(environments)) {
    checkNames(one?.steps ?? [], ['environments', name, 'steps'], names, problems);
  }
  const chosen = environment !== null && Object.hasOwn(environments, environment);
  const overrides = chosen ? (environments[environment]?.steps ?? []) : [];
  return steps.map((step, no) => {
    let overridden: OverriddenStep = { step: step ?? {}, retryPath: ['steps', no, 'retry'] };
    for (const wanted of [everyStep, step?.name]) {
      overrides.forEach((override, at) => {
        if (override === null || wanted === undefined || override.name !== wanted) return;
        const path = ['environments', environment as string, 'steps', at, 'retry'];
        overridden = apply(overridden, override, path);
      });
    }
    return overridden;
  });
}

function checkNames(
  overrides: readonly (Partly<ReadOverride> | null)[],
  path: Place,
  names: readonly string[],
  problems: TemplateProblem[],
): void {
  const seen = new Set<string>();
  overrides.forEach((override, at) => {
    const name = override?.name;
    if (name === undefined) return;
    const place = [...path, at, 'name'];
    if (seen.has(name)) {
      const hint = 'Write everything about a step into one entry.';
      problems.push({ path: place, message: `names '${name}' for the second time`, hint });
    }
    seen.add(name);
    if (name === everyStep || names.includes(name)) return;
    problems.push({
      path: place,
      message: `is '${name}', and there is no such step`,
      hint: suggestName(name, [...names, everyStep]),
    });
  });
}

function apply(
  { step, retryPath }: OverriddenStep,
  { handler, timeout_seconds, retry }: Partly<ReadOverride>,
  path: Place,
): OverriddenStep {
  const before = step.handler?.initialization as JsonObject | undefined;
  const more = handler?.initialization as JsonObject | undefined;
  return {
    step: {
      ...step,
      ...(timeout_seconds !== undefined && { timeout_seconds }),
      ...(retry !== undefined && { retry: { ...step.retry, ...retry } }),
      ...(more !== undefined && {
        handler: { ...step.handler, initialization: mergeObjects(before ?? {}, more) },
      }),
    },
    retryPath: retry === undefined ? retryPath : path,
  };
}

/** Objects are merged member by member, anything else is replaced. */
function mergeObjects(before: JsonObject, more: JsonObject): JsonObject {
  const merged: Record<string, JsonValue> = { ...before };
  for (const [name, member] of Object.entries(more)) {
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    merged[name] = isObject(old) && isObject(member) ? mergeObjects(old, member) : member;
  }
  return merged;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The one way from what a caller enqueues to the record that a store takes: validated, printed
 * once, defaults filled in. Called for each job, so nothing is computed that nobody asked for.
 *
 * Invariant: `payloadJson` is JSON text of what the schema gave, and parses back equal to it.
 */
import { MillraceError } from './errors.ts';
import type { NewJob, UniqueRule } from './job.ts';
import {
  checkDependencies,
  checkKey,
  checkOptionNames,
  checkParentFailure,
  checkSize,
  checkTenantId,
  checkUnique,
  checkWhole,
  delayOf,
  invalidJob,
  type JobOptions,
  noDependencies,
  printOverrides,
} from './job-options.ts';
import type { JobRules } from './job-rules.ts';
import { checkJson } from './json.ts';
import { describeIssues, fieldProblems, validateWith } from './schema.ts';

export const payloadBytesMax = 1_048_576;

/**
 * @throws MillraceError JOB_INVALID naming the field, PAYLOAD_NOT_JSON, JOB_TOO_LARGE, or
 * DEFINITION_INVALID for an asynchronous schema.
 */
export function prepareJob(
  rules: JobRules,
  given: unknown,
  options: JobOptions | undefined,
  nowMs: number,
): NewJob {
  const payload = validatePayload(rules, given);
  checkJson(payload);
  const payloadJson = JSON.stringify(payload);
  checkSize(rules.name, 'payload', payloadJson, payloadBytesMax);
  const { name, version, queue } = rules;
  if (options === undefined) {
    return {
      queue,
      tenantId: 'default',
      key: keyOf(rules, payload),
      priority: rules.priority,
      name,
      version,
      payloadJson,
      optionsJson: null,
      delayMs: 0,
      unique: uniqueOf(rules, payload),
      dependsOn: noDependencies,
      onParentFailure: 'wait',
    };
  }
  checkOptionNames(name, options);
  const { tenantId = 'default', key, priority, unique, onParentFailure = 'wait' } = options;
  const job: NewJob = {
    queue,
    tenantId: tenantId === 'default' ? tenantId : checkTenantId(name, tenantId),
    key: key === undefined ? keyOf(rules, payload) : checkKey(name, key),
    priority: priority === undefined ? rules.priority : checkWhole(name, 'priority', priority),
    name,
    version,
    payloadJson,
    optionsJson: printOverrides(rules, options),
    delayMs: delayOf(name, options, nowMs),
    unique: unique === undefined ? uniqueOf(rules, payload) : checkUnique(name, unique),
    dependsOn: checkDependencies(name, options.dependsOn),
    onParentFailure: checkParentFailure(name, onParentFailure),
  };
  if (job.unique?.mode !== 'debounce' || job.delayMs === 0) return job;
  throw invalidJob(
    name,
    'delayMs',
    'and the unique mode debounce exclude each other',
    'A debounced job runs when its window ends: make windowMs longer instead.',
  );
}

function validatePayload(rules: JobRules, given: unknown): unknown {
  const { name, schema } = rules;
  let value = given;
  if (schema !== null) {
    const result = validateWith(schema, given);
    if (result.issues !== undefined) {
      throw new MillraceError(
        'JOB_INVALID',
        `${name}: ${describeIssues(result.issues, 'payload')}.`,
        {
          details: { job: name, issues: fieldProblems(result.issues, 'payload') },
        },
      );
    }
    value = result.value;
  }
  // A job that needs no payload is enqueued without one.
  return value === undefined ? null : value;
}

function keyOf({ name, keyOf: ask }: JobRules, payload: unknown): string {
  if (ask === null) return '';
  const key = callDefinition(name, 'key', ask, payload);
  return key === undefined || key === null ? '' : checkKey(name, key);
}

function uniqueOf({ name, uniqueOf: ask }: JobRules, payload: unknown): UniqueRule | null {
  return ask === null ? null : checkUnique(name, callDefinition(name, 'unique', ask, payload));
}

function callDefinition(
  name: string,
  option: string,
  ask: (payload: unknown) => unknown,
  payload: unknown,
): unknown {
  try {
    return ask(payload);
  } catch (cause) {
    throw new MillraceError('JOB_INVALID', `${name}: its ${option} function threw.`, {
      cause,
      fix: `Give ${option} with the job, or mend ${option}() in the definition.`,
      details: { job: name, path: option },
    });
  }
}

/**
 * Stored jobs in the shape that this release knows, and what handlers answer in the shape that is
 * stored. A payload of the present version was checked when it was enqueued and is only parsed; an
 * older one goes through the upcasters and then through the schema. Called by the worker.
 */
import { type Backoff, parseBackoff } from './backoff.ts';
import { type ErrorCode, MillraceError } from './errors.ts';
import type { JobOverrides } from './job.ts';
import { payloadBytesMax } from './job-preparation.ts';
import type { JobRules } from './job-rules.ts';
import { checkJson, type JsonValue } from './json.ts';
import { describeIssues, fieldProblems, type StandardSchemaV1, validateWith } from './schema.ts';

/** How one job is run: its definition, and what it says otherwise itself. */
export interface JobSettings {
  readonly attempts: number;
  readonly backoff: Backoff;
  readonly timeoutMs: number;
  readonly correlationId: string | null;
  readonly causationId: string | null;
  readonly traceparent: string | null;
  readonly metadata: Readonly<Record<string, JsonValue>>;
}

const noMetadata: JobSettings['metadata'] = Object.freeze({});

/** @throws MillraceError JOB_VERSION_UNSUPPORTED, or JOB_INVALID for what upcasters gave. */
export function decodePayload(rules: JobRules, version: number, payloadJson: string): unknown {
  if (version === rules.version) return JSON.parse(payloadJson);
  const { name, upcasters, schema } = rules;
  if (!Number.isInteger(version) || version < 1 || version > rules.version) {
    throw new MillraceError(
      'JOB_VERSION_UNSUPPORTED',
      `${name}: version ${version} was enqueued; versions 1 to ${rules.version} are known here.`,
      { details: { job: name, version, versionMax: rules.version } },
    );
  }
  let current: unknown = JSON.parse(payloadJson);
  for (let from = version; from < rules.version; from += 1) {
    try {
      current = (upcasters[from] as (payload: unknown) => unknown)(current);
    } catch (cause) {
      const problem = `the upcaster from version ${from} threw: ${reasonOf(cause)}`;
      throw notUpcast(name, version, problem, { cause });
    }
  }
  if (schema === null) return current;
  const result = validateWith(schema, current);
  if (result.issues === undefined) return result.value;
  throw notUpcast(name, version, describeIssues(result.issues, 'payload'), {
    details: { issues: fieldProblems(result.issues, 'payload') },
  });
}

function notUpcast(
  name: string,
  version: number,
  problem: string,
  { cause, details }: { cause?: unknown; details?: object },
): MillraceError {
  return new MillraceError(
    'JOB_INVALID',
    `${name}: a payload of version ${version} could not be upcast: ${problem}.`,
    {
      cause,
      fix: `Mend the upcasters of ${name}, then retry the job.`,
      details: { job: name, version, ...details },
    },
  );
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'no Error';
}

export function usualSettings({ attempts, backoff, timeoutMs }: JobRules): JobSettings {
  return Object.freeze({
    attempts,
    backoff,
    timeoutMs,
    correlationId: null,
    causationId: null,
    traceparent: null,
    metadata: noMetadata,
  });
}

/** Never throws for what was stored: a policy that is not understood is the definition's. */
export function decodeSettings(usual: JobSettings, optionsJson: string | null): JobSettings {
  if (optionsJson === null) return usual;
  const overrides = JSON.parse(optionsJson) as JobOverrides;
  const { attempts, backoff, timeoutMs, correlationId, causationId, traceparent, metadata } =
    overrides;
  return {
    attempts: attempts ?? usual.attempts,
    backoff: backoff === undefined ? usual.backoff : readBackoff(backoff, usual.backoff),
    timeoutMs: timeoutMs ?? usual.timeoutMs,
    correlationId: correlationId ?? null,
    causationId: causationId ?? null,
    traceparent: traceparent ?? null,
    metadata: (metadata as JobSettings['metadata'] | undefined) ?? noMetadata,
  };
}

function readBackoff(stored: unknown, usual: Backoff): Backoff {
  try {
    return parseBackoff(stored);
  } catch {
    return usual;
  }
}

/**
 * JSON text of what a handler returned; null when it returned nothing.
 * @throws MillraceError RESULT_INVALID naming the path.
 */
export function printResult({ name, resultSchema }: JobRules, value: unknown): string | null {
  if (value === undefined && resultSchema === null) return null;
  return printChecked(name, 'RESULT_INVALID', 'result', resultSchema, value);
}

/** @throws MillraceError HANDLER_FAILED naming the path: the handler used its context wrongly. */
export function printProgress({ name, progressSchema }: JobRules, value: unknown): string {
  const printed = printChecked(name, 'HANDLER_FAILED', 'progress', progressSchema, value);
  return printed ?? 'null';
}

function printChecked(
  name: string,
  code: ErrorCode,
  root: string,
  schema: StandardSchemaV1 | null,
  value: unknown,
): string | null {
  const refuse = (problem: string, options: { cause?: unknown; fix?: string; details?: object }) =>
    new MillraceError(code, `${name}: ${problem}`, {
      cause: options.cause,
      fix: options.fix,
      details: { job: name, ...options.details },
    });
  let checked = value;
  if (schema !== null) {
    const result = validateWith(schema, value);
    if (result.issues !== undefined) {
      const issues = fieldProblems(result.issues, root);
      throw refuse(`${describeIssues(result.issues, root)}.`, { details: { issues } });
    }
    checked = result.value;
  }
  if (checked === undefined) return null;
  let json: string;
  try {
    checkJson(checked, { root });
    json = JSON.stringify(checked);
  } catch (cause) {
    if (!(cause instanceof MillraceError)) throw refuse(`${root} cannot be read.`, { cause });
    const { message, fix, details } = cause;
    throw refuse(message, { cause, fix, ...(details && { details }) });
  }
  if (json.length <= payloadBytesMax) return json;
  throw refuse(`${root} has ${json.length} characters as JSON; ${payloadBytesMax} are allowed.`, {
    fix: 'Store the large part elsewhere and return a reference to it.',
    details: { path: root },
  });
}

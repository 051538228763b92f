/**
 * What one job may say otherwise than its definition, and the checks of it. Called by prepareJob,
 * for the options that are given only.
 */
import { type Backoff, parseBackoff, type StorableBackoff } from './backoff.ts';
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';
import { findTextFault } from './event-fields.ts';
import {
  type JobOverrides,
  type JobRef,
  type ParentFailure,
  parseJobId,
  type UniqueRule,
  uniqueModes,
} from './job.ts';
import { type JobRules, jobRanges, type UniqueOption } from './job-rules.ts';
import { freezeJson, type JsonValue } from './json.ts';

/** What one job may say otherwise than its definition. */
export interface JobOptions {
  /** 'default' by default. */
  readonly tenantId?: string | undefined;
  /** Fairness and limit key. Default: the definition's `key(payload)`. */
  readonly key?: string | undefined;
  /** Smaller runs first. */
  readonly priority?: number | undefined;
  readonly delayMs?: number | undefined;
  /** Instead of delayMs; at once when it is past. */
  readonly runAt?: Date | undefined;
  /** Tries in all. */
  readonly attempts?: number | undefined;
  readonly backoff?: number | StorableBackoff | undefined;
  /** 0 for no limit. */
  readonly timeoutMs?: number | undefined;
  /** Default: the definition's `unique(payload)`; null for none. */
  readonly unique?: UniqueOption | null | undefined;
  /** Jobs that must complete first: their ids, or what enqueue() answered. */
  readonly dependsOn?: readonly (string | { readonly id: string })[] | undefined;
  /** 'wait' by default. */
  readonly onParentFailure?: ParentFailure | undefined;
  readonly correlationId?: string | undefined;
  readonly causationId?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
}

const optionNames = new Set<string>([
  ...['tenantId', 'key', 'priority', 'delayMs', 'runAt', 'attempts', 'backoff', 'timeoutMs'],
  ...['unique', 'dependsOn', 'onParentFailure', 'correlationId', 'causationId', 'traceparent'],
  'metadata',
  // The caller's own transaction, which whoever enqueues takes care of.
  'tx',
]);

const optionsBytesMax = 65_536;
const nameCharsMax = 128;
const keyCharsMax = 512;
const dependenciesMax = 1_000;
const delayMsMax = 3_650 * 86_400_000;
const parentFailures: readonly unknown[] = ['wait', 'cancel', 'run'];
export const noDependencies: readonly JobRef[] = Object.freeze([]);
const utf8 = new TextEncoder();

/** Names alone; each value is checked by the function that reads it. */
export function checkOptionNames(name: string, options: JobOptions): void {
  for (const option in options) {
    if (!optionNames.has(option)) throw invalidJob(name, option, 'is not an option');
  }
}

export function checkTenantId(name: string, value: unknown): string {
  return checkText(name, 'tenantId', value, nameCharsMax);
}

export function checkParentFailure(name: string, value: unknown): ParentFailure {
  if (parentFailures.includes(value)) return value as ParentFailure;
  throw invalidJob(name, 'onParentFailure', "is not 'wait', 'cancel' or 'run'");
}

export function checkUnique(name: string, value: unknown): UniqueRule | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'object') {
    throw invalidJob(name, 'unique', `is ${describeKind(value)}, not { key, mode, windowMs }`);
  }
  const { key, mode = 'reject', windowMs } = value as UniqueOption;
  checkText(name, 'unique.key', key, keyCharsMax);
  if (!uniqueModes.includes(mode)) {
    throw invalidJob(name, 'unique.mode', `is not one of ${uniqueModes.join(', ')}`);
  }
  if (mode === 'throttle' || mode === 'debounce') {
    const found = typeof windowMs === 'number' ? windowMs : describeKind(windowMs);
    if (typeof windowMs === 'number' && windowMs > 0 && windowMs <= delayMsMax) {
      return { key, mode, windowMs: Math.ceil(windowMs) };
    }
    const problem = `is ${found}; ${mode} needs milliseconds from 1 to ${delayMsMax}`;
    throw invalidJob(name, 'unique.windowMs', problem);
  }
  if (windowMs === undefined) return { key, mode, windowMs: 0 };
  throw invalidJob(
    name,
    'unique.windowMs',
    `is given, but mode is '${mode}'`,
    "Leave it out, or use mode 'throttle' or 'debounce'.",
  );
}

export function checkDependencies(name: string, value: JobOptions['dependsOn']): readonly JobRef[] {
  if (value === undefined) return noDependencies;
  if (!Array.isArray(value)) {
    throw invalidJob(name, 'dependsOn', `is ${describeKind(value)}, not an array`);
  }
  if (value.length > dependenciesMax) {
    throw invalidJob(name, 'dependsOn', `has ${value.length} jobs; ${dependenciesMax} are allowed`);
  }
  const ids = value.map((job: unknown, i) => {
    const id = typeof job === 'string' ? job : (job as { id?: unknown } | null)?.id;
    if (typeof id === 'string') return id;
    throw invalidJob(name, `dependsOn[${i}]`, `is ${describeKind(job)}, not a job id`);
  });
  return [...new Set(ids)].map(parseJobId);
}

export function delayOf(name: string, { delayMs, runAt }: JobOptions, nowMs: number): number {
  if (runAt === undefined) return delayMs === undefined ? 0 : checkDelay(name, 'delayMs', delayMs);
  if (delayMs !== undefined) {
    throw invalidJob(name, 'runAt', 'and delayMs exclude each other', 'Leave one of them out.');
  }
  if (!(runAt instanceof Date) || Number.isNaN(runAt.getTime())) {
    throw invalidJob(name, 'runAt', `is ${describeKind(runAt)} that holds no time`, 'Give a Date.');
  }
  return checkDelay(name, 'runAt', Math.max(0, runAt.getTime() - nowMs));
}

function checkDelay(name: string, path: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= delayMsMax) return Math.ceil(value);
  const found = typeof value === 'number' ? `${value} ms away` : describeKind(value);
  throw invalidJob(name, path, `is ${found}; 0 to ${delayMsMax} ms are allowed`);
}

/** JSON of what differs from the definition; null when nothing does. */
export function printOverrides(rules: JobRules, options: JobOptions): string | null {
  const { name } = rules;
  const { attempts, backoff, timeoutMs, correlationId, causationId, traceparent, metadata } =
    options;
  const overrides: { -readonly [K in keyof JobOverrides]: JobOverrides[K] } = {};
  if (attempts !== undefined && checkWhole(name, 'attempts', attempts) !== rules.attempts) {
    overrides.attempts = attempts;
  }
  if (timeoutMs !== undefined && checkWhole(name, 'timeoutMs', timeoutMs) !== rules.timeoutMs) {
    overrides.timeoutMs = timeoutMs;
  }
  if (backoff !== undefined) {
    const stored = storedBackoff(name, backoff, rules.backoff);
    if (stored !== null) overrides.backoff = stored;
  }
  if (correlationId !== undefined) {
    overrides.correlationId = checkText(name, 'correlationId', correlationId, keyCharsMax);
  }
  if (causationId !== undefined) {
    overrides.causationId = checkText(name, 'causationId', causationId, keyCharsMax);
  }
  if (traceparent !== undefined) {
    overrides.traceparent = checkText(name, 'traceparent', traceparent, keyCharsMax);
  }
  if (metadata !== undefined) {
    const checked = checkMetadata(name, metadata);
    if (Object.keys(checked).length > 0) overrides.metadata = checked;
  }
  // Nothing in it: the usual case, and three times as fast as printing it.
  for (const _ in overrides) return print(name, overrides);
  return null;
}

function print(name: string, overrides: JobOverrides): string {
  const json = JSON.stringify(overrides);
  checkSize(name, 'options', json, optionsBytesMax);
  return json;
}

function checkMetadata(name: string, value: unknown): JobOverrides['metadata'] & object {
  const metadata = freezeJson(value, { root: 'metadata' });
  if (typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata)) {
    return metadata as JobOverrides['metadata'] & object;
  }
  throw invalidJob(name, 'metadata', `is ${describeKind(value)}, not an object`);
}

function storedBackoff(name: string, value: unknown, usual: Backoff): StorableBackoff | null {
  const { kind, delay, ...numbers } = parseBackoff(value, `${name}: backoff`);
  if (kind === 'custom' || delay !== null) {
    throw invalidJob(
      name,
      'backoff',
      'is a function, which cannot be stored with a job',
      'Give it to defineJob, or use one of the other kinds here.',
    );
  }
  const stored = { kind, ...numbers };
  const same = JSON.stringify(stored) === JSON.stringify({ ...stored, ...usual, delay: undefined });
  return same ? null : stored;
}

export function checkWhole(
  name: string,
  path: 'priority' | 'attempts' | 'timeoutMs',
  value: unknown,
): number {
  const [min, max] = jobRanges[path];
  if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) {
    return value as number;
  }
  const found = typeof value === 'number' ? String(value) : describeKind(value);
  throw invalidJob(name, path, `is ${found}, not a whole number from ${min} to ${max}`);
}

/** '' stands for no key. */
export function checkKey(name: string, value: unknown): string {
  return value === '' ? value : checkText(name, 'key', value, keyCharsMax);
}

function checkText(name: string, path: string, value: unknown, charsMax: number): string {
  const fault = findTextFault(value, charsMax);
  if (fault === null) return value as string;
  throw invalidJob(name, path, fault.problem, fault.fix);
}

/** UTF-8 takes one to three bytes for a UTF-16 unit, so most texts need no count. */
export function checkSize(name: string, path: string, json: string, bytesMax: number): void {
  if (json.length * 3 <= bytesMax) return;
  const bytes = utf8.encode(json).length;
  if (bytes <= bytesMax) return;
  throw new MillraceError(
    'JOB_TOO_LARGE',
    `${name}: ${path} takes ${bytes} bytes as JSON; ${bytesMax} are allowed.`,
    { details: { job: name, path, bytes, bytesMax } },
  );
}

export function invalidJob(
  name: string,
  path: string,
  problem: string,
  fix?: string,
): MillraceError {
  return new MillraceError('JOB_INVALID', `${name}: ${path} ${problem}.`, {
    fix,
    details: { job: name, path },
  });
}

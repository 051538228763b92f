/**
 * The rules of a job's definition, checked once where it is written: a mistake in it shows at the
 * start of the process, not at the first job. Called by defineJob.
 */
import { type Backoff, defaultBackoff, parseBackoff } from './backoff.ts';
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';
import { checkVersions, type Upcaster } from './event-definition.ts';
import type { UniqueMode } from './job.ts';
import type { JobBatchContext, JobContext } from './job-context.ts';
import type { StandardSchemaV1 } from './schema.ts';

/** At most one job of a key; `UniqueRule` says what each mode does. */
export interface UniqueOption {
  /** 1 to 512 characters. */
  readonly key: string;
  /** 'reject' by default. */
  readonly mode?: UniqueMode | undefined;
  /** For throttle and debounce, and needed there. */
  readonly windowMs?: number | undefined;
}

/** What runs a job, as the worker sees it: types were checked where the job was defined. */
export type JobBody =
  | {
      readonly kind: 'single';
      readonly handle: (payload: unknown, context: JobContext) => unknown;
    }
  | {
      readonly kind: 'batch';
      readonly max: number;
      /** Waits so long for a fuller batch. */
      readonly waitMs: number;
      /** Answers with one result or Error for each job, in order. */
      readonly handle: (jobs: readonly unknown[], context: JobBatchContext) => unknown;
    }
  | {
      readonly kind: 'sandbox';
      /** Its default export runs in a thread of its own. */
      readonly module: URL;
      readonly memoryMbMax: number | null;
    }
  /** To enqueue only; workers elsewhere define the same name with a handler. */
  | { readonly kind: 'none' };

export interface JobRules {
  readonly name: string;
  readonly queue: string;
  readonly version: number;
  readonly upcasters: Readonly<Record<number, Upcaster>>;
  readonly priority: number;
  readonly attempts: number;
  readonly backoff: Backoff;
  /** 0 for no limit. */
  readonly timeoutMs: number;
  readonly transactional: boolean;
  readonly schema: StandardSchemaV1 | null;
  readonly resultSchema: StandardSchemaV1 | null;
  readonly progressSchema: StandardSchemaV1 | null;
  readonly keyOf: ((payload: unknown) => unknown) | null;
  readonly uniqueOf: ((payload: unknown) => unknown) | null;
  readonly body: JobBody;
  readonly description: string | undefined;
}

/** What defineJob takes, before anything is known to be right. */
type Given = Readonly<Record<string, unknown>>;

const optionNames = [
  'queue',
  'schema',
  'result',
  'progress',
  'version',
  'upcasters',
  'priority',
  'attempts',
  'backoff',
  'timeoutMs',
  'key',
  'unique',
  'transactional',
  'batch',
  'sandbox',
  'handler',
  'description',
];

const namePattern = /^[A-Za-z][A-Za-z0-9_.:/-]{0,127}$/;
const int4Max = 2_147_483_647;

/** Lowest and highest value of what a definition or a single job may say. */
export const jobRanges = {
  priority: [-int4Max - 1, int4Max],
  attempts: [1, 1_000],
  // Timers of longer than 24.8 days fire at once.
  timeoutMs: [0, 24 * 86_400_000],
  'batch.max': [1, 10_000],
  'batch.waitMs': [0, 60_000],
  'sandbox.memoryMbMax': [8, 65_536],
} as const;

/** @throws MillraceError DEFINITION_INVALID saying what to change, CONFIG_INVALID for backoff. */
export function parseJobRules(name: string, options: unknown): JobRules {
  if (typeof name !== 'string' || !namePattern.test(name)) {
    throw invalid(
      `The job name '${name}' is not a name.`,
      'Use 1 to 128 letters, digits, _ . : / or -, beginning with a letter.',
    );
  }
  if (typeof options !== 'object' || options === null) {
    throw invalid(`${name}: its options are ${describeKind(options)}, not an object.`);
  }
  const given = options as Given;
  const stranger = Object.keys(given).find((option) => !optionNames.includes(option));
  if (stranger !== undefined) {
    throw invalid(`${name}: ${stranger} is not an option.`, `Use ${optionNames.join(', ')}.`);
  }
  const { version = 1, upcasters = {}, queue = 'default', backoff, transactional = false } = given;
  if (typeof queue !== 'string' || !namePattern.test(queue)) {
    throw invalid(
      `${name}: the queue '${String(queue)}' is not a name.`,
      'Use 1 to 128 letters, digits, _ . : / or -, beginning with a letter.',
    );
  }
  if (typeof transactional !== 'boolean') {
    throw invalid(`${name}: transactional is ${describeKind(transactional)}, not a boolean.`);
  }
  checkVersions(name, 'jobs', version as number, upcasters as JobRules['upcasters']);
  return Object.freeze({
    name,
    queue,
    version: version as number,
    upcasters: upcasters as JobRules['upcasters'],
    priority: readWhole(name, given, 'priority', 0),
    attempts: readWhole(name, given, 'attempts', 3),
    backoff: backoff === undefined ? defaultBackoff : parseBackoff(backoff, `${name}.backoff`),
    timeoutMs: readWhole(name, given, 'timeoutMs', 300_000),
    transactional,
    schema: readSchema(name, given, 'schema'),
    resultSchema: readSchema(name, given, 'result'),
    progressSchema: readSchema(name, given, 'progress'),
    keyOf: readFunction(name, given, 'key') as JobRules['keyOf'],
    uniqueOf: readFunction(name, given, 'unique') as JobRules['uniqueOf'],
    body: readBody(name, given),
    description: given.description as string | undefined,
  });
}

function readBody(name: string, given: Given): JobBody {
  const { batch, sandbox, transactional } = given;
  const handler = readFunction(name, given, 'handler');
  if (sandbox !== undefined) {
    refuseBeside(name, 'sandbox', { handler, batch, transactional: transactional || undefined });
    return readSandbox(name, sandbox);
  }
  if (batch === undefined) {
    if (handler === null) return Object.freeze({ kind: 'none' });
    return Object.freeze({ kind: 'single', handle: handler as never });
  }
  // One failed item cannot be undone without its neighbours.
  refuseBeside(name, 'batch', { transactional: transactional || undefined });
  const rule = asObject(name, 'batch', batch, ['max', 'waitMs']);
  if (handler === null) throw invalid(`${name}: batch is given without a handler.`);
  return Object.freeze({
    kind: 'batch',
    max: readWhole(name, rule, 'batch.max', undefined),
    waitMs: readWhole(name, rule, 'batch.waitMs', 0),
    handle: handler as never,
  });
}

function refuseBeside(name: string, option: string, others: Given): void {
  for (const [other, value] of Object.entries(others)) {
    if (value === undefined || value === null) continue;
    throw invalid(`${name}: ${option} and ${other} exclude each other.`, `Leave one of them out.`);
  }
}

function readSandbox(name: string, sandbox: unknown): JobBody {
  const rule = asObject(name, 'sandbox', sandbox, ['module', 'memoryMbMax']);
  const { module, memoryMbMax } = rule;
  const url = module instanceof URL ? module : URL.parse(String(module));
  if (url === null) {
    throw invalid(
      `${name}: sandbox.module is ${describeKind(module)} that is not a URL.`,
      "Give new URL('./module.ts', import.meta.url).",
    );
  }
  return Object.freeze({
    kind: 'sandbox',
    module: url,
    memoryMbMax:
      memoryMbMax === undefined ? null : readWhole(name, rule, 'sandbox.memoryMbMax', undefined),
  });
}

function asObject(name: string, path: string, value: unknown, members: readonly string[]): Given {
  if (typeof value !== 'object' || value === null) {
    throw invalid(`${name}: ${path} is ${describeKind(value)}, not an object.`);
  }
  const stranger = Object.keys(value).find((member) => !members.includes(member));
  if (stranger === undefined) return value as Given;
  throw invalid(`${name}: ${path}.${stranger} is not an option.`, `Use ${members.join(', ')}.`);
}

/** @param path the name of the option; for a member of an object its path. */
function readWhole(
  name: string,
  given: Given,
  path: keyof typeof jobRanges,
  fallback: number | undefined,
): number {
  const member = path.slice(path.indexOf('.') + 1);
  const value = given[member] === undefined ? fallback : given[member];
  const [min, max] = jobRanges[path];
  if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) {
    return value as number;
  }
  const found = typeof value === 'number' ? String(value) : describeKind(value);
  throw invalid(`${name}: ${path} is ${found}, not a whole number from ${min} to ${max}.`);
}

function readFunction(name: string, given: Given, option: string): unknown {
  const value = given[option];
  if (value === undefined || value === null) return null;
  if (typeof value === 'function') return value;
  throw invalid(`${name}: ${option} is ${describeKind(value)}, not a function.`);
}

function readSchema(name: string, given: Given, option: string): StandardSchemaV1 | null {
  const schema = given[option] as StandardSchemaV1 | undefined;
  if (schema === undefined || schema === null) return null;
  if (typeof schema['~standard']?.validate === 'function') return schema;
  throw invalid(
    `${name}: ${option} is ${describeKind(schema)}, which does not implement Standard Schema.`,
    'Give a schema of zod 4, valibot or another library listed on standardschema.dev.',
  );
}

function invalid(message: string, fix?: string): MillraceError {
  return new MillraceError('DEFINITION_INVALID', message, { fix });
}

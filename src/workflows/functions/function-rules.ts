/**
 * The rules of a durable function's definition, checked once where it is written. Called by
 * defineWorkflow.
 */
import { type Backoff, defaultBackoff, parseBackoff } from '../../core/backoff.ts';
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition } from '../../core/event.ts';
import type { StandardSchemaV1 } from '../../core/schema.ts';
import type { Limits } from '../../ports/jobs.ts';
import {
  defaultLifecycle,
  type IdentityStrategy,
  identityStrategies,
  type LifecycleChoice,
} from '../definition.ts';
import {
  type DomainEventDeclaration,
  deliveryModes,
  publishConditions,
} from '../domain-event-declaration.ts';
import type { StepRetry, WorkflowContext } from './context.ts';

/** How a step is tried. */
export interface StepPolicy {
  readonly attempts: number;
  readonly backoff: Backoff;
  /** 0: no limit. */
  readonly timeoutMs: number;
}

export interface FunctionRules {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly description: string | undefined;
  readonly inputSchema: StandardSchemaV1 | null;
  readonly resultSchema: StandardSchemaV1 | null;
  readonly identity: IdentityStrategy;
  readonly priority: number;
  readonly key: ((input: unknown) => string | null | undefined) | null;
  readonly limits: Limits | null;
  readonly keyLimits: Limits | null;
  readonly lifecycle: LifecycleChoice;
  readonly publishesEvents: readonly DomainEventDeclaration[];
  readonly waitsFor: readonly string[];
  readonly policy: StepPolicy;
  readonly compensateOnCancel: boolean;
  readonly strict: boolean;
  readonly body: (context: WorkflowContext, input: unknown) => unknown;
}

type Given = Readonly<Record<string, unknown>>;

const optionNames = [
  'namespace',
  'version',
  'description',
  'input',
  'result',
  'identity',
  'priority',
  'key',
  'limits',
  'keyLimits',
  'lifecycle',
  'publishesEvents',
  'waitsFor',
  'retry',
  'timeoutMs',
  'compensateOnCancel',
  'strict',
];
const namePattern = /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/;
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}$/;
const int4Max = 2_147_483_647;
const timeoutMsMax = 24 * 86_400_000;

/** @throws MillraceError WORKFLOW_INVALID, or CONFIG_INVALID for the backoff. */
export function parseFunctionRules(name: unknown, options: unknown, body: unknown): FunctionRules {
  checkText(`The workflow name`, name, namePattern);
  const title = `Workflow ${name}`;
  if (typeof options !== 'object' || options === null) {
    throw invalid(`${title}: its options are ${describeKind(options)}, not an object.`);
  }
  const given = options as Given;
  const stranger = Object.keys(given).find((option) => !optionNames.includes(option));
  if (stranger !== undefined) {
    throw invalid(`${title}: ${stranger} is not an option.`, `Use ${optionNames.join(', ')}.`);
  }
  if (typeof body !== 'function') {
    throw invalid(`${title}: its function is ${describeKind(body)}.`);
  }
  const { namespace = 'default', version = '1', identity = 'always_unique', priority = 0 } = given;
  checkText(`${title}: namespace`, namespace, namePattern);
  checkText(`${title}: version`, version, versionPattern);
  if (!identityStrategies.includes(identity as IdentityStrategy)) {
    throw invalid(`${title}: identity is no strategy.`, `Use ${identityStrategies.join(', ')}.`);
  }
  return Object.freeze({
    name: name as string,
    namespace: namespace as string,
    version: version as string,
    description: given.description as string | undefined,
    inputSchema: readSchema(title, given, 'input'),
    resultSchema: readSchema(title, given, 'result'),
    identity: identity as IdentityStrategy,
    priority: readWhole(`${title}: priority`, priority, [-int4Max - 1, int4Max]),
    key: readFunction(title, given, 'key') as FunctionRules['key'],
    limits: readLimits(title, given, 'limits'),
    keyLimits: readLimits(title, given, 'keyLimits'),
    lifecycle: readLifecycle(title, given.lifecycle),
    publishesEvents: readDeclarations(title, given.publishesEvents),
    waitsFor: readWaits(title, given.waitsFor),
    policy: readPolicy(title, given, {
      attempts: 3,
      backoff: defaultBackoff,
      timeoutMs: 300_000,
    }),
    compensateOnCancel: readBoolean(title, given, 'compensateOnCancel'),
    strict: readBoolean(title, given, 'strict'),
    body: body as FunctionRules['body'],
  });
}

/** @param path how messages call the step: `Step 'charge'`. */
export function readPolicy(path: string, given: Given, usual: StepPolicy): StepPolicy {
  const { retry, timeoutMs } = given;
  if (retry === undefined && timeoutMs === undefined) return usual;
  const { attempts, backoff } = (retry ?? {}) as StepRetry;
  if (typeof (retry ?? {}) !== 'object') {
    throw invalid(`${path}: retry is ${describeKind(retry)}, not an object.`);
  }
  return {
    attempts:
      attempts === undefined
        ? usual.attempts
        : readWhole(`${path}: retry.attempts`, attempts, [1, 1_000]),
    backoff: backoff === undefined ? usual.backoff : parseBackoff(backoff, `${path}: backoff`),
    timeoutMs:
      timeoutMs === undefined
        ? usual.timeoutMs
        : readWhole(`${path}: timeoutMs`, timeoutMs, [0, timeoutMsMax]),
  };
}

function readWhole(path: string, value: unknown, [min, max]: readonly [number, number]): number {
  if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) {
    return value as number;
  }
  const found = typeof value === 'number' ? String(value) : describeKind(value);
  throw invalid(`${path} is ${found}, not a whole number from ${min} to ${max}.`);
}

function readSchema(title: string, given: Given, option: string): StandardSchemaV1 | null {
  const schema = given[option] as StandardSchemaV1 | undefined;
  if (schema === undefined || schema === null) return null;
  if (typeof schema['~standard']?.validate === 'function') return schema;
  throw invalid(
    `${title}: ${option} is ${describeKind(schema)}, which does not implement Standard Schema.`,
    'Give a schema of zod 4, valibot or another library listed on standardschema.dev.',
  );
}

function readFunction(title: string, given: Given, option: string): unknown {
  const value = given[option];
  if (value === undefined || value === null) return null;
  if (typeof value === 'function') return value;
  throw invalid(`${title}: ${option} is ${describeKind(value)}, not a function.`);
}

function readBoolean(title: string, given: Given, option: string): boolean {
  const value = given[option] ?? false;
  if (typeof value === 'boolean') return value;
  throw invalid(`${title}: ${option} is ${describeKind(value)}, not a boolean.`);
}

function readLimits(title: string, given: Given, option: string): Limits | null {
  const value = given[option] as Limits | null | undefined;
  if (value === undefined || value === null) return null;
  const { concurrency, rate } = value;
  const path = `${title}: ${option}`;
  if (concurrency !== undefined) readWhole(`${path}.concurrency`, concurrency, [1, 1_000_000]);
  if (rate !== undefined) {
    readWhole(`${path}.rate.max`, rate.max, [1, 1_000_000]);
    readWhole(`${path}.rate.perMs`, rate.perMs, [1, timeoutMsMax]);
  }
  if (concurrency === undefined && rate === undefined) {
    throw invalid(`${path} limits nothing.`, 'Give concurrency, rate: { max, perMs } or both.');
  }
  return Object.freeze({ ...value });
}

function readLifecycle(title: string, value: unknown): LifecycleChoice {
  if (value === undefined) return Object.freeze({});
  if (typeof value !== 'object' || value === null) {
    throw invalid(`${title}: lifecycle is ${describeKind(value)}, not an object.`);
  }
  for (const [member, limit] of Object.entries(value)) {
    const path = `${title}: lifecycle.${member}`;
    if (!(member in defaultLifecycle)) throw invalid(`${path} is not an option.`);
    if (limit === undefined) continue;
    if (member.startsWith('auto')) {
      if (typeof limit !== 'boolean') throw invalid(`${path} is ${describeKind(limit)}.`);
    } else if (limit !== null || member !== 'maxDurationMinutes') {
      readWhole(path, limit, [1, member === 'maxDurationMinutes' ? 43_200 : 10_080]);
    }
  }
  return Object.freeze({ ...value });
}

const eventPattern = /^[a-z0-9_]+(\.[a-z0-9_]+)+$/;

function readDeclarations(title: string, value: unknown): readonly DomainEventDeclaration[] {
  const list = (value ?? []) as readonly Partial<DomainEventDeclaration>[];
  if (!Array.isArray(list)) throw invalid(`${title}: publishesEvents is no array.`);
  return Object.freeze(
    list.map((given) => {
      const { name, delivery, condition = 'success' } = given;
      checkText(`${title}: an event name`, name, eventPattern);
      const known = delivery === undefined || deliveryModes.includes(delivery);
      if (!known || !publishConditions.includes(condition)) {
        throw invalid(
          `${title}: event ${name} has an unknown delivery or condition.`,
          `Use ${deliveryModes.join(', ')}; ${publishConditions.join(', ')}.`,
        );
      }
      return Object.freeze({ ...given, name: name as string, delivery, condition });
    }),
  );
}

function readWaits(title: string, value: unknown): readonly string[] {
  const list = (value ?? []) as readonly (string | EventDefinition)[];
  if (!Array.isArray(list)) throw invalid(`${title}: waitsFor is no array.`);
  return Object.freeze(
    list.map((event: string | EventDefinition) => {
      const type = typeof event === 'string' ? event : event?.type;
      if (typeof type === 'string') return type;
      throw invalid(`${title}: waitsFor holds ${describeKind(event)}, which is no event.`);
    }),
  );
}

function checkText(what: string, value: unknown, pattern: RegExp): void {
  if (typeof value === 'string' && pattern.test(value)) return;
  const found = typeof value === 'string' ? `'${value.slice(0, 100)}'` : describeKind(value);
  throw invalid(`${what} is ${found}, which does not fit ${pattern.source}.`);
}

function invalid(message: string, fix?: string): MillraceError {
  return new MillraceError('WORKFLOW_INVALID', message, { fix });
}

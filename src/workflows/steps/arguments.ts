/**
 * What handlers ask for by name (`depends`, `inputs`) and get as one object. A plain name is not
 * checked, and has the type that the handler's parameter says; `fromStep` and `fromInput` give a
 * type, and with a schema they check it.
 */
import { MillraceError } from '../../core/errors.ts';
import {
  describeIssues,
  fieldProblems,
  type StandardSchemaV1,
  validateWith,
} from '../../core/schema.ts';
import type { StepContext } from './step-context.ts';

/** A value that a handler asks for, with its type. */
export interface Source<T = unknown> {
  readonly of: 'step' | 'input';
  readonly name: string;
  readonly schema: StandardSchemaV1<unknown, T> | null;
  /** For the compiler only. */
  readonly type?: T;
}

/** The result of a step that comes before this one. */
export function fromStep<T = unknown>(
  name: string,
  schema: StandardSchemaV1<unknown, T> | null = null,
): Source<T> {
  return Object.freeze({ of: 'step', name, schema });
}

/** A member of the run's input. */
export function fromInput<T = unknown>(
  name: string,
  schema: StandardSchemaV1<unknown, T> | null = null,
): Source<T> {
  return Object.freeze({ of: 'input', name, schema });
}

export type SourceSpec = Readonly<Record<string, string | Source>>;

// biome-ignore lint/suspicious/noExplicitAny: the handler's parameter says what a plain name is
type ValueOf<S> = S extends Source<infer T> ? T : any;

export interface HandlerNeeds<Depends extends SourceSpec, Inputs extends SourceSpec> {
  /** Name of the argument → name of the step whose result it is. */
  readonly depends?: Depends | undefined;
  /** Name of the argument → member of the input. */
  readonly inputs?: Inputs | undefined;
}

export type HandlerArguments<Depends extends SourceSpec, Inputs extends SourceSpec> = {
  readonly [K in keyof Depends]: ValueOf<Depends[K]>;
} & { readonly [K in keyof Inputs]: ValueOf<Inputs[K]> } & { readonly context: StepContext };

interface Binding {
  readonly argument: string;
  readonly source: Source;
}

/** Reads the arguments of one call. Made once for each handler. */
export class ArgumentReader {
  readonly #bindings: readonly Binding[];
  /** Steps whose results are asked for. */
  readonly steps: readonly string[];

  /** @throws MillraceError DEFINITION_INVALID */
  constructor(
    handler: string,
    { depends = {}, inputs = {} }: HandlerNeeds<SourceSpec, SourceSpec>,
  ) {
    this.#bindings = [
      ...bind(handler, 'depends', depends, 'step'),
      ...bind(handler, 'inputs', inputs, 'input'),
    ];
    const taken = new Set(['context']);
    for (const { argument } of this.#bindings) {
      if (taken.has(argument)) throw invalid(handler, `the argument '${argument}' is named twice`);
      taken.add(argument);
    }
    this.steps = this.#bindings.flatMap(({ source }) => (source.of === 'step' ? source.name : []));
  }

  /** @throws MillraceError PERMANENT_FAILURE when a value breaks its schema: it will not change. */
  read(context: StepContext): Record<string, unknown> {
    const values: Record<string, unknown> = { context };
    for (const { argument, source } of this.#bindings) {
      const { of, name, schema } = source;
      const value = of === 'step' ? context.getDependencyResult(name) : context.getInput(name);
      values[argument] = schema === null ? value : check(context, source, schema, value);
    }
    return values;
  }
}

function* bind(
  handler: string,
  option: string,
  spec: unknown,
  of: Source['of'],
): Generator<Binding> {
  if (typeof spec !== 'object' || spec === null) {
    throw invalid(handler, `${option} is no object of names`);
  }
  for (const [argument, given] of Object.entries(spec as SourceSpec)) {
    if (typeof given === 'string') {
      yield { argument, source: { of, name: given, schema: null } };
    } else if (typeof given === 'object' && given !== null && given.of === of) {
      yield { argument, source: given };
    } else {
      const maker = of === 'step' ? 'fromStep' : 'fromInput';
      throw invalid(handler, `${option}.${argument} is no name and no ${maker}(…)`);
    }
  }
}

function check(
  context: StepContext,
  { of, name }: Source,
  schema: StandardSchemaV1,
  value: unknown,
): unknown {
  const result = validateWith(schema, value);
  if (result.issues === undefined) return result.value;
  const root = of === 'step' ? `result of '${name}'` : `input.${name}`;
  throw new MillraceError(
    'PERMANENT_FAILURE',
    `Step '${context.stepName}': ${describeIssues(result.issues, root)}.`,
    {
      fix: 'Correct the schema in the handler, or what it is given; then retry the step.',
      details: { issues: fieldProblems(result.issues, root) },
    },
  );
}

function invalid(handler: string, problem: string): MillraceError {
  return new MillraceError('DEFINITION_INVALID', `Handler '${handler}': ${problem}.`);
}

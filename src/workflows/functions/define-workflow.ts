/**
 * Durable functions as users define them. Everything is checked here once; what runs one is
 * `function-run.ts`.
 */
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition } from '../../core/event.ts';
import { payloadBytesMax } from '../../core/job-preparation.ts';
import { checkJson } from '../../core/json.ts';
import {
  describeIssues,
  fieldProblems,
  type StandardSchemaV1,
  validateWith,
} from '../../core/schema.ts';
import type { Limits } from '../../ports/jobs.ts';
import type {
  AnyWorkflowDefinition,
  IdentityStrategy,
  Lifecycle,
  WorkflowDefinition,
} from '../definition.ts';
import type { DomainEventDeclaration } from '../domain-event-declaration.ts';
import type { StepRetry, WorkflowContext } from './context.ts';
import { type FunctionRules, parseFunctionRules } from './function-rules.ts';
import { FunctionRun } from './function-run.ts';

export interface DefineWorkflowOptions<Given, Input, ResultInput, Result> {
  /** Its runs wait in `{namespace}_queue`; 'default' by default. */
  readonly namespace?: string | undefined;
  /** '1' by default. Runs stay with the version they began with. */
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  /** Of the input. Without one the input is what the function's parameter says, unchecked. */
  readonly input?: StandardSchemaV1<Given, Input> | undefined;
  /** Checks what the function returns, and gives its type. */
  readonly result?: StandardSchemaV1<ResultInput, Result> | undefined;
  /** 'always_unique' by default. */
  readonly identity?: IdentityStrategy | undefined;
  /** Smaller runs first; 0 by default. */
  readonly priority?: number | undefined;
  /** Fairness and limit key of a run; none by default. */
  readonly key?: ((input: Input) => string | null | undefined) | undefined;
  /** Of all its runs. */
  readonly limits?: Limits | undefined;
  /** Of the runs with one key. */
  readonly keyLimits?: Limits | undefined;
  /** Members left out are as it is configured. */
  readonly lifecycle?: Partial<Lifecycle> | undefined;
  /** Domain events that it may publish. */
  readonly publishesEvents?:
    | readonly (Pick<DomainEventDeclaration, 'name'> & Partial<DomainEventDeclaration>)[]
    | undefined;
  /** Events that it waits for. */
  // biome-ignore lint/suspicious/noExplicitAny: definitions of different payloads share one list
  readonly waitsFor?: readonly (string | EventDefinition<any>)[] | undefined;
  /** Of steps that say nothing else. */
  readonly retry?: StepRetry | undefined;
  /** Of a try of a step that says nothing else; 300,000 by default, 0 for no limit. */
  readonly timeoutMs?: number | undefined;
  /** Steps are undone when the run is cancelled, too. */
  readonly compensateOnCancel?: boolean | undefined;
  /** Finished steps that a replay does not ask for fail the run, instead of a warning. */
  readonly strict?: boolean | undefined;
}

/** The function of a definition: replayHistory calls it. */
export interface FunctionWorkflow<Input = unknown, Result = unknown>
  extends WorkflowDefinition<Input, Result> {
  readonly kind: 'function';
  readonly rules: FunctionRules;
}

/**
 * Declares a durable function.
 * @example
 * const Order = defineWorkflow('order', { input: z.object({ id: z.string() }) },
 *   async (ctx, { id }) => {
 *     const charge = await ctx.run('charge', () => pay(id));
 *     await ctx.sleep('cool down', '1h');
 *     return ctx.run('ship', () => ship(id, charge));
 *   });
 * @throws MillraceError WORKFLOW_INVALID, or CONFIG_INVALID for the backoff.
 */
export function defineWorkflow<
  Input = unknown,
  Given = Input,
  ResultInput = unknown,
  Returned extends ResultInput = ResultInput,
  Result = Returned,
>(
  name: string,
  options: DefineWorkflowOptions<Given, Input, ResultInput, Result>,
  body: (context: WorkflowContext, input: Input) => Returned | Promise<Returned>,
): FunctionWorkflow<Given, Result> {
  const rules = parseFunctionRules(name, options, body);
  const { namespace, version, description, identity, priority, key, limits, keyLimits } = rules;
  const definition: FunctionWorkflow = {
    kind: 'function',
    namespace,
    name,
    version,
    description,
    identity,
    priority,
    key,
    limits,
    keyLimits,
    lifecycle: rules.lifecycle,
    template: null,
    publishesEvents: rules.publishesEvents,
    waitsFor: rules.waitsFor,
    // The engine would end it at once; here open waits are closed, and steps may be undone.
    ownVerbs: ['cancel'],
    rules,
    printInput: (input) => printInput(rules, input),
    drive: (run) => new FunctionRun(run, rules).drive(),
  };
  return Object.freeze(definition) as FunctionWorkflow<Given, Result>;
}

/** @throws MillraceError WORKFLOW_INPUT_INVALID naming the path. */
function printInput({ name, inputSchema }: FunctionRules, input: unknown): string {
  const refuse = (problem: string, details?: Readonly<Record<string, unknown>>, cause?: unknown) =>
    new MillraceError('WORKFLOW_INPUT_INVALID', `${name}: ${problem}`, { cause, details });
  let value = input;
  if (inputSchema !== null) {
    const result = validateWith(inputSchema, input);
    if (result.issues !== undefined) {
      const issues = fieldProblems(result.issues, 'input');
      throw refuse(`${describeIssues(result.issues, 'input')}.`, { issues });
    }
    ({ value } = result);
  }
  if (value === undefined) return 'null';
  try {
    checkJson(value, { root: 'input' });
  } catch (cause) {
    const { message, details } = cause as MillraceError;
    throw refuse(message, details, cause);
  }
  const json = JSON.stringify(value);
  if (json.length <= payloadBytesMax) return json;
  throw refuse(`input has ${json.length} characters as JSON; ${payloadBytesMax} are allowed.`);
}

/** @throws MillraceError WORKFLOW_INVALID for a declared DAG. */
export function rulesOf(definition: AnyWorkflowDefinition): FunctionRules {
  const { rules } = definition as Partial<FunctionWorkflow>;
  if (definition.kind === 'function' && rules !== undefined) return rules;
  throw new MillraceError('WORKFLOW_INVALID', `${definition.name} is no durable function.`);
}

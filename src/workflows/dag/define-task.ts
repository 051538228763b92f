/**
 * Declared workflows in TypeScript. Each step knows the results of the steps that it comes after;
 * what is built is the same compiled template that YAML gives, with the handlers next to it.
 */
import { MillraceError } from '../../core/errors.ts';
import {
  describeIssues,
  fieldProblems,
  type StandardSchemaV1,
  validateWith,
} from '../../core/schema.ts';
import { batchOf } from '../steps/define-branching.ts';
import { makeHandler } from '../steps/define-handler.ts';
import {
  HandlerRegistry,
  type HandlerSource,
  type StepFunction,
} from '../steps/handler-registry.ts';
import type { StepContext } from '../steps/step-context.ts';
import { compileTemplateValue } from '../template/load.ts';
import { type DagDefinition, workflowFromTemplate } from './definition.ts';
import type {
  BatchOptions,
  Converging,
  DecisionOptions,
  DecisionResult,
  NoSteps,
  Simplify,
  StepResults,
  Stored,
  TaskOptions,
  TaskResult,
  TaskStep,
  TaskStepOptions,
  TaskStepSettings,
} from './task-types.ts';

type Raw = Readonly<Record<string, unknown>>;

/** What the builders share: plain data, so that every step can be seen. */
interface Parts {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: the input is known to the builder's type
  readonly options: TaskOptions<any>;
  readonly steps: readonly Raw[];
  readonly handlers: Readonly<Record<string, HandlerSource>>;
  /** Names that stand for batches: their planning step has another name. */
  readonly batches: ReadonlySet<string>;
  /** Decision → its branches, which must follow. */
  readonly branches: Readonly<Record<string, readonly string[]>>;
}

/** A name that no step has yet. */
type Fresh<Name extends string, Steps> = Name extends keyof Steps
  ? `There is a step '${Name}' already.`
  : Name;
/** A step is there for sure unless it is a branch, or comes after one. */
type MaybeAfter<Name extends string, After extends string, Maybe extends string> =
  | Maybe
  | (Name extends Maybe ? Name : Extract<After, Maybe> extends never ? never : Name);
type Names<Steps> = keyof Steps & string;

/**
 * Declares a workflow whose steps are known before it runs.
 * @example
 * const order = defineTask('order', { input: z.object({ items: z.array(z.string()) }) })
 *   .step('validate', ({ input }) => ({ total: input.items.length }))
 *   .step('charge', {
 *     after: ['validate'],
 *     handler: ({ results, idempotencyKey }) => pay(results.validate.total, idempotencyKey),
 *   })
 *   .build();
 */
export function defineTask<Input = unknown>(
  name: string,
  options: TaskOptions<Input> = {},
): TaskBuilder<Input> {
  return new TaskBuilder<Input>({
    name,
    options,
    steps: [],
    handlers: {},
    batches: new Set(),
    branches: {},
  });
}

/**
 * Every call gives a builder of its own. `Steps`: results by name. `Leaves`: steps that none comes
 * after so far. `Maybe`: steps that need not be created.
 */
export class TaskBuilder<
  Input,
  Steps extends StepResults = NoSteps,
  Leaves extends string = never,
  Maybe extends string = never,
> {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Runs when all steps under `after` are done. */
  step<const Name extends string, R, const After extends Names<Steps> = never>(
    name: Fresh<Name, Steps>,
    step:
      | TaskStepOptions<Input, Simplify<Pick<Steps, After>>, After, R>
      | ((step: TaskStep<Input, NoSteps>) => R),
  ): TaskBuilder<
    Input,
    Simplify<Steps & { readonly [K in Name]: Stored<Awaited<R>> }>,
    Exclude<Leaves, After> | Name,
    MaybeAfter<Name, After, Maybe>
  > {
    return this.#addStep(name, typeof step === 'function' ? { handler: step } : step, null);
  }

  /** Runs when those of the steps under `after` that were created are done. */
  converge<const Name extends string, R, const After extends Names<Steps>>(
    name: Fresh<Name, Steps>,
    step: TaskStepOptions<Input, Converging<Steps, After, Maybe>, After, R> & {
      readonly after: readonly After[];
    },
  ): TaskBuilder<
    Input,
    Simplify<Steps & { readonly [K in Name]: Stored<Awaited<R>> }>,
    Exclude<Leaves, After> | Name,
    Maybe
  > {
    return this.#addStep(name, step, 'deferred_convergence');
  }

  /** Chooses which of its branches are created. */
  decision<
    const Name extends string,
    const Branch extends string,
    const After extends Names<Steps> = never,
  >(
    name: Fresh<Name, Steps>,
    step: DecisionOptions<Input, Simplify<Pick<Steps, After>>, After, Branch>,
  ): TaskBuilder<
    Input,
    Simplify<Steps & { readonly [K in Name]: DecisionResult }>,
    Exclude<Leaves, After> | Name,
    MaybeAfter<Name, After, Maybe> | Branch
  > {
    const { branches, ...rest } = step;
    return this.#addStep(name, rest as never, 'decision', { [name]: branches });
  }

  /** Cuts work into batches, and does them side by side. Its result is the list of theirs. */
  batch<const Name extends string, R, const After extends Names<Steps> = never>(
    name: Fresh<Name, Steps>,
    step: BatchOptions<Input, Simplify<Pick<Steps, After>>, After, R>,
  ): TaskBuilder<
    Input,
    Simplify<Steps & { readonly [K in Name]: readonly Stored<Awaited<R>>[] }>,
    Exclude<Leaves, After> | Name,
    MaybeAfter<Name, After, Maybe>
  > {
    const parts = this.#parts;
    const { plan, worker, size, parallelism, onFailure, after = [], ...settings } = step;
    const planName = `${name}_plan`;
    const dependencies = dependenciesOf(parts, after);
    const planning = this.#callable(planName);
    const working = this.#callable(name);
    const work = worker as unknown as (step: unknown) => unknown;
    return new TaskBuilder({
      ...parts,
      batches: new Set([...parts.batches, name]),
      handlers: {
        ...parts.handlers,
        [planning]: plan as unknown as StepFunction,
        [working]: (ctx: StepContext) => work(withBatch(ctx)),
      },
      steps: [
        ...parts.steps,
        {
          name: planName,
          type: 'batchable',
          dependencies,
          handler: { callable: planning, initialization: settings.config ?? {} },
          ...rawSettings({ ...settings, publishes: undefined, transactional: false }),
          batch_config: {
            worker_template: name,
            ...(size !== undefined && { batch_size: size }),
            ...(parallelism !== undefined && { parallelism }),
            ...(onFailure !== undefined && { failure_strategy: onFailure }),
          },
        },
        {
          name,
          type: 'batch_worker',
          dependencies: [planName, ...dependencies],
          handler: { callable: working, initialization: settings.config ?? {} },
          ...rawSettings(settings),
        },
      ],
    });
  }

  /**
   * The workflow, to work on and to start.
   * @throws MillraceError TEMPLATE_INVALID or WORKFLOW_INVALID when the steps contradict each other
   */
  build(): DagDefinition<Input, TaskResult<Steps, Leaves, Maybe>> {
    const { name, options, steps, handlers, branches } = this.#parts;
    const { namespace = 'default', version = '1.0.0', description, input, key } = options;
    checkBranches(name, branches, steps);
    const template = compileTemplateValue({
      ...{ name, namespace_name: namespace, version, steps },
      ...(description !== undefined && { description }),
      ...(options.identity !== undefined && { identity: options.identity }),
      ...(options.priority !== undefined && { priority: options.priority }),
      ...(options.lifecycle !== undefined && { lifecycle: rawLifecycle(options.lifecycle) }),
    });
    const { limits = null, keyLimits = null, concurrency } = options;
    const registry = new HandlerRegistry(handlers);
    return workflowFromTemplate({ ...template, limits, keyLimits }, registry, {
      concurrency,
      input,
      key,
    });
  }

  #callable(step: string): string {
    return `${this.#parts.name}.${step}`;
  }

  #addStep<Next>(
    name: string,
    // biome-ignore lint/suspicious/noExplicitAny: its types were checked by whoever calls
    options: TaskStepOptions<any, any, string, any>,
    type: string | null,
    branches: Readonly<Record<string, readonly string[]>> = {},
  ): Next {
    const parts = this.#parts;
    const { after = [], handler, compensate, result } = options;
    const callable = this.#callable(name);
    const call = result === undefined ? handler : checked(name, handler, result);
    const source = compensate
      ? makeHandler(
          'step',
          callable,
          {
            compensate: ({ context, result: done }: { context: never; result: never }) =>
              compensate(context, done),
          },
          ({ context }: { readonly context: never }) => call(context),
        )
      : (call as unknown as StepFunction);
    const converges = type === null && after.some((one) => parts.batches.has(one));
    const step: Raw = {
      name,
      type: converges ? 'deferred_convergence' : (type ?? 'standard'),
      dependencies: dependenciesOf(parts, after),
      handler: { callable, initialization: options.config ?? {} },
      ...rawSettings(options),
    };
    return new TaskBuilder({
      ...parts,
      steps: [...parts.steps, step],
      handlers: { ...parts.handlers, [callable]: source },
      branches: { ...parts.branches, ...branches },
    }) as Next;
  }
}

/** Whoever comes after a batch comes after its planning, too: there may be no batches. */
function dependenciesOf({ batches }: Parts, after: readonly string[]): readonly string[] {
  return after.flatMap((name) => (batches.has(name) ? [`${name}_plan`, name] : [name]));
}

/** The context with a batch beside it: its getters stay what they are. */
function withBatch(ctx: StepContext): unknown {
  const batch = batchOf(ctx);
  return new Proxy(ctx, {
    get: (target, member) => {
      if (member === 'batch') return batch;
      const value = Reflect.get(target, member, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function checked(
  step: string,
  // biome-ignore lint/suspicious/noExplicitAny: its types were checked by whoever calls
  handler: (context: any) => unknown,
  schema: StandardSchemaV1,
): (context: unknown) => unknown {
  const check = (value: unknown) => {
    const result = validateWith(schema, value);
    if (result.issues === undefined) return result.value;
    const message = `Step '${step}': ${describeIssues(result.issues, 'result')}.`;
    throw new MillraceError('RESULT_INVALID', message, {
      details: { step, issues: fieldProblems(result.issues, 'result') },
    });
  };
  return (context) => {
    const answer = handler(context);
    return answer instanceof Promise ? answer.then(check) : check(answer);
  };
}

function rawSettings(settings: TaskStepSettings): Raw {
  const { description, retry, timeoutMs, transactional, namespace, publishes } = settings;
  return {
    ...(description !== undefined && { description }),
    ...(retry === false && { retry: { retryable: false } }),
    ...(retry && {
      retry: {
        ...(retry.attempts !== undefined && { max_attempts: retry.attempts }),
        ...(retry.backoff !== undefined && { backoff: retry.backoff }),
        ...(retry.delayMs !== undefined && { backoff_base_ms: retry.delayMs }),
        ...(retry.maxDelayMs !== undefined && { max_backoff_ms: retry.maxDelayMs }),
      },
    }),
    ...(timeoutMs !== undefined && timeoutMs > 0 && { timeout_seconds: timeoutMs / 1_000 }),
    ...(transactional && { transactional }),
    ...(namespace !== undefined && { namespace }),
    ...(publishes !== undefined && { publishes_events: publishes }),
  };
}

function rawLifecycle(lifecycle: NonNullable<TaskOptions<unknown>['lifecycle']>): Raw {
  const snake = (member: string) =>
    member.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(
    Object.entries(lifecycle)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([member, value]) => [snake(member), value]),
  );
}

function checkBranches(task: string, branches: Parts['branches'], steps: readonly Raw[]): void {
  for (const [decision, names] of Object.entries(branches)) {
    for (const branch of names) {
      const step = steps.find(({ name }) => name === branch);
      if ((step?.dependencies as readonly string[] | undefined)?.includes(decision)) continue;
      const problem = step ? `does not come after it` : 'is no step';
      throw new MillraceError(
        'WORKFLOW_INVALID',
        `${task}: decision '${decision}' has the branch '${branch}', which ${problem}.`,
        { fix: `Declare it with .step('${branch}', { after: ['${decision}'], … }).` },
      );
    }
  }
}

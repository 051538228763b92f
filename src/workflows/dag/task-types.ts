/**
 * Types of workflows declared in TypeScript: what each step gets from those before it, and what
 * the run answers. No code.
 */

import type { DeepReadonly } from '../../core/json.ts';
import type { StandardSchemaV1 } from '../../core/schema.ts';
import type { BackoffName, FailureStrategy } from '../../core/workflow/template.ts';
import type { Limits } from '../../ports/jobs.ts';
import type { IdentityStrategy, Lifecycle } from '../definition.ts';
import type { DomainEventDeclaration } from '../domain-event-declaration.ts';
import type { Batch, Decision } from '../steps/define-branching.ts';
import type { BatchPlan, DecisionOutcome } from '../steps/outcomes.ts';
import type { StepContext } from '../steps/step-context.ts';
import type { StepFailure, StepSuccess } from '../steps/step-handler.ts';

/** Name of a step → what it answers. */
export type StepResults = Readonly<Record<string, unknown>>;
// biome-ignore lint/complexity/noBannedTypes: no steps yet, and intersections with it are clean
export type NoSteps = {};

/** What a handler returned, as it reads once it was stored. */
export type Stored<R> =
  R extends StepSuccess<infer T>
    ? Stored<T>
    : R extends StepFailure
      ? never
      : R extends undefined
        ? null
        : R extends void
          ? null
          : DeepReadonly<R>;

/** What a handler gets: results of the steps under `after`, and everything of StepContext. */
export interface TaskStep<Input, Results>
  extends Omit<StepContext, 'input' | 'inputData' | 'results'> {
  readonly input: DeepReadonly<Input>;
  readonly inputData: DeepReadonly<Input>;
  readonly results: Results;
}

interface TaskRetry {
  /** Tries in all; 3 by default. */
  readonly attempts?: number | undefined;
  /** 'exponential' by default. */
  readonly backoff?: BackoffName | undefined;
  /** Milliseconds before the second try, from 100; 1,000 by default. */
  readonly delayMs?: number | undefined;
  /** Most milliseconds between two tries; 30,000 by default. */
  readonly maxDelayMs?: number | undefined;
}

/** What steps of all kinds may say. */
export interface TaskStepSettings {
  readonly description?: string | undefined;
  /** False: its first failure is its last. */
  readonly retry?: TaskRetry | false | undefined;
  /** Of one try; no limit by default. */
  readonly timeoutMs?: number | undefined;
  /** The handler gets `tx`, which commits with its result. */
  readonly transactional?: boolean | undefined;
  /** Another namespace, whose workers run it. */
  readonly namespace?: string | undefined;
  /** Domain events: with the configured delivery, after 'success', unless they say otherwise. */
  readonly publishes?:
    | readonly (Pick<DomainEventDeclaration, 'name' | 'description' | 'schema'> &
        Partial<Pick<DomainEventDeclaration, 'delivery' | 'condition' | 'publisher'>>)[]
    | undefined;
  /** What the handler finds in `stepConfig`. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

export interface TaskStepOptions<Input, Results, After extends string, R> extends TaskStepSettings {
  /** Steps that come first. */
  readonly after?: readonly After[] | undefined;
  /** Checks what the handler answers. */
  readonly result?: StandardSchemaV1<unknown, Awaited<R>> | undefined;
  readonly handler: (step: TaskStep<Input, Results>) => R;
  /** Undoes the step when the run fails for good. */
  readonly compensate?:
    | ((step: TaskStep<Input, Results>, result: Stored<Awaited<NoInfer<R>>>) => unknown)
    | undefined;
}

export interface DecisionOptions<Input, Results, After extends string, Branch extends string>
  extends TaskStepSettings {
  readonly after?: readonly After[] | undefined;
  /** Steps that it chooses among: each is declared later, with this decision under `after`. */
  readonly branches: readonly Branch[];
  readonly handler: (
    step: TaskStep<Input, Results>,
  ) => Choice<NoInfer<Branch>> | Promise<Choice<NoInfer<Branch>>>;
}

/** Branches to create: none, one, some; createSteps(…) says more in the result. */
export type Choice<Branch extends string> =
  | Branch
  | readonly Branch[]
  | Exclude<Decision, string | readonly string[]>;

export interface BatchOptions<Input, Results, After extends string, R> extends TaskStepSettings {
  readonly after?: readonly After[] | undefined;
  /** Says how much there is, or where each batch begins and ends. */
  readonly plan: (step: TaskStep<Input, Results>) => BatchPlan | null | Promise<BatchPlan | null>;
  /** Items of a batch; 1,000 by default. */
  readonly size?: number | undefined;
  /** Batches of one run at a time; 10 by default. */
  readonly parallelism?: number | undefined;
  /** What a batch that failed for good means for the others; 'continue_on_failure' by default. */
  readonly onFailure?: FailureStrategy | undefined;
  /** Called once for each batch. */
  readonly worker: (step: TaskStep<Input, Results> & { readonly batch: Batch }) => R;
}

export interface TaskOptions<Input> {
  /** 'default' by default. */
  readonly namespace?: string | undefined;
  /** '1.0.0' by default; raise it when steps change their meaning. */
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly input?: StandardSchemaV1<unknown, Input> | undefined;
  /** 'strict' by default: the same input again is the same run. */
  readonly identity?: IdentityStrategy | undefined;
  /** Smaller runs first; 0 by default. */
  readonly priority?: number | undefined;
  /** Concurrency and fairness key of a run. */
  readonly key?: ((input: Input) => string | null | undefined) | undefined;
  readonly limits?: Limits | undefined;
  readonly keyLimits?: Limits | undefined;
  /** Members left out are as it is configured; unlike a function, a task has an end. */
  readonly lifecycle?: (Partial<Lifecycle> & { readonly maxDurationMinutes?: number }) | undefined;
  /** Handlers of one run at a time; 10 by default. */
  readonly concurrency?: number | undefined;
}

export interface DecisionResult {
  readonly decision_point_outcome: DecisionOutcome;
}

/** Results of the leaves; a leaf that need not have been created may be missing. */
export type TaskResult<
  Steps extends StepResults,
  Leaves extends string,
  Maybe extends string,
> = Simplify<
  { readonly [K in Exclude<Leaves, Maybe> & keyof Steps]: Steps[K] } & {
    readonly [K in Extract<Leaves, Maybe> & keyof Steps]?: Steps[K];
  }
>;

/** Of a convergence: what need not have been created may be missing. */
export type Converging<
  Steps extends StepResults,
  After extends string,
  Maybe extends string,
> = Simplify<
  { readonly [K in Exclude<After, Maybe> & keyof Steps]: Steps[K] } & {
    readonly [K in Extract<After, Maybe> & keyof Steps]?: Steps[K];
  }
>;

export type Simplify<T> = { [K in keyof T]: T[K] };

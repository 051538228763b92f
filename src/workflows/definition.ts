/**
 * A workflow as the engine sees it, whichever front end made it: a declared DAG (`dag/`) or a
 * durable function (`functions/`). The engine knows no more of it than this.
 */
import type { IdentityStrategy } from '../core/workflow/identity.ts';
import type { Limits } from '../ports/jobs.ts';
import type { StoredTemplate } from '../ports/workflows.ts';
import type { DomainEventDeclaration } from './domain-event-declaration.ts';
import type { Drive, HeldRun } from './run/driver.ts';

export { type IdentityStrategy, identityStrategies } from '../core/workflow/identity.ts';

/** When an open run counts as stale, and what becomes of it then. Minutes as in templates. */
export interface Lifecycle {
  readonly maxDurationMinutes: number | null;
  readonly maxWaitingForDependenciesMinutes: number;
  readonly maxWaitingForRetryMinutes: number;
  readonly maxStepsInProcessMinutes: number;
  readonly autoFailOnTimeout: boolean;
  readonly autoDlqOnTimeout: boolean;
}

export const defaultLifecycle: Lifecycle = Object.freeze({
  maxDurationMinutes: 1_440,
  maxWaitingForDependenciesMinutes: 60,
  maxWaitingForRetryMinutes: 30,
  maxStepsInProcessMinutes: 30,
  autoFailOnTimeout: false,
  autoDlqOnTimeout: true,
});

/** What somebody says of it; what is left open is decided elsewhere. */
export type LifecycleChoice = {
  readonly [Member in keyof Lifecycle]?: Lifecycle[Member] | undefined;
};

export const lifecycleMembers = Object.keys(defaultLifecycle) as readonly (keyof Lifecycle)[];

export function completeLifecycle(
  said: LifecycleChoice,
  otherwise: Lifecycle = defaultLifecycle,
): Lifecycle {
  const own = lifecycleMembers.filter((member) => said[member] !== undefined);
  return { ...otherwise, ...Object.fromEntries(own.map((member) => [member, said[member]])) };
}

/** Frozen. */
export interface WorkflowDefinition<Input = unknown, Result = unknown> {
  readonly kind: 'dag' | 'function';
  /** Its runs wait in `{namespace}_queue`; those with limits in `{namespace}_{name}_queue`. */
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly description: string | undefined;
  readonly identity: IdentityStrategy;
  /** Smaller runs first. */
  readonly priority: number;
  /** Concurrency and fairness key of a run. */
  readonly key: ((input: Input) => string | null | undefined) | null;
  /** Of all its runs, and of those with one key. With any of them runs go through the queue. */
  readonly limits: Limits | null;
  readonly keyLimits: Limits | null;
  /** What it says itself; the rest is as the process that looks is configured. */
  readonly lifecycle: LifecycleChoice;
  /** Null for functions: their code is what it is. */
  readonly template: StoredTemplate | null;
  readonly publishesEvents: readonly DomainEventDeclaration[];
  /** Types of events that its steps wait for. */
  readonly waitsFor: readonly string[];
  /** Validates and prints. @throws MillraceError WORKFLOW_INPUT_INVALID naming the path. */
  printInput(input: unknown): string;
  /** Verbs that its driver carries out, of those that the engine would (`run/verbs.ts`). */
  readonly ownVerbs?: readonly string[] | undefined;
  /** Goes on with a run that this process holds, until it ended, rests or was lost. */
  drive(run: HeldRun): Promise<Drive>;
  /** For the compiler only. */
  readonly types?: { readonly input: Input; readonly result: Result };
}

// biome-ignore lint/suspicious/noExplicitAny: definitions of different inputs share one list
export type AnyWorkflowDefinition = WorkflowDefinition<any, any>;

export function queueOf(definition: AnyWorkflowDefinition): string {
  const { namespace, name, limits, keyLimits } = definition;
  return limits || keyLimits ? `${namespace}_${name}_queue` : `${namespace}_queue`;
}

/** Name of the jobs that its runs are taken over by; another version waits for its workers. */
export function jobNameOf(definition: AnyWorkflowDefinition): string {
  return `run ${definition.namespace}/${definition.name}@${definition.version}`;
}

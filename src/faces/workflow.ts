/**
 * Workflows as users write them: steps one after the other, each with the name of the processor
 * that does it. Classes with nothing in them where an interface would do, so that importing their
 * names also works where types are stripped and not compiled.
 */

export abstract class WorkflowStep {
  declare readonly name: string;
  /** Registered by `WorkflowEngine.registerStepProcessor`, in this process or another one. */
  declare readonly processor: string;
  /** Tries in all; those of the engine's options by default. 0 and 1 both mean: no second try. */
  declare readonly retryAttempts?: number;
  /** Milliseconds between tries. */
  declare readonly retryDelay?: number;
  /** Milliseconds one try may take; 0 for no limit. */
  declare readonly timeout?: number;
}

export abstract class Workflow {
  declare readonly name: string;
  declare readonly steps: readonly WorkflowStep[];
  /** Called with what the last step returned. */
  onSuccess?(result: unknown): unknown;
  /** Called with a JobError when a step has failed for good or was cancelled. */
  onError?(error: Error): unknown;
}

/** What a step can know beside its data. */
export interface StepContext {
  readonly runId: string;
  readonly workflow: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Aborted when the run is cancelled, the step takes too long, or the process lets go of it. */
  readonly signal: AbortSignal;
}

export abstract class StepProcessor {
  /** What it returns is the data of the next step, and of the last step the run's result. */
  abstract process(step: WorkflowStep, data: unknown, context: StepContext): Promise<unknown>;
}

/** A processor, or a function that does the same. */
export type StepWork =
  | StepProcessor
  | ((step: WorkflowStep, data: never, context: StepContext) => unknown);

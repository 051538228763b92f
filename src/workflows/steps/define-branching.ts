/** Handlers of steps that make a run grow: decisions, and batches with their workers. */
import type { HandlerArguments, SourceSpec } from './arguments.ts';
import { type HandlerDefinition, type HandlerOptions, makeHandler } from './define-handler.ts';
import type { BatchCursor, BatchPlan, DecisionOutcome } from './outcomes.ts';
import { refuse } from './outcomes.ts';
import type { StepContext } from './step-context.ts';

type Nothing = Record<never, never>;
type MaybePromise<T> = T | Promise<T>;

/** Names of steps to create, createSteps(…) with more to keep, or nothing. */
export type Decision =
  | string
  | readonly string[]
  | { readonly decision_point_outcome: DecisionOutcome }
  | null
  | undefined;

/**
 * Declares the handler of a decision.
 * @example
 * const route = defineDecisionHandler(
 *   'Orders::Route',
 *   { depends: { check: fromStep<{ risk: number }>('check') } },
 *   ({ check }) => (check.risk > 0.5 ? ['review'] : ['ship', 'invoice']),
 * );
 */
export function defineDecisionHandler<
  const Depends extends SourceSpec = Nothing,
  const Inputs extends SourceSpec = Nothing,
>(
  callable: string,
  options: HandlerOptions<Depends, Inputs, { decision_point_outcome: DecisionOutcome }>,
  decide: (args: HandlerArguments<Depends, Inputs>) => MaybePromise<Decision>,
): HandlerDefinition<{ decision_point_outcome: DecisionOutcome }> {
  return makeHandler('decision', callable, options, decide);
}

/**
 * Declares the handler of a batchable step: it says how much there is, others do it.
 * @example
 * const plan = defineBatchAnalyzer('Import::Plan', { inputs: { file: 'file' } },
 *   async ({ file }) => ({ totalItems: await countRows(file) }));
 */
export function defineBatchAnalyzer<
  const Depends extends SourceSpec = Nothing,
  const Inputs extends SourceSpec = Nothing,
>(
  callable: string,
  options: HandlerOptions<Depends, Inputs, unknown>,
  analyze: (args: HandlerArguments<Depends, Inputs>) => MaybePromise<BatchPlan | null | undefined>,
): HandlerDefinition {
  return makeHandler('batch_analyzer', callable, options, analyze);
}

/** The batch that a worker works on. */
export interface Batch {
  readonly id: string;
  readonly start: unknown;
  /** Numbers: without it. Otherwise as the analyzer meant it. */
  readonly end: unknown;
  readonly size: number;
}

/**
 * Declares the handler of a batch worker; it runs once for each batch.
 * @example
 * const load = defineBatchWorker('Import::Load', { inputs: { file: 'file' } },
 *   async ({ file, batch, context }) => {
 *     const from = context.checkpointCursor ?? batch.start;
 *     return { rows: await copyRows(file, from, batch.end, context.signal) };
 *   });
 */
export function defineBatchWorker<
  const Depends extends SourceSpec = Nothing,
  const Inputs extends SourceSpec = Nothing,
  Result = unknown,
>(
  callable: string,
  options: HandlerOptions<Depends, Inputs, NoInfer<Result>>,
  work: (
    args: HandlerArguments<Depends, Inputs> & { readonly batch: Batch },
  ) => MaybePromise<Result>,
): HandlerDefinition<Result> {
  return makeHandler('batch_worker', callable, options, work, (ctx) => ({ batch: batchOf(ctx) }));
}

/** @throws MillraceError RESULT_INVALID when the step has no batch. */
export function batchOf(ctx: StepContext): Batch {
  const cursor = ctx.stepInputs as BatchCursor | null;
  if (cursor === null || !('batch_id' in cursor)) {
    throw refuse(
      ctx.stepName,
      'has no batch to work on',
      'Use a batch worker for steps of type batch_worker only.',
    );
  }
  const { batch_id, start_cursor, end_cursor, batch_size } = cursor;
  return { id: batch_id, start: start_cursor, end: end_cursor, size: batch_size };
}

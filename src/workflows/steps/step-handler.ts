/**
 * Handlers written as classes, and what they answer with. A function may answer so as well: the
 * driver takes an answer apart wherever it comes from.
 */
import type { StepContext } from './step-context.ts';
import { stepError } from './step-failure.ts';

const answer = Symbol('millrace.step-answer');

export interface StepSuccess<Result = unknown> {
  readonly [answer]: 'success';
  readonly success: true;
  readonly result: Result;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface StepFailure {
  readonly [answer]: 'failure';
  readonly success: false;
  readonly message: string;
  readonly errorType: string;
  readonly retryable: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export type StepAnswer<Result = unknown> = StepSuccess<Result> | StepFailure;

/** The step is done. `metadata` goes to the step's log. */
export function success<Result>(
  result: Result,
  metadata: Readonly<Record<string, unknown>> = {},
): StepSuccess<Result> {
  return { [answer]: 'success', success: true, result, metadata };
}

/**
 * The step failed. `metadata.retryAfterMs`: when to try again, instead of by the step's policy.
 * @param errorType kind of the failure, kept as the error's code.
 */
export function failure(
  message: string,
  errorType = 'STEP_FAILED',
  retryable = true,
  metadata: Readonly<Record<string, unknown>> = {},
): StepFailure {
  return { [answer]: 'failure', success: false, message, errorType, retryable, metadata };
}

/**
 * Base of handlers written as classes. One instance serves all steps: keep nothing of a step in it.
 * @example
 * class ChargeCard extends StepHandler {
 *   static readonly handlerName = 'Payments::ChargeCardHandler';
 *   async call(ctx: StepHandlerContext) {
 *     const charge = await pay(ctx.getInput('amount'), ctx.idempotencyKey);
 *     return charge.ok ? this.success(charge) : this.failure('declined', 'CardDeclined', false);
 *   }
 * }
 */
export abstract class StepHandler {
  /** What templates call it by; the name of the class by default. */
  static readonly handlerName: string | undefined = undefined;

  abstract call(ctx: StepContext): unknown;

  success<Result>(
    result: Result,
    metadata?: Readonly<Record<string, unknown>>,
  ): StepSuccess<Result> {
    return success(result, metadata);
  }

  failure(
    message: string,
    errorType?: string,
    retryable?: boolean,
    metadata?: Readonly<Record<string, unknown>>,
  ): StepFailure {
    return failure(message, errorType, retryable, metadata);
  }
}

/** What was answered with success(); a failure() is thrown; anything else is the result itself. */
export function resultOfAnswer(value: unknown, ctx: StepContext): unknown {
  if (typeof value !== 'object' || value === null || !(answer in value)) return value;
  const given = value as StepAnswer;
  if (given.success) {
    if (Object.keys(given.metadata).length > 0) ctx.log.debug('success', given.metadata);
    return given.result;
  }
  const { message, errorType, retryable, metadata } = given;
  const { retryAfterMs } = metadata;
  throw stepError(message, {
    type: errorType,
    retryable,
    meta: metadata,
    delayMs: typeof retryAfterMs === 'number' ? retryAfterMs : undefined,
  });
}

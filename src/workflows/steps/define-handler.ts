/**
 * Handlers of steps written as functions. A handler has a name, by which templates call it, and
 * gets what it asks for as named arguments.
 */
import { MillraceError } from '../../core/errors.ts';
import {
  ArgumentReader,
  type HandlerArguments,
  type HandlerNeeds,
  type SourceSpec,
} from './arguments.ts';
import type { StepContext } from './step-context.ts';
import type { StepAnswer } from './step-handler.ts';

/** Which types of steps a handler is for; 'step': all of them. */
type HandlerKind = 'step' | 'decision' | 'batch_analyzer' | 'batch_worker';

/** Frozen. */
export interface HandlerDefinition<Result = unknown> {
  readonly kind: HandlerKind;
  /** What templates call it by. */
  readonly callable: string;
  /** Steps whose results it asks for: they must come before the step that it handles. */
  readonly depends: readonly string[];
  call(ctx: StepContext): unknown;
  /** Undoes the step when its run fails for good; null: nothing is to be undone. */
  readonly compensate: ((ctx: StepContext) => unknown) | null;
  /** For the compiler only. */
  readonly type?: Result;
}

export interface HandlerOptions<Depends extends SourceSpec, Inputs extends SourceSpec, Result>
  extends HandlerNeeds<Depends, Inputs> {
  /** Undoes the step when its run fails for good. `result` is what the handler answered. */
  readonly compensate?:
    | ((args: HandlerArguments<Depends, Inputs> & { readonly result: Result }) => unknown)
    | undefined;
}

/**
 * Declares a handler.
 * @example
 * const charge = defineHandler(
 *   'Payments::ChargeCardHandler',
 *   { depends: { cart: fromStep<Cart>('validate_cart') }, inputs: { card: fromInput('card') } },
 *   async ({ cart, card, context }) => pay(card, cart.total, context.idempotencyKey),
 * );
 * @throws MillraceError DEFINITION_INVALID
 */
export function defineHandler<
  const Depends extends SourceSpec = Record<never, never>,
  const Inputs extends SourceSpec = Record<never, never>,
  Result = unknown,
>(
  callable: string,
  options: HandlerOptions<Depends, Inputs, NoInfer<Result>>,
  handle: (
    args: HandlerArguments<Depends, Inputs>,
  ) => Result | StepAnswer<Result> | Promise<Result | StepAnswer<Result>>,
): HandlerDefinition<Result> {
  return makeHandler('step', callable, options, handle);
}

/** Options of any kind of handler, past the compiler. */
interface RawOptions extends HandlerNeeds<SourceSpec, SourceSpec> {
  readonly compensate?: ((args: never) => unknown) | undefined;
}

/** For the other kinds of handlers: `more` are arguments beside those that were asked for. */
export function makeHandler<Result>(
  kind: HandlerKind,
  callable: string,
  options: RawOptions,
  handle: (args: never) => unknown,
  more: (context: StepContext) => Readonly<Record<string, unknown>> = () => nothing,
): HandlerDefinition<Result> {
  checkCallable(callable);
  if (typeof handle !== 'function') {
    throw new MillraceError('DEFINITION_INVALID', `Handler '${callable}' has no function.`);
  }
  const { compensate } = options;
  const reader = new ArgumentReader(callable, options);
  return Object.freeze({
    kind,
    callable,
    depends: reader.steps,
    call: (ctx: StepContext) => handle({ ...reader.read(ctx), ...more(ctx) } as never),
    compensate:
      compensate === undefined
        ? null
        : (ctx: StepContext) => compensate({ ...reader.read(ctx), result: ctx.ownResult } as never),
  });
}

const nothing = Object.freeze({});

/** @throws MillraceError DEFINITION_INVALID */
export function checkCallable(callable: unknown): asserts callable is string {
  if (typeof callable === 'string' && callable !== '' && callable.length <= 255) return;
  throw new MillraceError('DEFINITION_INVALID', 'A handler needs a name of 1 to 255 characters.', {
    fix: "Name it as templates call it, such as 'Payments::ChargeCardHandler'.",
  });
}

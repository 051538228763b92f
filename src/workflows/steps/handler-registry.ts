/**
 * Handlers of a process by the names that templates call them. Built when a template is
 * registered; every name in it is resolved then, so that a wrong one is refused at start and not
 * when its step's turn comes.
 */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import { suggestName } from '../../core/nearest-name.ts';
import type { CompiledHandler } from '../../core/workflow/template.ts';
import { checkCallable, type HandlerDefinition } from './define-handler.ts';
import type { StepContext } from './step-context.ts';
import { resultOfAnswer, StepHandler } from './step-handler.ts';

export type StepFunction = (ctx: StepContext) => unknown;
type StepHandlerClass = (new () => StepHandler) & {
  readonly handlerName?: string | undefined;
};
export type HandlerSource = HandlerDefinition | StepHandler | StepHandlerClass | StepFunction;

/** By name, or as a list: definitions and classes have names of their own. */
export type Handlers =
  | Readonly<Record<string, HandlerSource>>
  | readonly (HandlerDefinition | StepHandler | StepHandlerClass)[];

/** Finds what is not in the list, such as modules by path. Null: it does not know the name. */
export type HandlerResolver = (callable: string) => HandlerSource | null | undefined;
export type HandlerResolvers = Readonly<Record<string, HandlerResolver>>;

/** What a step calls. */
export interface BoundHandler {
  readonly kind: HandlerDefinition['kind'];
  readonly depends: readonly string[];
  call(ctx: StepContext): unknown;
  readonly compensate: ((ctx: StepContext) => unknown) | null;
}

export class HandlerRegistry {
  readonly #sources = new Map<string, HandlerSource>();
  readonly #resolvers: ReadonlyMap<string, HandlerResolver>;
  /** One instance of each class. */
  readonly #instances = new Map<StepHandlerClass, StepHandler>();

  /** @throws MillraceError DEFINITION_INVALID */
  constructor(handlers: Handlers = {}, resolvers: HandlerResolvers = {}) {
    const entries = Array.isArray(handlers)
      ? (handlers as readonly HandlerSource[]).map((one) => [nameOf(one), one] as const)
      : Object.entries(handlers);
    for (const [name, source] of entries) {
      checkCallable(name);
      if (this.#sources.has(name)) {
        throw new MillraceError('DEFINITION_INVALID', `There are two handlers named '${name}'.`);
      }
      if (kindOf(source) === null) {
        const found = describeKind(source);
        throw new MillraceError('DEFINITION_INVALID', `Handler '${name}' is ${found}.`, {
          fix: 'Give a function, a class that extends StepHandler, or what defineHandler gave.',
        });
      }
      this.#sources.set(name, source);
    }
    this.#resolvers = new Map(Object.entries(resolvers));
  }

  get names(): readonly string[] {
    return [...this.#sources.keys()];
  }

  /**
   * Null: nobody knows it.
   * @throws MillraceError WORKFLOW_INVALID for an unknown resolver, or a method that is not there.
   */
  bind({ callable, method, resolver }: CompiledHandler): BoundHandler | null {
    const source = this.#find(callable, resolver);
    if (source === null) return null;
    const kind = kindOf(source);
    if (kind === 'definition') return bindDefinition(source as HandlerDefinition, callable, method);
    if (kind === 'function') return bindFunction(source as StepFunction, callable, method);
    const handler =
      kind === 'class' ? this.#instanceOf(source as StepHandlerClass) : (source as StepHandler);
    return bindObject(handler, callable, method);
  }

  /** Why `bind` answered null, for whoever wrote the name. */
  explainUnknown({ callable }: CompiledHandler): { message: string; fix: string } {
    const near = suggestName(callable, this.#sources.keys());
    const known = this.names.length === 0 ? 'There are none.' : `There are ${listed(this.names)}.`;
    return {
      message: `there is no handler '${callable}'`,
      fix: near ?? `Add it to the handlers, or correct the name. ${known}`,
    };
  }

  #find(callable: string, resolver: string | null): HandlerSource | null {
    if (resolver !== null) {
      const resolve = this.#resolvers.get(resolver);
      if (resolve) return resolve(callable) ?? null;
      const near = suggestName(resolver, this.#resolvers.keys()) ?? 'None is registered.';
      throw new MillraceError('WORKFLOW_INVALID', `There is no resolver '${resolver}'.`, {
        fix: `Add it to the resolvers. ${near}`,
      });
    }
    const source = this.#sources.get(callable);
    if (source !== undefined) return source;
    for (const resolve of this.#resolvers.values()) {
      const found = resolve(callable);
      if (found !== null && found !== undefined) return found;
    }
    return null;
  }

  #instanceOf(type: StepHandlerClass): StepHandler {
    let instance = this.#instances.get(type);
    if (instance === undefined) {
      instance = new type();
      this.#instances.set(type, instance);
    }
    return instance;
  }
}

const listedMax = 20;

function listed(names: readonly string[]): string {
  const shown = names.slice(0, listedMax).join(', ');
  return names.length > listedMax ? `${shown} and ${names.length - listedMax} more` : shown;
}

function kindOf(source: unknown): 'definition' | 'object' | 'class' | 'function' | null {
  if (source instanceof StepHandler) return 'object';
  if (typeof source === 'function') {
    return source.prototype instanceof StepHandler ? 'class' : 'function';
  }
  if (typeof source !== 'object' || source === null) return null;
  const { callable, call } = source as Partial<HandlerDefinition>;
  return typeof callable === 'string' && typeof call === 'function' ? 'definition' : null;
}

function nameOf(source: HandlerSource): string {
  switch (kindOf(source)) {
    case 'definition':
      return (source as HandlerDefinition).callable;
    case 'object': {
      const type = (source as StepHandler).constructor as StepHandlerClass;
      return type.handlerName ?? type.name;
    }
    case 'class':
      return (source as StepHandlerClass).handlerName ?? (source as StepHandlerClass).name;
    default:
      throw new MillraceError(
        'DEFINITION_INVALID',
        'A function in a list of handlers has no name.',
        {
          fix: 'Give handlers as an object: { name: function }.',
        },
      );
  }
}

function bindDefinition(
  definition: HandlerDefinition,
  callable: string,
  method: string | null,
): BoundHandler {
  if (method !== null && method !== 'call') throw noMethod(callable, method, []);
  const { kind, depends, compensate } = definition;
  return {
    kind,
    depends,
    call: (ctx) => finish(definition.call(ctx), ctx),
    compensate: compensate === null ? null : (ctx) => finish(compensate(ctx), ctx),
  };
}

function bindFunction(handle: StepFunction, callable: string, method: string | null): BoundHandler {
  if (method !== null && method !== 'call') throw noMethod(callable, method, []);
  return { kind: 'step', depends: [], call: (ctx) => finish(handle(ctx), ctx), compensate: null };
}

function bindObject(handler: StepHandler, callable: string, method: string | null): BoundHandler {
  const name = method ?? 'call';
  const methods = handler as unknown as Readonly<Record<string, unknown>>;
  const own = methodsOf(handler);
  if (!own.includes(name)) throw noMethod(callable, name, own);
  const { compensate } = methods;
  return {
    kind: 'step',
    depends: [],
    call: (ctx) => finish((methods[name] as StepFunction).call(handler, ctx), ctx),
    compensate:
      typeof compensate === 'function' ? (ctx) => finish(compensate.call(handler, ctx), ctx) : null,
  };
}

/** Of the class itself, and of those between it and StepHandler. */
function methodsOf(handler: StepHandler): readonly string[] {
  const names: string[] = [];
  let prototype: object = Object.getPrototypeOf(handler) as object;
  while (prototype !== StepHandler.prototype && prototype !== null) {
    for (const name of Object.getOwnPropertyNames(prototype)) {
      const { value } = Object.getOwnPropertyDescriptor(prototype, name) ?? {};
      if (name !== 'constructor' && typeof value === 'function') names.push(name);
    }
    prototype = Object.getPrototypeOf(prototype) as object;
  }
  return names;
}

function noMethod(callable: string, method: string, methods: readonly string[]): MillraceError {
  const near = suggestName(method, methods) ?? 'Only classes have methods beside `call`.';
  return new MillraceError('WORKFLOW_INVALID', `Handler '${callable}' has no method '${method}'.`, {
    fix: near,
  });
}

/** Takes success(…) and failure(…) apart, at once or when the promise has its value. */
function finish(answer: unknown, ctx: StepContext): unknown {
  if (typeof answer !== 'object' || answer === null) return answer;
  if (typeof (answer as { then?: unknown }).then !== 'function') return resultOfAnswer(answer, ctx);
  return (answer as PromiseLike<unknown>).then((value) => resultOfAnswer(value, ctx));
}

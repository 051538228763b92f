/**
 * A workflow of a compiled template and handlers, as the engine knows workflows. The template is
 * stored by its hash; runs of an older one go on with it, and with the handlers of this one.
 */
import { MillraceError } from '../../core/errors.ts';
import { checkJson } from '../../core/json.ts';
import {
  describeIssues,
  fieldProblems,
  type StandardSchemaV1,
  validateWith,
} from '../../core/schema.ts';
import { restoreTemplate } from '../../core/workflow/compile-template.ts';
import type { DomainEventDeclaration } from '../../core/workflow/domain-event.ts';
import type { CompiledTemplate } from '../../core/workflow/template.ts';
import type { StoredTemplate } from '../../ports/workflows.ts';
import type { WorkflowDefinition } from '../definition.ts';
import {
  HandlerRegistry,
  type HandlerResolvers,
  type Handlers,
} from '../steps/handler-registry.ts';
import { compileSchema } from '../template/json-schema.ts';
import { storedTemplate } from '../template/stored-template.ts';
import { driveDag } from './driver.ts';
import { DagPlan } from './plan.ts';

export interface TemplateWorkflowOptions<Input = unknown> {
  /** Find handlers that are in no list, by the name that templates give under `resolver`. */
  readonly resolvers?: HandlerResolvers | undefined;
  /** Handlers of one run at a time; 10 by default. */
  readonly concurrency?: number | undefined;
  /** Checks the input before the template's own input_schema does, and gives its type. */
  readonly input?: StandardSchemaV1<unknown, Input> | undefined;
  /** Concurrency and fairness key of a run, instead of the template's. */
  readonly key?: ((input: Input) => string | null | undefined) | undefined;
}

/** Frozen. */
export interface DagDefinition<Input = unknown, Result = unknown>
  extends WorkflowDefinition<Input, Result> {
  readonly kind: 'dag';
  readonly compiled: CompiledTemplate;
  readonly registry: HandlerRegistry;
  /** The same workflow as another template of it says, with the handlers of this one. */
  fromTemplate(stored: StoredTemplate): DagDefinition<Input, Result>;
}

/**
 * @throws MillraceError WORKFLOW_INVALID for handlers that nobody knows, that are for another type
 * of step, or that ask for steps which do not come before theirs.
 * @example
 * const template = parseTemplate(await readFile('orders.yaml', 'utf8'), { file: 'orders.yaml' });
 * mill.workflows.work(workflowFromTemplate(template, [validateOrder, chargeCard]));
 */
export function workflowFromTemplate<Input = unknown, Result = unknown>(
  compiled: CompiledTemplate,
  handlers: Handlers | HandlerRegistry,
  options: TemplateWorkflowOptions<Input> = {},
): DagDefinition<Input, Result> {
  const registry =
    handlers instanceof HandlerRegistry
      ? handlers
      : new HandlerRegistry(handlers, options.resolvers);
  return define(compiled, registry, options, false);
}

function define<Input, Result>(
  compiled: CompiledTemplate,
  registry: HandlerRegistry,
  options: TemplateWorkflowOptions<Input>,
  lenient: boolean,
): DagDefinition<Input, Result> {
  const { concurrency } = options;
  const plan = new DagPlan(compiled, registry, { concurrency, lenient });
  const { stalenessAction: _stalenessAction, ...lifecycle } = compiled.lifecycle;
  const { namespace, name, version, description, identity, priority, limits, keyLimits } = compiled;
  return Object.freeze<DagDefinition<Input, Result>>({
    ...{ kind: 'dag', namespace, name, version, description, identity, priority },
    ...{ limits, keyLimits, lifecycle, compiled, registry },
    key: options.key ?? keyReader(compiled),
    template: storedTemplate(compiled),
    publishesEvents: eventsOf(plan),
    waitsFor: [],
    printInput: inputPrinter(compiled, options.input ?? null),
    drive: (run) => driveDag(run, plan),
    fromTemplate: (stored) =>
      define(restoreTemplate(stored.definitionJson), registry, options, true),
  });
}

function eventsOf({ steps }: DagPlan): readonly DomainEventDeclaration[] {
  const byName = new Map<string, DomainEventDeclaration>();
  for (const { declarations } of steps) {
    for (const one of declarations) if (!byName.has(one.name)) byName.set(one.name, one);
  }
  return [...byName.values()];
}

function keyReader({ keyPath }: CompiledTemplate): ((input: unknown) => string | null) | null {
  if (keyPath === null) return null;
  return (input) => {
    let value = input;
    for (const member of keyPath) {
      value = (value as Readonly<Record<string, unknown>> | null | undefined)?.[member];
    }
    return typeof value === 'string' || typeof value === 'number' ? String(value) : null;
  };
}

function inputPrinter(
  { namespace, name, inputSchema }: CompiledTemplate,
  schema: StandardSchemaV1 | null,
): (input: unknown) => string {
  const validator = inputSchema === null ? null : compileSchema(inputSchema, 'input');
  const refuse = (message: string, options: { fix?: string; details?: object; cause?: unknown }) =>
    new MillraceError('WORKFLOW_INPUT_INVALID', `${namespace}/${name}: ${message}`, {
      fix: options.fix,
      cause: options.cause,
      details: { ...options.details },
    });
  return (input) => {
    let value: unknown = input === undefined ? null : input;
    if (schema !== null) {
      const result = validateWith(schema, input);
      if (result.issues !== undefined) {
        const issues = fieldProblems(result.issues, 'input');
        throw refuse(`${describeIssues(result.issues, 'input')}.`, { details: { issues } });
      }
      value = result.value;
    }
    try {
      checkJson(value, { root: 'input' });
    } catch (cause) {
      const { message, fix, details } = cause as MillraceError;
      throw refuse(message, { cause, fix, ...(details && { details }) });
    }
    const issues = validator?.check(value) ?? [];
    if (issues.length === 0) return JSON.stringify(value);
    const said = issues.map(({ path, message }) => `${path} ${message}`).join('; ');
    throw refuse(`${said}.`, { details: { issues } });
  };
}

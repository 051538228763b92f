/**
 * From what somebody wrote to a CompiledTemplate: fields read, overrides of an environment applied,
 * the graph compiled, everything frozen. Pure; the same value gives the same template. Called by
 * the YAML loader and by workflows declared in code.
 */
import type { JsonValue } from '../json.ts';
import { canonicalJson } from './canonical-json.ts';
import { compileGraph, type TemplateGraph, type TemplateProblem } from './graph.ts';
import type {
  CompiledHandler,
  CompiledLimits,
  CompiledRetry,
  CompiledStep,
  CompiledTemplate,
  DeclaredEvent,
  DeliveryMode,
  JsonObject,
  PublishedEvent,
} from './template.ts';
import { overrideSteps } from './template-environment.ts';
import { type Place, readField } from './template-field.ts';
import { templateField } from './template-fields.ts';
import { templateError, withoutPlace } from './template-problems.ts';
import type { Partly, ReadHandler, ReadRetry, ReadStep, ReadTemplate } from './template-read.ts';
import { checkTemplateRules } from './template-rules.ts';

export interface CompileOptions {
  /** Its overrides are applied; one that the template does not know changes nothing. */
  readonly environment?: string | null | undefined;
  /** Of events that say nothing about it; left open by default, for the configuration to say. */
  readonly defaultDelivery?: DeliveryMode | undefined;
  /** What is wrong with a JSON Schema; paths are within it. Core has no JSON Schema of its own. */
  readonly checkSchema?: ((schema: JsonObject) => readonly SchemaProblem[]) | undefined;
}

export interface SchemaProblem {
  readonly path: Place;
  readonly message: string;
  readonly hint: string | null;
  readonly at?: 'name';
}

export type CompileResult =
  | { readonly template: CompiledTemplate; readonly problems: readonly [] }
  | { readonly template: null; readonly problems: readonly TemplateProblem[] };

/** @throws MillraceError TEMPLATE_INVALID with every problem in `details.problems`. */
export function compileTemplate(raw: unknown, options: CompileOptions = {}): CompiledTemplate {
  const { template, problems } = checkTemplate(raw, options);
  if (template === null) throw templateError(problems.map(withoutPlace));
  return template;
}

/** The same without throwing: whoever knows lines adds them to the problems. */
export function checkTemplate(raw: unknown, options: CompileOptions = {}): CompileResult {
  const problems: TemplateProblem[] = [];
  const schemas: (readonly [schema: JsonValue, path: Place])[] = [];
  const read = readField(templateField, raw ?? {}, [], {
    problems,
    fallbacks: true,
    onSchema: (schema, path) => schemas.push([schema, path]),
  }) as Partly<ReadTemplate> | undefined;
  for (const [schema, path] of schemas) {
    for (const fault of options.checkSchema?.(schema as JsonObject) ?? []) {
      problems.push({ ...fault, path: [...path, ...fault.path] });
    }
  }
  if (read === undefined) return { template: null, problems };
  const environment = options.environment ?? null;
  const overridden = overrideSteps(read, environment, problems);
  checkTemplateRules(read, overridden, problems);
  const graph = graphOf(read, problems);
  if (graph === null || problems.length > 0) return { template: null, problems: once(problems) };
  // Nothing was reported, so nothing is missing.
  const whole = read as ReadTemplate;
  const steps = overridden.map(({ step }, no) => compileStep(whole, step as ReadStep, no, options));
  return { template: assemble(whole, steps, graph, environment), problems: [] };
}

/** One override may be wrong in the same way for many steps. */
function once(problems: readonly TemplateProblem[]): readonly TemplateProblem[] {
  const seen = new Map(problems.map((one) => [JSON.stringify([one.path, one.message]), one]));
  return [...seen.values()];
}

/** Null, too, when a part that the graph is made of could not be read. */
function graphOf(
  { steps }: Partly<ReadTemplate>,
  problems: TemplateProblem[],
): TemplateGraph | null {
  const unread = (...names: readonly (string | undefined)[]) =>
    problems.some(
      ({ path }) => path[0] === 'steps' && names.includes(path[2] as string | undefined),
    );
  if (steps === undefined || unread('name', 'dependencies', 'depends_on', undefined)) return null;
  // Types that could not be read would bring complaints that are not true.
  const typed = !unread('type', 'step_type', 'batch_config');
  const result = compileGraph(
    steps.map((step) => ({
      name: step?.name as string,
      type: (typed && step?.type) || 'standard',
      dependencies: (step?.dependencies ?? []) as readonly string[],
      workerTemplate: (typed && step?.batch_config?.worker_template) || null,
    })),
  );
  problems.push(...result.problems);
  return result.graph;
}

function compileStep(
  template: ReadTemplate,
  step: ReadStep,
  no: number,
  { defaultDelivery }: CompileOptions,
): CompiledStep {
  const batch = step.batch_config;
  const namespace = step.namespace ?? null;
  return {
    no,
    name: step.name,
    description: step.description,
    type: step.type,
    handler: compileHandler(step.handler),
    namespace: namespace === template.namespace_name ? null : namespace,
    systemDependency: step.system_dependency ?? null,
    dependencies: step.dependencies,
    retry: compileRetry(step.retry),
    timeoutMs: Math.round((step.timeout_seconds ?? 0) * 1_000),
    publishesEvents: step.publishes_events.map(
      (event): PublishedEvent => ({
        name: event.name,
        description: event.description,
        schema:
          event.schema ?? template.domain_events.find(({ name }) => name === event.name)?.schema,
        delivery: event.delivery ?? defaultDelivery,
        condition: event.condition,
        publisher: event.publisher ?? null,
      }),
    ),
    batch:
      batch === undefined
        ? null
        : {
            batchSize: batch.batch_size,
            parallelism: batch.parallelism,
            cursorField: batch.cursor_field,
            workerTemplate: batch.worker_template,
            failureStrategy: batch.failure_strategy,
          },
    resultSchema: step.result_schema ?? null,
    composition: step.composition ?? null,
    compensate: step.compensate === undefined ? null : compileHandler(step.compensate),
    transactional: step.transactional,
  };
}

function compileHandler(handler: ReadHandler): CompiledHandler {
  return {
    callable: handler.callable,
    method: handler.method ?? null,
    resolver: handler.resolver ?? null,
    initialization: handler.initialization,
  };
}

const maxBackoffMs = 30_000;

function compileRetry(retry: ReadRetry): CompiledRetry {
  return {
    retryable: retry.retryable,
    maxAttempts: retry.retryable ? retry.max_attempts : 1,
    backoff: retry.backoff,
    backoffBaseMs: retry.backoff_base_ms,
    maxBackoffMs: retry.max_backoff_ms ?? Math.max(maxBackoffMs, retry.backoff_base_ms),
  };
}

function compileLimits({ concurrency, rate }: ReadTemplate): {
  readonly limits: CompiledLimits | null;
  readonly keyLimits: CompiledLimits | null;
} {
  const keyed = concurrency?.key !== undefined;
  const all = keyed ? concurrency.total_limit : concurrency?.limit;
  const ofKey = keyed ? concurrency.limit : undefined;
  const bucket = rate && { max: rate.limit, perMs: Math.round(rate.period_seconds * 1_000) };
  const join = (limit: number | undefined, own: boolean) =>
    limit === undefined && !own
      ? null
      : {
          ...(limit !== undefined && { concurrency: limit }),
          ...(own && bucket && { rate: bucket }),
        };
  return {
    limits: join(all, rate?.scope === 'workflow'),
    keyLimits: join(ofKey, rate?.scope === 'key'),
  };
}

function assemble(
  read: ReadTemplate,
  steps: readonly CompiledStep[],
  graph: TemplateGraph,
  environment: string | null,
): CompiledTemplate {
  const { metadata, lifecycle } = read;
  const body = {
    namespace: read.namespace_name,
    name: read.name,
    version: read.version,
    description: read.description,
    metadata: {
      author: metadata.author,
      tags: metadata.tags,
      documentationUrl: metadata.documentation_url,
      createdAt: metadata.created_at,
      updatedAt: metadata.updated_at,
    },
    systemDependencies: read.system_dependencies,
    domainEvents: read.domain_events.map(
      ({ name, description, schema }): DeclaredEvent => ({ name, description, schema }),
    ),
    inputSchema: read.input_schema ?? null,
    identity: read.identity,
    priority: read.priority,
    keyPath: read.concurrency?.key?.split('.') ?? null,
    ...compileLimits(read),
    lifecycle: {
      maxDurationMinutes: lifecycle.max_duration_minutes,
      maxWaitingForDependenciesMinutes: lifecycle.max_waiting_for_dependencies_minutes,
      maxWaitingForRetryMinutes: lifecycle.max_waiting_for_retry_minutes,
      maxStepsInProcessMinutes: lifecycle.max_steps_in_process_minutes,
      stalenessAction: lifecycle.staleness_action,
      autoFailOnTimeout: lifecycle.auto_fail_on_timeout,
      autoDlqOnTimeout: lifecycle.auto_dlq_on_timeout,
    },
    steps,
    environment,
  } satisfies Omit<CompiledTemplate, 'graph' | 'canonicalJson'>;
  const text = canonicalJson({ format, ...body } as unknown as JsonValue);
  return complete(body, graph, text);
}

/** Of the canonical text. Runs outlive releases: a later one must know what it reads. */
const format = 1;

type Body = Omit<CompiledTemplate, 'graph' | 'canonicalJson'>;

function complete(body: Body, graph: TemplateGraph, text: string): CompiledTemplate {
  for (const part of Object.values(body)) freezeDeep(part);
  return Object.freeze({ ...body, graph, canonicalJson: text });
}

function freezeDeep(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  for (const part of Object.values(value)) freezeDeep(part);
  Object.freeze(value);
}

/**
 * The template that a run began with, from the text stored with it. Nothing is checked again but
 * the format: what was accepted once stays valid.
 * @throws Error when the text is not a canonicalJson of this release or an earlier one.
 */
export function restoreTemplate(text: string): CompiledTemplate {
  const { format: written, ...body } = JSON.parse(text) as Body & { readonly format: number };
  if (written !== format) throw new Error(`Bug: a stored template has the format ${written}.`);
  const { graph, problems } = compileGraph(
    body.steps.map(({ name, type, dependencies, batch }) => ({
      name,
      type,
      dependencies,
      workerTemplate: batch?.workerTemplate ?? null,
    })),
  );
  if (graph === null) throw new Error(`Bug: a stored template is wrong: ${problems[0]?.message}.`);
  return complete(body, graph, text);
}

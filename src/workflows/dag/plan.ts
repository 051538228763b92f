/**
 * A compiled template with the handlers of this process: everything that driving its runs needs
 * and that is the same for all of them. Made once for each template; steps are reached by number.
 */
import { type Backoff, parseBackoff } from '../../core/backoff.ts';
import { MillraceError } from '../../core/errors.ts';
import type { FieldProblem } from '../../core/schema.ts';
import type { DomainEventDeclaration } from '../../core/workflow/domain-event.ts';
import type { GraphNode } from '../../core/workflow/graph.ts';
import type { CompiledStep, CompiledTemplate } from '../../core/workflow/template.ts';
import type { BoundHandler, HandlerRegistry } from '../steps/handler-registry.ts';
import type { StepContext } from '../steps/step-context.ts';
import { compileSchema } from '../template/json-schema.ts';
import { unknownHandler } from './unknown-handler.ts';

export interface PlannedStep {
  readonly compiled: CompiledStep;
  readonly node: GraphNode;
  /** Another namespace, whose workers run it; null: it runs where the run is. */
  readonly elsewhere: string | null;
  readonly handler: BoundHandler;
  /** Undoes the step; null: there is nothing to undo. */
  readonly compensate: ((ctx: StepContext) => unknown) | null;
  readonly attemptsMax: number;
  readonly backoff: Backoff;
  readonly declarations: readonly DomainEventDeclaration[];
  readonly eventNames: readonly string[];
  /** Of a batch worker: number of the batchable step that cuts its batches. */
  readonly owner: number | null;
  /** Instances of it that may be at work at a time in one run; Infinity unless a batch worker. */
  readonly parallelism: number;
  checkResult(value: unknown): readonly FieldProblem[];
}

interface PlanOptions {
  /** Handlers of one run at a time. 10 by default. */
  readonly concurrency?: number | undefined;
  /**
   * True: a handler that nobody knows fails its step and not the plan, for the runs of templates
   * older than the handlers.
   */
  readonly lenient?: boolean | undefined;
}

const concurrencyDefault = 10;
/** The original's: retries of many runs must not all come at one moment. */
const jitter = 0.15;

export class DagPlan {
  readonly template: CompiledTemplate;
  readonly steps: readonly PlannedStep[];
  readonly concurrency: number;
  /** A step can be undone, so a run that fails for good is. */
  readonly compensates: boolean;

  /** @throws MillraceError WORKFLOW_INVALID for handlers that are unknown or stand wrong. */
  constructor(template: CompiledTemplate, registry: HandlerRegistry, options: PlanOptions = {}) {
    const { concurrency = concurrencyDefault, lenient = false } = options;
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new MillraceError('CONFIG_INVALID', `concurrency is ${concurrency}.`, {
        fix: 'Give the handlers that one run may have at a time, from 1.',
      });
    }
    const owners = new Map<number, number>();
    for (const { no, worker } of template.graph.nodes) {
      if (worker !== null) owners.set(worker, no);
    }
    this.template = template;
    this.concurrency = concurrency;
    this.steps = template.steps.map((step) => {
      return planStep(template, registry, step, owners.get(step.no) ?? null, lenient);
    });
    this.compensates = this.steps.some(({ compensate }) => compensate !== null);
  }

  step(name: string): PlannedStep | undefined {
    const node = this.template.graph.find(name);
    return node && this.steps[node.no];
  }
}

function planStep(
  template: CompiledTemplate,
  registry: HandlerRegistry,
  compiled: CompiledStep,
  owner: number | null,
  lenient: boolean,
): PlannedStep {
  const node = template.graph.nodes[compiled.no] as GraphNode;
  const { namespace, retry, publishesEvents, resultSchema } = compiled;
  const elsewhere = namespace === null || namespace === template.namespace ? null : namespace;
  const where = `Step '${compiled.name}' of ${template.namespace}/${template.name}`;
  const bound = bind(registry, compiled, where, { elsewhere, lenient });
  checkKind(compiled, bound, where);
  checkDepends(template, node, bound, where);
  const undo = compiled.compensate === null ? null : registry.bind(compiled.compensate);
  if (compiled.compensate !== null && undo === null && !lenient) {
    const { message, fix } = registry.explainUnknown(compiled.compensate);
    throw new MillraceError('WORKFLOW_INVALID', `${where}: compensate: ${message}.`, { fix });
  }
  const validator = resultSchema === null ? null : compileSchema(resultSchema, 'result');
  return Object.freeze({
    compiled,
    node,
    elsewhere,
    handler: bound,
    compensate: compiled.compensate === null ? bound.compensate : (undo?.call ?? null),
    attemptsMax: retry.retryable ? retry.maxAttempts : 1,
    backoff: parseBackoff({
      kind: retry.backoff,
      delayMs: retry.backoffBaseMs,
      maxDelayMs: Math.max(retry.maxBackoffMs, retry.backoffBaseMs),
      jitter,
    }),
    declarations: publishesEvents.map(({ publisher, ...event }) => ({
      ...event,
      publisher: publisher ?? undefined,
    })),
    eventNames: publishesEvents.map(({ name }) => name),
    owner,
    parallelism:
      owner === null
        ? Number.POSITIVE_INFINITY
        : (template.steps[owner]?.batch?.parallelism ?? concurrencyDefault),
    checkResult: (value: unknown) => validator?.check(value) ?? [],
  });
}

function bind(
  registry: HandlerRegistry,
  { handler }: CompiledStep,
  where: string,
  { elsewhere, lenient }: { elsewhere: string | null; lenient: boolean },
): BoundHandler {
  const bound = registry.bind(handler);
  if (bound !== null) return bound;
  const { message, fix } = registry.explainUnknown(handler);
  if (elsewhere === null && !lenient) {
    throw new MillraceError('WORKFLOW_INVALID', `${where}: ${message}.`, {
      fix,
      details: { callable: handler.callable, known: registry.names },
    });
  }
  return unknownHandler(`${where}: ${message}.`, fix);
}

const kindsOf = {
  step: null,
  decision: 'decision',
  batch_analyzer: 'batchable',
  batch_worker: 'batch_worker',
} as const;

function checkKind({ type, handler }: CompiledStep, { kind }: BoundHandler, where: string): void {
  const wanted = kindsOf[kind];
  if (wanted === null || wanted === type) return;
  throw new MillraceError(
    'WORKFLOW_INVALID',
    `${where} has type ${type}, and its handler '${handler.callable}' is for ${wanted}.`,
    { fix: `Set type: ${wanted}, or name a handler made with defineHandler.` },
  );
}

/** What a handler asks for must be there when it is called. */
function checkDepends(
  template: CompiledTemplate,
  node: GraphNode,
  { depends }: BoundHandler,
  where: string,
): void {
  if (depends.length === 0) return;
  const { graph } = template;
  const before = new Set<number>();
  const walk = [...node.dependsOn];
  for (const no of walk) {
    if (before.has(no)) continue;
    before.add(no);
    walk.push(...(graph.nodes[no] as GraphNode).dependsOn);
  }
  for (const name of depends) {
    const needed = graph.find(name);
    if (needed !== undefined && before.has(needed.no)) continue;
    const problem = needed === undefined ? 'there is no such step' : 'that does not come before it';
    const names = [...before].map((no) => (graph.nodes[no] as GraphNode).name);
    throw new MillraceError(
      'WORKFLOW_INVALID',
      `${where}: its handler asks for the result of '${name}', and ${problem}.`,
      { fix: `Add it to dependencies; before it come ${names.join(', ') || 'no steps'}.` },
    );
  }
}

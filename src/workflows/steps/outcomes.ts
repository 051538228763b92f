/**
 * Outcomes that make a run grow: which steps a decision creates, into which batches work is cut.
 * They stand in the step's result under the names of the facts, so that any handler can give them:
 *
 *   { decision_point_outcome: { type: 'create_steps', step_names: ['ship'] } }
 *   { batch_processing_outcome: { type: 'create_batches', worker_template_name, worker_count,
 *       cursor_configs: [{ batch_id, start_cursor, end_cursor, batch_size }], total_items } }
 */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import type { JsonValue } from '../../core/json.ts';

export type DecisionOutcome =
  | { readonly type: 'no_branches' }
  | { readonly type: 'create_steps'; readonly step_names: readonly string[] };

/** One batch: what its worker finds in `stepInputs`. Members beside these are kept. */
export interface BatchCursor {
  readonly batch_id: string;
  readonly start_cursor: JsonValue;
  readonly end_cursor: JsonValue;
  readonly batch_size: number;
}

export type BatchOutcome =
  | { readonly type: 'no_batches' }
  | {
      readonly type: 'create_batches';
      readonly worker_template_name: string;
      readonly worker_count: number;
      readonly cursor_configs: readonly BatchCursor[];
      readonly total_items: number;
    };

/** Creates these steps; further members are kept in the result. */
export function createSteps(
  names: string | readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): { readonly decision_point_outcome: DecisionOutcome } {
  const step_names = typeof names === 'string' ? [names] : [...names];
  const outcome: DecisionOutcome =
    step_names.length === 0 ? { type: 'no_branches' } : { type: 'create_steps', step_names };
  return { ...more, decision_point_outcome: outcome };
}

/** Creates no step. */
export function noBranches(more: Readonly<Record<string, unknown>> = {}): {
  readonly decision_point_outcome: DecisionOutcome;
} {
  return createSteps([], more);
}

/** What an analyzer answers: how much there is, or the batches themselves. */
export interface BatchPlan {
  /** Items in all; 0: there is nothing to do. Cursors are numbers from 0 then. */
  readonly totalItems?: number | undefined;
  /** Items of a batch; that of the step's `batch_config` by default. */
  readonly batchSize?: number | undefined;
  /** Where each batch begins and ends, instead of numbers. */
  readonly cursors?:
    | readonly {
        readonly start: JsonValue;
        readonly end: JsonValue;
        readonly size?: number | undefined;
        readonly id?: string | undefined;
      }[]
    | undefined;
  /** Kept in the result. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

interface BatchRule {
  readonly batchSize: number;
  readonly workerTemplate: string;
}

/** Instances that one outcome may create: one for each row would be a mistake. */
const batchesMax = 10_000;

/**
 * The outcome that a decision's result holds. Text, a list of texts and nothing are short for it.
 * @throws MillraceError RESULT_INVALID
 */
export function readDecision(step: string, result: unknown): DecisionOutcome {
  if (result === null || result === undefined) return { type: 'no_branches' };
  if (typeof result === 'string' || Array.isArray(result)) {
    return createSteps(textsOf(step, result)).decision_point_outcome;
  }
  const outcome = memberOf(result, 'decision_point_outcome');
  const type = memberOf(outcome, 'type');
  if (type === 'no_branches') return { type };
  if (type === 'create_steps') {
    const names = textsOf(step, memberOf(outcome, 'step_names'));
    return createSteps(names).decision_point_outcome;
  }
  throw refuse(
    step,
    'is a decision, and its result has no decision_point_outcome',
    'Return the names of the steps to create, createSteps([…]) or noBranches().',
  );
}

/** A decision's result as it is stored: with its outcome written out. */
export function completeDecision(step: string, result: unknown): unknown {
  const outcome = readDecision(step, result);
  const short = typeof result !== 'object' || result === null || Array.isArray(result);
  return short ? { decision_point_outcome: outcome } : result;
}

function textsOf(step: string, value: unknown): readonly string[] {
  const names = typeof value === 'string' ? [value] : value;
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) {
    return [...new Set(names as string[])];
  }
  throw refuse(step, `names steps to create by ${describeKind(value)}`, 'Give a list of names.');
}

/**
 * An analyzer's result as it is stored: with its outcome written out.
 * @throws MillraceError RESULT_INVALID
 */
export function completeBatches(step: string, result: unknown, rule: BatchRule): unknown {
  if (memberOf(result, 'batch_processing_outcome') !== undefined) {
    readBatches(step, result);
    return result;
  }
  const plan = (result ?? {}) as BatchPlan;
  if (typeof plan !== 'object') {
    throw refuse(
      step,
      `is batchable and answered with ${describeKind(result)}`,
      'Return { totalItems } or { cursors }.',
    );
  }
  return { ...plan.metadata, batch_processing_outcome: cut(step, plan, rule) };
}

/** @throws MillraceError RESULT_INVALID */
export function readBatches(step: string, result: unknown): BatchOutcome {
  const outcome = memberOf(result, 'batch_processing_outcome');
  const type = memberOf(outcome, 'type');
  if (type === 'no_batches') return { type };
  const cursors = memberOf(outcome, 'cursor_configs');
  if (type !== 'create_batches' || !Array.isArray(cursors) || !cursors.every(isCursor)) {
    throw refuse(
      step,
      'is batchable, and its result has no batch_processing_outcome with cursor_configs',
      'Return { totalItems } or { cursors }; the outcome is made from them.',
    );
  }
  checkCount(step, cursors.length);
  return outcome as BatchOutcome;
}

function cut(step: string, plan: BatchPlan, rule: BatchRule): BatchOutcome {
  const { totalItems = 0, batchSize = rule.batchSize, cursors } = plan;
  for (const [name, value, least] of [
    ['totalItems', totalItems, 0],
    ['batchSize', batchSize, 1],
  ] as const) {
    if (Number.isSafeInteger(value) && value >= least) continue;
    throw refuse(step, `answered ${name}: ${String(value)}`, `Give a whole number from ${least}.`);
  }
  const count = cursors ? cursors.length : Math.ceil(totalItems / batchSize);
  if (count === 0) return { type: 'no_batches' };
  checkCount(step, count);
  const configs = Array.from({ length: count }, (_, i): BatchCursor => {
    const given = cursors?.[i];
    const start = i * batchSize;
    const end = Math.min(totalItems, start + batchSize);
    return {
      batch_id: given?.id ?? instanceNumber(i),
      start_cursor: given ? given.start : start,
      end_cursor: given ? given.end : end,
      batch_size: given ? (given.size ?? batchSize) : end - start,
    };
  });
  return {
    type: 'create_batches',
    worker_template_name: rule.workerTemplate,
    worker_count: count,
    cursor_configs: configs,
    total_items: cursors && plan.totalItems === undefined ? sizeOf(configs) : totalItems,
  };
}

function sizeOf(configs: readonly BatchCursor[]): number {
  return configs.reduce((sum, { batch_size }) => sum + batch_size, 0);
}

/** `001`, `002`, … */
export function instanceNumber(i: number): string {
  return String(i + 1).padStart(3, '0');
}

function isCursor(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'batch_id' in value;
}

function checkCount(step: string, count: number): void {
  if (count <= batchesMax) return;
  throw refuse(
    step,
    `asks for ${count} batches; ${batchesMax} are allowed`,
    'Make the batches larger.',
  );
}

function memberOf(value: unknown, member: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) {
    return undefined;
  }
  return (value as Readonly<Record<string, unknown>>)[member];
}

export function refuse(step: string, problem: string, fix: string): MillraceError {
  return new MillraceError('RESULT_INVALID', `Step '${step}' ${problem}.`, {
    fix,
    details: { step },
  });
}

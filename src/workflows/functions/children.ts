/** Runs that a durable function starts: with its own commit, so they exist if and when it does. */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import { newEventId } from '../../core/ids.ts';
import type { NewRun } from '../../ports/workflows.ts';
import { type AnyWorkflowDefinition, jobNameOf, queueOf } from '../definition.ts';
import type { FunctionRun } from './function-run.ts';

interface ChildParts {
  readonly definition: AnyWorkflowDefinition;
  readonly input: unknown;
  readonly priority: number | undefined;
  /** Number of the step that waits for its end; null: nobody does. */
  readonly step: number | null;
}

const int4Max = 2_147_483_647;

/** @throws MillraceError WORKFLOW_INVALID, WORKFLOW_INPUT_INVALID */
export function newChild(room: FunctionRun, parts: ChildParts): NewRun {
  const { definition, input, step } = parts;
  const { runId, tenantId, correlationId, traceparent } = room.run.info;
  const priority = checkPriority(definition, parts.priority ?? definition.priority);
  const inputJson = definition.printInput(input);
  const key = checkKey(definition, definition.key?.(JSON.parse(inputJson)) ?? '');
  return {
    runId: newEventId(),
    tenantId,
    namespace: definition.namespace,
    name: definition.name,
    version: definition.version,
    templateHash: definition.template?.hash ?? '',
    identity: null,
    key,
    priority,
    correlationId,
    traceparent,
    parent: step === null ? null : { runId, step },
    inputJson,
    metadataJson: null,
    queue: queueOf(definition),
    jobName: jobNameOf(definition),
    held: false,
    delayMs: 0,
  };
}

// What the store refuses would be refused with every commit of the parent from then on.

function checkPriority({ name }: AnyWorkflowDefinition, value: unknown): number {
  const whole = typeof value === 'number' && Number.isInteger(value);
  if (whole && value >= -int4Max - 1 && value <= int4Max) return value;
  const found = typeof value === 'number' ? String(value) : describeKind(value);
  throw new MillraceError(
    'WORKFLOW_INVALID',
    `Child ${name}: priority is ${found}, not a whole number from ${-int4Max - 1} to ${int4Max}.`,
    { fix: 'Correct priority, or leave it out.' },
  );
}

function checkKey({ name }: AnyWorkflowDefinition, value: unknown): string {
  if (typeof value === 'string' && value.isWellFormed() && !value.includes('\0')) return value;
  const found =
    typeof value === 'string' ? 'has a NUL or half of a surrogate pair' : 'is no string';
  throw new MillraceError('WORKFLOW_INVALID', `Child ${name}: key ${found}.`, {
    fix: 'Correct what `key` of its definition gives.',
  });
}

/** @throws MillraceError WORKFLOW_INVALID for what is no definition. */
export function checkChild(definition: unknown): asserts definition is AnyWorkflowDefinition {
  const { printInput, name } = (definition ?? {}) as Partial<AnyWorkflowDefinition>;
  if (typeof printInput === 'function' && typeof name === 'string') return;
  throw new MillraceError('WORKFLOW_INVALID', 'A child workflow is given by its definition.', {
    fix: 'Pass what defineWorkflow(…) or defineTemplate(…) gave.',
  });
}

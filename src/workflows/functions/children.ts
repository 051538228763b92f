/** Runs that a durable function starts: with its own commit, so they exist if and when it does. */
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

/** @throws MillraceError WORKFLOW_INVALID, WORKFLOW_INPUT_INVALID */
export function newChild(room: FunctionRun, parts: ChildParts): NewRun {
  const { definition, input, priority, step } = parts;
  const { runId, tenantId, correlationId, traceparent } = room.run.info;
  const inputJson = definition.printInput(input);
  return {
    runId: newEventId(),
    tenantId,
    namespace: definition.namespace,
    name: definition.name,
    version: definition.version,
    templateHash: definition.template?.hash ?? '',
    identity: null,
    key: definition.key?.(JSON.parse(inputJson)) ?? '',
    priority: priority ?? definition.priority,
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

/** @throws MillraceError WORKFLOW_INVALID for what is no definition. */
export function checkChild(definition: unknown): asserts definition is AnyWorkflowDefinition {
  const { printInput, name } = (definition ?? {}) as Partial<AnyWorkflowDefinition>;
  if (typeof printInput === 'function' && typeof name === 'string') return;
  throw new MillraceError('WORKFLOW_INVALID', 'A child workflow is given by its definition.', {
    fix: 'Pass what defineWorkflow(…) or defineTemplate(…) gave.',
  });
}

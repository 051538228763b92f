/** Where domain events of a step come from, as their metadata says: the same for both drivers. */
import type { DomainEventDeclaration } from '../../core/workflow/domain-event.ts';
import type { StepRecord } from '../../core/workflow/run-record.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { EventOrigin } from '../../events/domain/step-events.ts';
import type { HeldRun } from './driver.ts';

export function originOf(
  run: HeldRun,
  step: StepRecord,
  declarations: readonly DomainEventDeclaration[],
): EventOrigin {
  const { runId, tenantId, namespace, name, version, correlationId, traceparent } = run.info;
  return {
    tenantId,
    namespace,
    workflow: { name, version },
    taskUuid: runId,
    stepUuid: stepUuid(runId, step.no),
    stepName: step.name,
    correlationId,
    firedBy: run.workerId,
    traceparent,
    declarations,
    log: run.log(step),
  };
}

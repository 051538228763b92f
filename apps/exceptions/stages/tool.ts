/**
 * Tool: runs one tool call per ToolExecutionRequested (P9-10). A failure that may pass is thrown,
 * so the engine repeats it later, in order and across restarts; the last one becomes
 * ToolExecutionFailed, which the playbook answers. The execution id is the idempotency key of every
 * attempt, so a tool that honours it acts once.
 */
import { MillraceError, type StoredEvent } from 'millrace';
import { ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested } from '../events.ts';
import type { Packs } from '../packs/load.ts';
import type { ToolOutcome } from '../tools/outcome.ts';
import type { ToolRunner } from '../tools/runner.ts';
import { isEvent, type PayloadOf, type Stage, type StageContext } from './stage.ts';

type Requested = PayloadOf<typeof ToolExecutionRequested>;

export function createTool(packs: Packs, tools: ToolRunner): Stage {
  return {
    group: 'tool',
    events: [ToolExecutionRequested],
    handle(event, context) {
      if (!isEvent(ToolExecutionRequested, event)) return;
      const { payload } = event;
      const tool = packs.scope(event.tenantId, payload.domain)?.tools.get(payload.tool);
      const outcome = tools.run({
        tenantId: event.tenantId,
        tool,
        toolName: payload.tool,
        executionId: payload.executionId,
        payload: payload.payload,
        attempt: context.attempt,
        signal: context.signal,
      });
      // Simulated tools answer at once: no promise, so no turn of the event loop per event.
      if (!(outcome instanceof Promise)) {
        settle(event, payload, outcome, tool?.maxRetries ?? 0, context);
        return;
      }
      return outcome.then((answer) => {
        settle(event, payload, answer, tool?.maxRetries ?? 0, context);
      });
    },
  };
}

function settle(
  event: StoredEvent,
  payload: Requested,
  outcome: ToolOutcome,
  maxRetries: number,
  context: StageContext,
): void {
  const fields = {
    exceptionId: payload.exceptionId,
    executionId: payload.executionId,
    tool: payload.tool,
    domain: payload.domain,
    actorType: payload.actorType,
    actorId: payload.actorId,
    rollbackOf: payload.rollbackOf,
    exception: payload.exception,
    run: payload.run,
    provider: outcome.provider,
    durationMs: outcome.durationMs,
    attempts: context.attempt,
  };
  if (outcome.ok) {
    context.publish(ToolExecutionCompleted, { payload: { ...fields, output: outcome.output } });
    return;
  }
  if (outcome.retryable && context.attempt <= maxRetries) {
    throw new MillraceError('TOOL_FAILED', `${payload.tool}: ${outcome.error}`, {
      retryable: true,
      details: { executionId: payload.executionId, eventId: event.eventId },
    });
  }
  context.publish(ToolExecutionFailed, {
    payload: { ...fields, errorCode: outcome.errorCode, error: outcome.error },
  });
}

/**
 * Feedback: one record of metrics per finished exception (P9-11). Positive only when it was
 * resolved. The duration counts from when the exception was accepted here, not from when it
 * happened: log lines may be years old.
 */
import type { StoredEvent } from 'millrace';
import { ExceptionEscalated, ExceptionResolved, FeedbackCaptured } from '../events.ts';
import { isEvent, type PayloadOf, type Stage, type StageContext } from './stage.ts';

type Ended = PayloadOf<typeof ExceptionResolved>;

export function createFeedback(): Stage {
  return {
    group: 'feedback',
    events: [ExceptionResolved, ExceptionEscalated],
    handle(event, context) {
      if (isEvent(ExceptionResolved, event)) capture(event, event.payload, 'RESOLVED', context);
      else if (isEvent(ExceptionEscalated, event)) {
        capture(event, event.payload, 'ESCALATED', context);
      }
    },
  };
}

const resolvedEvidence = ['every step of the playbook ended'];

function capture(
  event: StoredEvent,
  payload: Ended,
  outcome: 'RESOLVED' | 'ESCALATED',
  context: StageContext,
): void {
  const milliseconds = Date.parse(event.timestamp) - Date.parse(payload.ingestedAt);
  const resolved = outcome === 'RESOLVED';
  context.publish(FeedbackCaptured, {
    payload: {
      exceptionId: payload.exceptionId,
      domain: payload.domain,
      exceptionType: payload.exceptionType,
      severity: payload.severity,
      outcome,
      positive: resolved,
      playbookId: payload.playbookId,
      totalSteps: payload.totalSteps,
      completedSteps: payload.completedSteps,
      durationSeconds: Math.max(0, milliseconds) / 1_000,
      lastActor: payload.lastActor,
      decision: resolved ? 'POSITIVE' : 'NEGATIVE',
      confidence: 1,
      evidence: resolved ? resolvedEvidence : [payload.reason],
      nextStep: 'none',
    },
  });
}

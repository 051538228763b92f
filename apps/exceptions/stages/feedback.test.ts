/** Feedback: positive only when resolved; the duration counts from acceptance. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dryRun } from '../dry-run.ts';
import { ExceptionEscalated, ExceptionResolved, FeedbackCaptured } from '../events.ts';
import { createFeedback } from './feedback.ts';
import { isEvent } from './stage.ts';

const end = {
  exceptionId: 'e-1',
  domain: 'shop',
  exceptionType: 'ORDER_FAIL',
  severity: 'HIGH' as const,
  ingestedAt: '2026-01-01T00:00:00.000Z',
  playbookId: 'p',
  totalSteps: 3,
  completedSteps: 3,
  lastActor: 'ada',
  reason: 'done',
};
const timestamp = '2026-01-01T00:00:02.500Z';

describe('feedback', () => {
  it('is positive for a resolved exception, with its metrics', async () => {
    const { events } = await dryRun([createFeedback()], ExceptionResolved, {
      tenantId: 'acme',
      payload: end,
      timestamp,
    });
    const [, event] = events;
    assert.ok(event !== undefined && isEvent(FeedbackCaptured, event));
    const { positive, outcome, durationSeconds, totalSteps, completedSteps } = event.payload;
    assert.deepEqual(
      { positive, outcome, durationSeconds, totalSteps, completedSteps },
      {
        positive: true,
        outcome: 'RESOLVED',
        durationSeconds: 2.5,
        totalSteps: 3,
        completedSteps: 3,
      },
    );
    assert.equal(event.payload.lastActor, 'ada');
  });

  it('is negative for an escalated one', async () => {
    const { events } = await dryRun([createFeedback()], ExceptionEscalated, {
      tenantId: 'acme',
      payload: { ...end, escalatedBy: 'policy' },
      timestamp,
    });
    const [, event] = events;
    assert.ok(event !== undefined && isEvent(FeedbackCaptured, event));
    assert.equal(event.payload.positive, false);
    assert.deepEqual(event.payload.evidence, ['done']);
  });
});

/** The present state, event by event. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dryRun, tryException } from './dry-run.ts';
import { ExceptionIngested, ExceptionResolved, SLAExpired, SLAImminent } from './events.ts';
import { loadPacks } from './packs/load.ts';
import { projectException } from './projection.ts';

const packs = loadPacks();
const payload = { tradeId: 'T-9', amount: '1,500.25', daysOverdue: 2, message: 'no stock' };
const trial = {
  tenantId: 'northwind',
  domain: 'finance',
  exceptionType: 'SETTLEMENT_FAIL',
  payload,
};

describe('the projected state', () => {
  it('follows an exception to its end', async () => {
    const { events, state } = await tryException(packs, trial);
    assert.deepEqual(
      [state?.status, state?.outcome, state?.stage, state?.playbookId, state?.waiting],
      ['RESOLVED', 'RESOLVED', 'done', 'resend-settlement', null],
    );
    assert.equal(state?.amount, 1500.25);
    assert.equal(state?.entity, 'T-9');
    assert.equal(state?.summary, 'no stock');
    assert.equal(state?.createdAt, events[0]?.timestamp);
    assert.equal(state?.updatedAt, events.at(-1)?.timestamp);
    assert.equal(typeof state?.durationSeconds, 'number');
  });

  it('moves forward one stage at a time', async () => {
    const { events } = await tryException(packs, trial);
    const stages: string[] = [];
    let state = null;
    for (const event of events) {
      state = projectException(state, event);
      if (state !== null && stages.at(-1) !== state.stage) stages.push(state.stage);
    }
    assert.deepEqual(stages, [
      ...['intake', 'triage', 'policy', 'playbook', 'tool', 'playbook', 'feedback', 'done'],
    ]);
  });

  it('starts over when the exception comes in again, but keeps when it first came', async () => {
    const first = await tryException(packs, { ...trial, timestamp: '2026-01-01T00:00:00.000Z' });
    const again = await dryRun(
      [],
      ExceptionIngested,
      {
        tenantId: 'northwind',
        payload: { exceptionId: first.state?.exceptionId ?? '', rawPayload: {} },
        timestamp: '2026-01-02T00:00:00.000Z',
      },
      first,
    );
    assert.deepEqual(
      [again.state?.status, again.state?.outcome, again.state?.createdAt],
      ['OPEN', null, '2026-01-01T00:00:00.000Z'],
    );
  });

  it('notes deadlines, and an expired one stays expired', async () => {
    let run = await tryException(packs, trial);
    const sla = { exceptionId: run.state?.exceptionId ?? '', severity: 'HIGH' as const };
    const late = { ...sla, slaDeadline: '2026-01-01T00:00:00.000Z' };
    const tenantId = 'northwind';
    const soon = { tenantId, payload: { ...late, elapsedShare: 0.8 } };
    run = await dryRun([], SLAImminent, soon, run);
    assert.equal(run.state?.slaStatus, 'IMMINENT');
    run = await dryRun([], SLAExpired, { tenantId, payload: { ...late, overdueSeconds: 1 } }, run);
    run = await dryRun([], SLAImminent, soon, run);
    assert.equal(run.state?.slaStatus, 'EXPIRED');
  });

  it('knows nothing of an exception whose first event it has not seen', async () => {
    const end = {
      exceptionId: 'e-1',
      domain: 'shop',
      exceptionType: 'X',
      severity: 'LOW' as const,
      ingestedAt: '2026-01-01T00:00:00.000Z',
      playbookId: null,
      totalSteps: 0,
      completedSteps: 0,
      lastActor: 'x',
      reason: 'x',
    };
    const { state } = await dryRun([], ExceptionResolved, { tenantId: 'acme', payload: end });
    assert.equal(state, null);
  });
});

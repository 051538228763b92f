/** Deadlines and approvals, as the clock sees them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClockState, dueEvents } from './clock.ts';
import { type DryRun, dryRun, tryException } from './dry-run.ts';
import { ApprovalDecided } from './events.ts';
import { loadPacks } from './packs/load.ts';
import { createStages } from './stages/create-stages.ts';
import { createToolRunner } from './tools/runner.ts';

const packs = loadPacks();
const stages = createStages({ packs, tools: createToolRunner() });
const minute = 60_000;
const start = Date.parse('2026-01-01T00:00:00.000Z');

function waiting(): Promise<DryRun> {
  return tryException(packs, {
    domain: 'operations',
    exceptionType: 'PROCESS_CRASH',
    severity: 'CRITICAL',
    payload: { host: 'app7', service: 'billing' },
    timestamp: new Date(start).toISOString(),
  });
}

const typesDue = (state: ClockState, at: number) =>
  dueEvents('any-tenant', state, start + at).map(({ definition }) => definition.type);

describe('the clock', () => {
  it('says once that a deadline is near, and once that it has passed', async () => {
    const { state } = await waiting();
    assert.ok(state);
    assert.deepEqual(typesDue(state, 23 * minute), []);
    assert.deepEqual(typesDue(state, 24 * minute), ['SLAImminent']);
    assert.deepEqual(typesDue({ ...state, slaStatus: 'IMMINENT' }, 29 * minute), []);
    assert.deepEqual(typesDue(state, 30 * minute), ['SLAExpired']);
    assert.deepEqual(typesDue({ ...state, slaStatus: 'EXPIRED' }, 31 * minute), []);
    const [first] = dueEvents('any-tenant', state, start + 30 * minute);
    const [again] = dueEvents('any-tenant', state, start + 35 * minute);
    assert.ok(first?.input.eventId);
    assert.equal(first.input.eventId, again?.input.eventId, 'a second scan stores nothing');
  });

  it('says nothing about a finished exception', async () => {
    const { state } = await waiting();
    assert.ok(state);
    assert.deepEqual(typesDue({ ...state, outcome: 'RESOLVED', waiting: null }, 999 * minute), []);
  });

  it('notes an approval after an hour and escalates it after two', async () => {
    const run = await waiting();
    assert.ok(run.state);
    const late: ClockState = { ...run.state, slaStatus: 'EXPIRED' };
    assert.deepEqual(typesDue(late, 60 * minute - 1), []);
    const [overdue] = dueEvents('any-tenant', late, start + 60 * minute);
    const noted = await publish(overdue?.input.payload, run);
    assert.equal(noted.state?.status, 'PENDING_APPROVAL');
    assert.ok(noted.state);
    const still: ClockState = { ...noted.state, slaStatus: 'EXPIRED' };
    assert.deepEqual(typesDue(still, 61 * minute), [], 'noted once');
    const [escalated] = dueEvents('any-tenant', still, start + 120 * minute);
    const ended = await publish(escalated?.input.payload, noted);
    assert.equal(ended.state?.outcome, 'ESCALATED');
    assert.equal(ended.state?.reason, 'approval was not given in time');
  });
});

function publish(payload: unknown, before: DryRun): Promise<DryRun> {
  const input = { tenantId: 'any-tenant', payload: payload as never };
  return dryRun(stages, ApprovalDecided, input, before);
}

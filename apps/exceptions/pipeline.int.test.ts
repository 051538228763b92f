/**
 * The six stages on the real engine: whatever comes in ends as resolved, escalated, waiting for a
 * person, or as a dead letter with its reason; and feedback is captured once for each that ended.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect, newEventId } from 'millrace';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { ExceptionIngested } from './events.ts';
import { loadPacks } from './packs/load.ts';
import { type ExceptionState, projectException } from './projection.ts';
import { createStages } from './stages/create-stages.ts';
import { createToolRunner } from './tools/runner.ts';

const tenantId = 'northwind';
const count = 400;

/** One in ten of each kind needs a person, has a tool that fails, or cannot be processed. */
const kinds = [
  { exceptionType: 'SETTLEMENT_FAIL', rawPayload: { tradeId: 'T', daysOverdue: 1 } },
  { exceptionType: 'SETTLEMENT_FAIL', rawPayload: { tradeId: 'T', daysOverdue: 9 } },
  { exceptionType: 'CASH_BREAK', rawPayload: { amount: '1,999.00', currency: 'EUR' } },
  {
    exceptionType: 'POSITION_BREAK',
    rawPayload: { tradeId: 'T', quantity: 1, expectedQuantity: 2 },
  },
  { exceptionType: 'MISSING_SSI', rawPayload: { accountId: 'A', ssiStatus: 'missing' } },
  { exceptionType: 'ACCOUNT_BLOCKED', rawPayload: { accountId: 'A', accountStatus: 'frozen' } },
  { exceptionType: 'PRICE_MISMATCH', severity: 'MEDIUM', rawPayload: {} },
  { exceptionType: 'LATE_CONFIRMATION', rawPayload: { tradeId: 'T', counterparty: 'Q' } },
  { exceptionType: 'SETTLEMENT_FIAL', rawPayload: { tradeId: 'T' } },
  { exceptionType: 'CASH_BREAK', rawPayload: { amount: 'a lot' } },
] as const;

function outcomeOf(state: ExceptionState | null): string {
  if (state === null) return 'nothing';
  if (state.outcome !== null) return state.stage === 'done' ? state.outcome : 'no feedback yet';
  return state.waiting === null ? `under way: ${state.stage}` : `waiting: ${state.waiting.kind}`;
}

test('every exception ends, waits for a person, or is a dead letter with its reason', async () => {
  await using database = await freshDatabase();
  const mill = await connect(database.url, { partitions: 2, pollMs: [10, 100] });
  after(() => mill.stop());
  const packs = loadPacks();
  const stages = createStages({ packs, tools: createToolRunner() });
  for (const stage of stages) mill.subscribe(stage);
  await mill.start();

  const ids: string[] = [];
  const inputs = Array.from({ length: count }, (_, index) => {
    const exceptionId = newEventId();
    ids.push(exceptionId);
    const kind = kinds[index % kinds.length] as (typeof kinds)[number];
    return [
      ExceptionIngested,
      { tenantId, payload: { exceptionId, domain: 'finance', ...kind } },
    ] as const;
  });
  await mill.publishMany(inputs);

  const expected = new Map([
    ['RESOLVED', 4 * 40],
    ['ESCALATED', 2 * 40],
    ['waiting: approval', 40],
    ['waiting: step', 40],
    ['dead letter', 2 * 40],
  ]);
  const seen = await eventually('all are settled', async () => {
    const dead = await mill.deadLetters.list({ tenantId, limit: 1_000 });
    const failed = new Map(dead.map((letter) => [letter.exceptionId, letter.failureReason]));
    const outcomes = new Map<string, number>();
    for (const key of ids) {
      const { events } = await mill.history.list({ tenantId, key, limit: 100 });
      let state: ExceptionState | null = null;
      for (const event of events) state = projectException(state, event);
      const outcome = failed.has(key) ? 'dead letter' : outcomeOf(state);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const feedback = events.filter(({ eventType }) => eventType === 'FeedbackCaptured').length;
      const ended = outcome === 'RESOLVED' || outcome === 'ESCALATED';
      if (ended) assert.equal(feedback, 1, `feedback of ${key}`);
    }
    const open = [...outcomes.keys()].filter((outcome) => !expected.has(outcome));
    return open.length === 0 && { outcomes, reasons: new Set(failed.values()) };
  });

  assert.deepEqual([...seen.outcomes].sort(), [...expected].sort());
  assert.deepEqual([...seen.reasons].sort(), [
    "'SETTLEMENT_FIAL' is not an exception type of pack finance; did you mean 'SETTLEMENT_FAIL'?",
    'amount is "a lot", which is not an amount',
  ]);
});

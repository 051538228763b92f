/**
 * Histories that were recorded once are replayed against the code as it is. A test that fails here
 * says: runs that are under way would break. Put the change behind `ctx.patch(id)`.
 * `MILLRACE_RECORD=1 npm test -- test/workflows/histories` records them anew.
 */
import assert from 'node:assert/strict';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import type { AnyWorkflowDefinition } from '../../src/workflows/definition.ts';
import { defineWorkflow } from '../../src/workflows/functions/define-workflow.ts';
import {
  describeHistory,
  type RecordedHistory,
  recordHistory,
  replayHistory,
} from '../../src/workflows/functions/replay.ts';
import { driveToEnd, MemoryHistory } from '../support/crashing-run.ts';
import { Expense, exampleWorkflows, OrderSaga, Report } from './example-workflows.ts';

const folder = path.join(import.meta.dirname, 'histories');
const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as RecordedHistory;

const recordings: readonly (readonly [file: string, AnyWorkflowDefinition, unknown])[] = [
  ['order-saga-shipped', OrderSaga, { id: 'o-1', cents: 900 }],
  ['order-saga-undone', OrderSaga, { id: 'o-2', cents: 1_900 }],
  ['expense-approved', Expense, { cents: 500 }],
  ['expense-small', Expense, { cents: 5 }],
  ['report', Report, { count: 9 }],
];

async function record(definition: AnyWorkflowDefinition, input: unknown) {
  const history = new MemoryHistory(definition, input);
  history.onCommit = ({ create = [] }) => {
    for (const { kind, name } of create) {
      if (kind === 'approval') history.deliver('approval', name, { approved: true, by: 'ann' });
    }
  };
  await driveToEnd(definition, history);
  const { info, changes, end } = history;
  return recordHistory({
    info,
    changes,
    messages: [],
    end: end && { ...end, endedAt: 0 },
    rest: null,
  });
}

if (process.env.MILLRACE_RECORD) {
  mkdirSync(folder, { recursive: true });
  for (const [file, definition, input] of recordings) {
    const text = JSON.stringify(await record(definition, input), null, 2);
    writeFileSync(path.join(folder, `${file}.json`), `${text}\n`);
  }
}

const files = globSync(path.join(folder, '*.json')).sort();

test('there is a history of every recording', () => {
  const names = files.map((file) => path.basename(file, '.json'));
  assert.deepEqual(names, recordings.map(([file]) => file).sort());
});

for (const file of files) {
  test(`${path.basename(file)} still fits its function`, async () => {
    const history = read(file);
    const definition = exampleWorkflows.find(({ name }) => name === history.workflow);
    assert.ok(definition, `${history.workflow} is known`);
    const report = await replayHistory(definition as AnyWorkflowDefinition, { history });
    assert.deepEqual([report.divergence, report.ok, report.unasked], [null, true, []]);
    assert.ok(describeHistory(history).length > 0);
  });
}

const approved = () => read(path.join(folder, 'expense-approved.json'));
const expense = (
  body: Parameters<typeof defineWorkflow<{ cents: number }>>[2],
): AnyWorkflowDefinition => defineWorkflow('expense', {}, body);

test('a step that is new is reported, and is not run', async () => {
  let ran = false;
  const Changed = expense(async (ctx) => {
    await ctx.run('check the budget', () => {
      ran = true;
    });
    return 'done';
  });
  const report = await replayHistory(Changed, { history: approved() });
  assert.match(report.divergence ?? '', /asks for 'check the budget' \(run\)/);
  assert.equal(ran, false);
});

test('a step behind a patch is not taken by runs of before', async () => {
  const Patched = expense(async (ctx) => {
    if (ctx.patch('budget')) await ctx.run('check the budget', () => 'fine');
    const { by } = await ctx.approval('manager');
    await ctx.sleep('bank', 1);
    return ctx.run('pay', () => `paid, said ${by}`);
  });
  const report = await replayHistory(Patched, { history: approved() });
  assert.equal(report.divergence, null);
});

test('a step of another kind, one left out and another result are reported', async () => {
  const otherKind = expense((ctx) => ctx.run('manager', () => 'no approval any more'));
  const first = await replayHistory(otherKind, { history: approved() });
  assert.match(first.divergence ?? '', /has 'manager' as approval; .* asks for it as run/);
  const shorter = expense(async (ctx) => `paid, said ${(await ctx.approval('manager')).by}`);
  const second = await replayHistory(shorter, { history: approved() });
  assert.match(second.divergence ?? '', /'bank' .* returned without asking for it/);
  const otherResult = expense(async (ctx) => {
    await ctx.approval('manager');
    await ctx.sleep('bank', 1);
    return `${await ctx.run('pay', () => '')}!`;
  });
  const third = await replayHistory(otherResult, { history: approved() });
  assert.match(third.divergence ?? '', /Its result is "paid, said ann!"/);
});

test('a history of another workflow is refused', async () => {
  await assert.rejects(replayHistory(Report, { history: approved() }), {
    code: 'WORKFLOW_INVALID',
  });
});

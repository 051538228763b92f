import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunRecord } from '../../core/workflow/run-record.ts';
import type { RunSummary } from '../../ports/workflow-queries.ts';
import { drawRun } from './mermaid.ts';
import { toRunView, toStepView } from './run-view.ts';

const runId = '01a1fe00-0000-7000-8000-000000000001';
const summary: RunSummary = {
  runId,
  tenantId: 't',
  namespace: 'shop',
  name: 'order',
  version: '1',
  templateHash: '',
  identity: null,
  key: '',
  priority: 0,
  correlationId: runId,
  traceparent: null,
  parent: null,
  inputJson: '{}',
  metadataJson: null,
  queue: 'shop_queue',
  jobName: 'run shop/order@1',
  startedAt: 1_000,
  state: 'blocked_by_failures',
  stateSince: 2_000,
  seq: 3,
  endedAt: null,
  resultJson: null,
  error: null,
  wakeAt: null,
  resting: true,
  epoch: null,
};

function stepsOf(create: Parameters<RunRecord['apply']>[0]['create']) {
  const record = new RunRecord();
  const error = { code: 'E', message: 'no "money" [today]; #1', stack: null, fingerprint: 'x' };
  record.apply({ at: 1_000, by: 'w', create, transitions: [[0, 'in_progress']] });
  record.apply({ at: 3_500, by: 'w', transitions: [[0, 'complete']] });
  record.apply({
    at: 4_000,
    by: 'w',
    transitions: [
      [1, 'in_progress'],
      [1, 'in_progress'],
      [1, 'error'],
    ],
    facts: [{ step: 1, error }],
  });
  return record.steps.map((step) => toStepView(runId, step));
}

test('steps are nodes with state and time, dependencies are arrows', () => {
  const steps = stepsOf([
    { name: 'check', kind: 'standard' },
    { name: 'pay', kind: 'standard', dependsOn: ['check'] },
    { name: 'ship', kind: 'decision', dependsOn: ['check', 'pay'] },
  ]);
  const drawing = drawRun(toRunView(summary), steps);
  assert.match(drawing, /^flowchart TD\n {2}run\(\["shop\/order@1<br\/>blocked_by_failures"\]\)/);
  assert.match(drawing, /s0\["check<br\/>complete · 2\.5 s"\]:::complete/);
  assert.match(drawing, /s1\["pay<br\/>error · 0 ms, 2 tries<br\/>no #34;money#34;/);
  assert.match(drawing, /s2\["ship<br\/>decision<br\/>pending"\]:::pending/);
  assert.deepEqual(
    drawing.split('\n').filter((row) => row.includes('-->')),
    ['  run --> s0', '  s0 --> s1', '  s0 --> s2', '  s1 --> s2'],
  );
  for (const state of ['complete', 'error', 'pending']) {
    assert.ok(drawing.includes(`classDef ${state} `), state);
  }
});

test('steps that name no other are a chain', () => {
  const steps = stepsOf([
    { name: 'a', kind: 'run' },
    { name: 'b', kind: 'run' },
    { name: 'c', kind: 'sleep' },
  ]);
  const arrows = drawRun(toRunView(summary), steps).match(/\S+ --> \S+/g);
  assert.deepEqual(arrows, ['run --> s0', 's0 --> s1', 's1 --> s2']);
});

test('no text of a run can leave its label', () => {
  const nasty = 'x"]:::error\n  click s0 "javascript:1" %%{}`<script>';
  const [step] = stepsOf([
    { name: nasty, kind: 'run' },
    { name: 'b', kind: 'run' },
  ]);
  assert.ok(step);
  const drawing = drawRun(toRunView({ ...summary, name: nasty }), [step]);
  for (const row of drawing.split('\n')) {
    assert.match(
      row,
      /^(flowchart TD|| {2}(run\(\["[^"]*"\]\)|s0\["[^"]*"\]:::\w+|run --> s0|classDef .*))$/,
    );
  }
  assert.ok(!/<script|`|click s0 "/.test(drawing));
});

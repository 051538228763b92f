/**
 * A worker is killed at every step of a run, when the step has done its work and nothing of that is
 * stored yet: the run ends as an undisturbed one, its transactional effects are there once.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import test from 'node:test';
import { steps } from './trips.ts';
import { WorkflowTrial } from './workflow-trial.ts';

test('a worker killed at every step boundary changes no outcome', {
  timeout: 600_000,
}, async () => {
  await using trial = await WorkflowTrial.open('workflows-kill-boundary');
  const fleet = await trial.fleet(2);
  const stopped = new AbortController();
  const supervised = fleet.keep(2, stopped.signal);
  for (const kind of ['function', 'dag'] as const) {
    for (const step of [null, ...steps]) await trial.start(kind, step);
  }
  const times = 2 * steps.length;
  await trial.judge({ fault: 'SIGKILL at every step', times, deaths: times, drainMs: 120_000 });
  const files = await fs.readdir(trial.effects.directory);
  const died = files.filter((file) => file.startsWith('died-'));
  assert.equal(died.length, times, 'each step ended its worker once');
  stopped.abort();
  await supervised;
});

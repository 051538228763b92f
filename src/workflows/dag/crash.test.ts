/**
 * The holder of a run dies at every one of its commits, before it is stored and after: whoever
 * takes the run over brings it to the same end, with the same states and results.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StoredRun } from '../../../test/support/stored-run.ts';
import { defineTask } from './define-task.ts';
import type { DagDefinition } from './definition.ts';
import { driveDag } from './driver.ts';
import { DagPlan } from './plan.ts';

/** Fresh for each run: its handlers may count. */
type Make = () => Pick<DagDefinition, 'compiled' | 'registry'>;

const retry = { attempts: 3, delayMs: 100, backoff: 'linear' } as const;
const later = <T>(value: T) => new Promise<T>((resolve) => setImmediate(() => resolve(value)));

const shapes: Readonly<Record<string, Make>> = {
  linear: () =>
    defineTask('linear')
      .step('a', () => 1)
      .step('b', { after: ['a'], handler: ({ results }) => later(results.a + 1) })
      .step('c', { after: ['b'], handler: ({ results }) => results.b + 1 })
      .build(),
  diamond: () =>
    defineTask('diamond')
      .step('top', () => 1)
      .step('left', { after: ['top'], handler: ({ results }) => results.top + 1 })
      .step('right', { after: ['top'], handler: ({ results }) => later(results.top + 2) })
      .step('end', {
        after: ['left', 'right'],
        handler: ({ results }) => results.left * results.right,
      })
      .build(),
  tree: () =>
    defineTask('tree')
      .step('root', () => later(1))
      .step('a', { after: ['root'], handler: ({ results }) => results.root + 1 })
      .step('b', { after: ['root'], handler: ({ results }) => later(results.root + 2) })
      .step('a1', { after: ['a'], handler: ({ results }) => results.a })
      .step('a2', { after: ['a'], handler: ({ results }) => later(results.a) })
      .step('b1', { after: ['b'], handler: ({ results }) => results.b })
      .build(),
  'decision and convergence': () =>
    defineTask('decision')
      .step('start', () => 3)
      .decision('route', {
        after: ['start'],
        branches: ['x', 'y', 'z'],
        handler: ({ results }) => (results.start > 2 ? ['x', 'z'] : ['y']),
      })
      .step('x', { after: ['route'], handler: () => later('X') })
      .step('y', { after: ['route'], handler: () => 'Y' })
      .step('z', { after: ['route'], handler: () => 'Z' })
      .converge('end', {
        after: ['x', 'y', 'z'],
        handler: ({ results }) => [results.x ?? '-', results.y ?? '-', results.z ?? '-'].join(''),
      })
      .build(),
  batch: () =>
    defineTask('batch')
      .batch('rows', {
        size: 10,
        parallelism: 2,
        plan: () => ({ totalItems: 35 }),
        worker: ({ batch }) => later(batch.size),
      })
      .step('sum', {
        after: ['rows'],
        handler: ({ results }) => results.rows.reduce((sum, n) => sum + n, 0),
      })
      .build(),
  retry: () =>
    defineTask('retry')
      .step('a', {
        retry,
        handler: ({ attempt }) => {
          if (attempt < 3) throw new Error(`try ${attempt}`);
          return attempt;
        },
      })
      .step('b', { after: ['a'], handler: ({ results }) => results.a })
      .build(),
  compensation: () =>
    defineTask('saga')
      .step('one', { handler: () => 1, compensate: () => later(null) })
      .step('two', { after: ['one'], handler: () => later(2), compensate: () => null })
      .step('three', {
        after: ['two'],
        retry: false,
        handler: () => Promise.reject(new Error('no')),
      })
      .build(),
  transaction: () =>
    defineTask('tx')
      .step('a', {
        transactional: true,
        handler: async ({ tx }) => {
          await tx?.query('insert');
          return 1;
        },
      })
      .step('b', { after: ['a'], handler: ({ results }) => results.a })
      .build(),
};

async function toItsEnd(make: Make, crash: StoredRun['crash']) {
  const run = new StoredRun({ seen: true });
  run.crash = crash;
  const { compiled, registry } = make();
  const plan = new DagPlan(compiled, registry);
  const holders: string[] = [];
  while (holders.at(-1) !== 'ended') {
    assert.ok(holders.length < 5, `it comes to no end: ${holders.join(', ')}`);
    // One that dies after its last commit is told so; the next one finds the end.
    holders.push(run.end ? 'ended' : await driveDag(run.hold(), plan, () => run.now));
  }
  return { run, holders };
}

function outcome(run: StoredRun) {
  const { state, notes } = run.record;
  const steps = run.record.steps.map(
    ({ name, kind, dependsOn, attempts, resultJson, error, ...step }) => ({
      ...{ name, kind, dependsOn, attempts, resultJson, state: step.state },
      error: error?.message ?? null,
    }),
  );
  steps.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { state, steps, notes: [...notes.keys()].sort(), end: run.end?.state, result: run.result };
}

describe('a holder that dies at any commit', () => {
  for (const [name, make] of Object.entries(shapes)) {
    it(name, async () => {
      const calm = await toItsEnd(make, null);
      assert.deepEqual(calm.holders, ['ended']);
      const expected = outcome(calm.run);
      assert.ok(calm.run.commits > 1, 'there is a commit to die at');
      for (let at = 1; at <= calm.run.commits; at += 1) {
        for (const stored of [false, true]) {
          const { run, holders } = await toItsEnd(make, { at, stored });
          assert.deepEqual(outcome(run), expected, `commit ${at}, stored: ${stored}`);
          // After the last one nothing is left to take over.
          const over = at === calm.run.commits && stored;
          assert.equal(holders.length, over ? 1 : 2, `commit ${at}, stored: ${stored}`);
          if (name === 'transaction') assert.deepEqual(run.effects, ['insert']);
        }
      }
    });
  }
});

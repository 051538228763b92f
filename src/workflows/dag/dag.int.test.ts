/** Declared workflows on the engine and the embedded Postgres. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { freshDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { openMill } from '../../../test/support/mill.ts';
import { defineHandler } from '../steps/define-handler.ts';
import { parseTemplate } from '../template/load.ts';
import { defineTask } from './define-task.ts';
import { workflowFromTemplate } from './definition.ts';
import { remoteStepRunner } from './remote.ts';

const database = await freshDatabase();
after(() => database.drop());
const unique = { identity: 'always_unique' } as const;

test('a diamond gives its results', async (t) => {
  const mill = await openMill(t, database.url);
  const dag = defineTask<{ n: number }>('diamond', unique)
    .step('top', ({ input }) => input.n)
    .step('left', { after: ['top'], handler: ({ results }) => results.top + 1 })
    .step('right', { after: ['top'], handler: async ({ results }) => results.top + 2 })
    .step('end', {
      after: ['left', 'right'],
      handler: ({ results }) => results.left * results.right,
    })
    .build();
  mill.workflows.work(dag);
  await mill.start();
  const handle = await mill.workflows.start(dag, { n: 1 });
  assert.deepEqual(await handle.result(), { end: 6 });
});

test('1,000 steps, and a chain of 50', async (t) => {
  const mill = await openMill(t, database.url);
  const steps = (count: number, after: (i: number) => string[]) =>
    Array.from({ length: count }, (_, i) => ({
      name: `s${i}`,
      dependencies: after(i),
      handler: { callable: 'count' },
    }));
  const make = (name: string, list: object[]) => {
    const yaml = { name, namespace_name: 'int', version: '1.0.0', identity: 'always_unique' };
    const template = parseTemplate(JSON.stringify({ ...yaml, steps: list }));
    return workflowFromTemplate(template, { count: (ctx) => ctx.stepName });
  };
  const wide = make(
    'wide',
    steps(1_000, (i) => (i === 999 ? ['s0', 's998'] : [])),
  );
  const deep = make(
    'deep',
    steps(50, (i) => (i === 0 ? [] : [`s${i - 1}`])),
  );
  mill.workflows.work([wide, deep]);
  await mill.start();
  const result = (await (await mill.workflows.start(wide, null)).result()) as object;
  assert.equal(Object.keys(result).length, 998);
  assert.deepEqual(await (await mill.workflows.start(deep, null)).result(), { s49: 's49' });
});

test('a batch of 1,000 rows, and a fan-out of 500 batches', async (t) => {
  const mill = await openMill(t, database.url);
  const dag = defineTask<{ rows: number; size: number }>('rows', unique)
    .batch('load', {
      plan: ({ input }) => ({ totalItems: input.rows, batchSize: input.size }),
      worker: ({ batch }) => batch.size,
    })
    .step('sum', {
      after: ['load'],
      handler: ({ results }) => results.load.reduce((sum, n) => sum + n, 0),
    })
    .build();
  mill.workflows.work(dag);
  await mill.start();
  const rows = await mill.workflows.start(dag, { rows: 1_000, size: 100 });
  assert.deepEqual(await rows.result(), { sum: 1_000 });
  const many = await mill.workflows.start(dag, { rows: 500, size: 1 });
  assert.deepEqual(await many.result(), { sum: 500 });
});

test('a template that is loaded anew changes no run that has started', async (t) => {
  const mill = await openMill(t, database.url);
  const seen: string[] = [];
  const record = defineHandler('record', {}, ({ context }) => {
    seen.push(`${context.runId} ${context.stepName}`);
    return context.stepName;
  });
  let open = false;
  const gate = defineHandler('gate', {}, () => {
    if (!open) throw new Error('not yet');
    return 'open';
  });
  const yaml = (last: string) => `
name: reload
namespace_name: int
version: 1.0.0
identity: always_unique
steps:
  - { name: gate, handler: { callable: gate }, retry: { max_attempts: 1 } }
  - { name: ${last}, handler: { callable: record }, dependencies: [gate] }
`;
  const define = (last: string) => workflowFromTemplate(parseTemplate(yaml(last)), [record, gate]);
  mill.workflows.work(define('before'));
  await mill.start();
  const old = await mill.workflows.start('int/reload', null);
  const blocked = async () =>
    (await mill.workflows.get(old.runId))?.state === 'blocked_by_failures';
  await eventually('it is blocked', blocked);
  open = true;
  mill.workflows.work(define('after'));
  const fresh = await mill.workflows.start('int/reload', null);
  assert.deepEqual(await fresh.result(), { after: 'after' });
  await mill.workflows.retry(old.runId, { by: 'ann' });
  const ended = async () => (await mill.workflows.get(old.runId))?.state === 'complete';
  await eventually('it has ended', ended);
  assert.deepEqual(seen, [`${fresh.runId} after`, `${old.runId} before`]);
});

test('a step of another namespace runs in the process that works on it', async (t) => {
  const orders = await openMill(t, database.url);
  const shipping = await openMill(t, database.url);
  let tries = 0;
  const ship = defineHandler('Ship', { depends: { pack: 'pack' } }, ({ pack, context }) => {
    tries += 1;
    assert.equal(context.namespace, 'shipping');
    if (tries === 1) throw new Error('the van is late');
    return { parcel: pack, try: context.attempt };
  });
  const template = parseTemplate(`
name: order
namespace_name: orders
version: 1.0.0
identity: always_unique
steps:
  - { name: pack, handler: { callable: Pack } }
  - name: ship
    namespace: shipping
    dependencies: [pack]
    handler: { callable: Ship }
    retry: { backoff_base_ms: 100 }
  - { name: bill, dependencies: [ship], handler: { callable: Bill } }
`);
  const order = workflowFromTemplate(template, {
    Pack: () => 'box',
    Bill: (ctx) => ctx.getDependencyResult('ship'),
  });
  orders.workflows.work(order);
  shipping.workflows.plug({ runRemoteStep: remoteStepRunner([ship]) });
  shipping.workflows.workOnSteps(['shipping']);
  await Promise.all([orders.start(), shipping.start()]);
  const handle = await orders.workflows.start(order, null);
  assert.deepEqual(await handle.result(), { bill: { parcel: 'box', try: 2 } });
  assert.equal(tries, 2);
  // The same answers once more: the run has ended, and nothing changes.
  const before = await orders.workflows.history(handle.runId);
  await orders.workflows.deliver([
    {
      runId: handle.runId,
      messageId: 'late',
      kind: 'step',
      name: '1',
      payloadJson: '{"attempt":1,"ok":true,"resultJson":"9"}',
    },
  ]);
  assert.deepEqual(await orders.workflows.history(handle.runId), before);
});

test('what a transactional step writes commits with its result', async (t) => {
  const mill = await openMill(t, database.url);
  const dag = defineTask('effects', unique)
    .step('a', {
      transactional: true,
      handler: async ({ tx }) => {
        const rows = await tx?.query<{ n: number }>('select 41 + 1 as n');
        return rows?.[0]?.n ?? null;
      },
    })
    .build();
  mill.workflows.work(dag);
  await mill.start();
  assert.deepEqual(await (await mill.workflows.start(dag, null)).result(), { a: 42 });
});

test('who waits for a run that is being undone is told once that is done', async (t) => {
  const mill = await openMill(t, database.url, { workflows: { residencyMs: 50 } });
  const other = await openMill(t, database.url);
  let broken = true;
  let undone = 0;
  const saga = defineTask('saga', unique)
    .step('book', {
      retry: { attempts: 3, delayMs: 300 },
      handler: () => 'seat',
      compensate: () => {
        if (broken || undone === 0) {
          undone = broken ? 0 : 1;
          broken = false;
          throw new Error('away');
        }
        undone += 1;
      },
    })
    .step('pay', {
      after: ['book'],
      retry: false,
      handler: () => Promise.reject(new Error('no')),
    })
    .build();
  mill.workflows.work(saga);
  await Promise.all([mill.start(), other.start()]);
  const { runId, result } = await mill.workflows.start(saga, null);
  const told = [result(), other.workflows.result(runId, { timeoutMs: 20_000 })];
  for (const one of told) {
    await assert.rejects(one, ({ details }: { details?: { state?: string } }) => {
      assert.equal(details?.state, 'error');
      return true;
    });
  }
  assert.equal(undone, 2, 'the third try did it');
});

test('a run that is paused with steps to undo rests, and goes on once it is resumed', async (t) => {
  const mill = await openMill(t, database.url, { workflows: { residencyMs: 50 } });
  const undone: string[] = [];
  const saga = defineTask('paused-saga', unique)
    .step('book', { handler: () => 'seat', compensate: () => void undone.push('book') })
    .step('pay', {
      after: ['book'],
      retry: false,
      handler: async ({ taskUuid }) => {
        await mill.workflows.pause(taskUuid);
        await eventually('it is paused', async () => (await mill.workflows.get(taskUuid))?.paused);
        throw new Error('no');
      },
    })
    .build();
  mill.workflows.work(saga);
  await mill.start();
  const { runId, result } = await mill.workflows.start(saga, null);
  await eventually('it rests', async () => (await mill.store.workflows.load(runId))?.rest);
  assert.deepEqual(undone, []);
  await mill.workflows.resume(runId);
  await assert.rejects(result({ timeoutMs: 20_000 }), /failed: no/);
  assert.deepEqual(undone, ['book']);
});

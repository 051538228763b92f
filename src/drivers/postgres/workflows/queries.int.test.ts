/** What SQL shows of runs on Postgres: histories as rows, and to whom. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { eachPostgres, type TestDatabase } from '../../../../test/support/database.ts';
import { ask } from '../../../../test/support/mill.ts';
import { newEventId } from '../../../core/ids.ts';
import {
  auditOf,
  parseChange,
  printChange,
  type RunChange,
  stepKinds,
} from '../../../core/workflow/run-record.ts';
import { stepStates, taskStates } from '../../../core/workflow/states.ts';
import type { Store } from '../../../ports/store.ts';
import {
  commit,
  link,
  newRun,
  startHeld,
  startHolder,
} from '../../../ports/workflows.fixtures.conformance.ts';
import { openPostgresStore } from '../store.ts';

eachPostgres('looking at runs', (server) => {
  let database: TestDatabase;
  let store: Store;
  let other: Promise<Store> | null = null;
  before(async () => {
    database = await server.fresh();
    store = await openPostgresStore({ url: database.url });
  });
  after(async () => {
    await (await other)?.close();
    await store.close();
    await database.drop();
  });
  const another = () => {
    other ??= openPostgresStore({ url: database.url });
    return other;
  };
  let number = 0;
  const context = () => {
    number += 1;
    const transaction = () => Promise.reject(new Error('none here'));
    return {
      queue: `q-${number}`,
      tenant: `t-${number}`,
      store,
      another,
      transaction,
      t: {} as never,
    };
  };

  it('names every state and kind as the core does', async () => {
    const names = async (name: string, count: number) =>
      (
        await ask<{ name: string }>(
          database.url,
          `select millrace.${name}(i) as name from generate_series(0, $1::int) i`,
          [count - 1],
        )
      ).map((row) => row.name);
    assert.deepEqual(await names('task_state_name', taskStates.length), [...taskStates]);
    assert.deepEqual(await names('step_state_name', stepStates.length), [...stepStates]);
    assert.deepEqual(await names('step_kind_name', stepKinds.length), [...stepKinds]);
  });

  it('shows histories as rows, as the audit of the core has them', async () => {
    const own = context();
    const epoch = await startHolder(own);
    const run = await startHeld(own, epoch, { correlationId: 'order-7' });
    const changes = history();
    for (const [i, change] of changes.entries()) {
      const json = printChange(change);
      assert.deepEqual(await commit(store, epoch, [link(run, i + 1, { changeJson: json })]), [
        'stored',
      ]);
    }
    const wanted = auditOf(changes.map((change) => parseChange(printChange(change))));
    const rows = (view: string, columns: string) =>
      ask<Record<string, unknown>>(
        database.url,
        `select ${columns} from millrace.${view} where task_uuid = $1 order by seq, at`,
        [run.runId],
      );
    const tasks = await rows('task_transitions', 'from_state, to_state, seq, most_recent, reason');
    assert.deepEqual(
      tasks.map(({ from_state, to_state, seq, reason }) => [from_state, to_state, seq, reason]),
      wanted
        .filter(({ step }) => step === null)
        .map((row) => [row.from, row.to, row.seq, row.reason]),
    );
    assert.deepEqual(
      tasks.map(({ most_recent }) => most_recent),
      [false, false, false, true],
    );
    const steps = await rows(
      'workflow_step_transitions',
      'step_name, kind, from_state, to_state, seq, done_by, most_recent, sort_key::int as place',
    );
    const byStep = (name: string) => steps.filter(({ step_name }) => step_name === name);
    for (const name of ['charge', 'ship']) {
      assert.deepEqual(
        byStep(name).map(({ from_state, to_state, seq, done_by }) => [
          from_state,
          to_state,
          seq,
          done_by,
        ]),
        wanted
          .filter(({ step }) => step === name)
          .map((row) => [row.from, row.to, row.seq, row.by]),
      );
      assert.deepEqual(
        byStep(name).map(({ place }) => place),
        byStep(name).map((_, i) => i + 1),
      );
      assert.equal(byStep(name).filter(({ most_recent }) => most_recent).length, 1);
    }
    assert.equal(byStep('ship')[0]?.kind, 'decision');
    const results = await rows(
      'workflow_step_result_audit',
      'step_name, attempt::int, success, worker_id, correlation_id, execution_ms, result, error',
    );
    assert.deepEqual(
      results.map((row) => [row.step_name, row.attempt, row.success, row.execution_ms, row.result]),
      [
        ['charge', 1, false, 40, null],
        ['charge', 2, true, 25, '{"paid":true}'],
        ['ship', 0, true, null, '{"by":"hand"}'],
      ],
    );
    assert.match(JSON.stringify(results[0]?.error), /no money/);
    assert.deepEqual([results[0]?.worker_id, results[2]?.worker_id], ['w1', 'ann']);
    assert.equal(results[0]?.correlation_id, 'order-7');
  });

  it('shows a tenant its own runs and investigations only', async () => {
    const relations = [
      'task_transitions',
      'workflow_step_transitions',
      'workflow_step_result_audit',
      'workflow_dead_letter',
    ];
    const tenants: string[] = [];
    for (let i = 0; i < 2; i += 1) {
      const own = context();
      tenants.push(own.tenant);
      const epoch = await startHolder(own);
      const run = await startHeld(own, epoch);
      for (const [seq, change] of history().entries()) {
        const changeJson = printChange(change);
        await commit(store, epoch, [link(run, seq + 1, { changeJson })]);
      }
      const entry = { runId: run.runId, reason: 'manual_dlq', snapshotJson: '{}' } as const;
      await store.workflows.queries.investigate(entry);
    }
    for (const tenant of [...tenants, 'nobody']) {
      await store.withTenant(tenant, async (tx) => {
        for (const relation of relations) {
          const found = await tx.query<{ tenant_id: string }>(
            `select distinct tenant_id from millrace.${relation}`,
          );
          const wanted = tenant === 'nobody' ? [] : [tenant];
          assert.deepEqual(
            found.map((row) => row.tenant_id),
            wanted,
            `${relation} as ${tenant}`,
          );
        }
      });
    }
    await assert.rejects(
      store.withTenant(tenants[0] as string, (tx) =>
        tx.query(`update millrace.workflow_dead_letter set status = 'cancelled'`),
      ),
      { code: '42501' },
    );
  });

  it('finds what fits among many that do not, and says where to go on', async () => {
    const own = context();
    const runs = Array.from({ length: 700 }, () => newRun(own, { runId: newEventId() }));
    const rare = newRun(own, { name: 'rare' });
    await store.workflows.start([rare, ...runs], { epoch: null, again: false });
    const { queries } = store.workflows;
    const page = await queries.list(
      { tenantId: own.tenant, name: 'rare' },
      { limit: 10, after: null },
    );
    assert.deepEqual(
      page.runs.map(({ runId }) => runId),
      [rare.runId],
    );
    assert.equal(page.next, null);
  });
});

/** Two steps: one that fails once, and one that somebody completes by hand. */
function history(): RunChange[] {
  const at = 1_700_000_000_000;
  const error = { code: 'POOR', message: 'no money', stack: null, fingerprint: 'poor' };
  return [
    {
      at,
      by: 'w1',
      create: [
        { name: 'charge', kind: 'standard' },
        { name: 'ship', kind: 'decision', template: 'ship_template', dependsOn: ['charge'] },
      ],
      transitions: [
        [-1, 'initializing'],
        [-1, 'enqueuing_steps'],
        [-1, 'steps_in_process'],
        [0, 'enqueued'],
        [0, 'in_progress'],
      ],
    },
    {
      at: at + 40,
      by: 'w1',
      transitions: [
        [0, 'enqueued_as_error_for_orchestration'],
        [0, 'waiting_for_retry'],
      ],
      facts: [{ step: 0, error, wakeAt: at + 50 }],
    },
    {
      at: at + 50,
      by: 'w1',
      transitions: [
        [0, 'pending'],
        [0, 'enqueued'],
        [0, 'in_progress'],
      ],
    },
    {
      at: at + 75,
      by: 'w2',
      transitions: [
        [0, 'enqueued_for_orchestration'],
        [0, 'complete'],
      ],
      facts: [{ step: 0, resultJson: '{"paid":true}', error: null, wakeAt: null }],
    },
    {
      at: at + 90,
      by: 'ann',
      reason: 'It was sent already.',
      transitions: [
        [1, 'complete'],
        [-1, 'evaluating_results'],
      ],
      facts: [{ step: 1, resultJson: '{"by":"hand"}' }],
    },
  ];
}

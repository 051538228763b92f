/** Answers to steps that ran elsewhere: they count as what a handler here would return. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { drive, StoredRun } from '../../../test/support/stored-run.ts';
import { defineHandler } from '../steps/define-handler.ts';
import { HandlerRegistry } from '../steps/handler-registry.ts';
import { parseTemplate } from '../template/load.ts';

const compiled = parseTemplate(`
name: answers
version: 1.0.0
steps:
  - name: choose
    type: decision
    namespace: away
    handler: { callable: Away }
  - { name: ship, dependencies: [choose], handler: { callable: Ship } }
`);
const batches = parseTemplate(`
name: answers
version: 1.0.0
steps:
  - name: cut
    type: batchable
    namespace: away
    handler: { callable: Away }
    batch_config: { batch_size: 2, worker_template: work }
  - { name: work, type: batch_worker, dependencies: [cut], handler: { callable: Ship } }
`);
const checked = parseTemplate(`
name: answers
version: 1.0.0
steps:
  - name: pay
    namespace: away
    handler: { callable: Away }
    result_schema: { type: object, required: [id], properties: { id: { type: integer } } }
`);

/** The run after the answer to its first step, which was sent away. */
async function answered(template: typeof compiled, answer: object): Promise<StoredRun> {
  const dag = { compiled: template, registry: new HandlerRegistry({ Ship: () => 'shipped' }) };
  const run = new StoredRun(null);
  assert.equal(await drive(dag, run), 'rested');
  const [job] = run.jobs;
  const { attempt } = JSON.parse(job?.payloadJson ?? '{}') as { attempt: number };
  run.send('step', '0', { attempt, ...answer });
  await drive(dag, run);
  return run;
}

const ok = (result: unknown) => ({ ok: true, resultJson: JSON.stringify(result) });

describe('the answer to a step that ran elsewhere', () => {
  for (const [what, template, answer] of [
    ['a decision without an outcome', compiled, ok({ chosen: 'ship' })],
    ['a decision for a step that is not there', compiled, ok('nowhere')],
    ['batches without cursors', batches, ok({ batch_processing_outcome: { type: 'no' } })],
    ['batches of no size', batches, ok({ totalItems: 4, batchSize: 0 })],
    ['a result that the schema refuses', checked, ok({ id: 'seven' })],
    ['no result where the schema wants one', checked, { ok: true }],
  ] as const) {
    it(`fails the step for good: ${what}`, async () => {
      const run = await answered(template, answer);
      const step = run.record.steps[0];
      assert.equal(step?.state, 'error');
      assert.equal(step?.error?.code, 'RESULT_INVALID');
      assert.equal(step?.attempts, 1);
      assert.equal(run.record.state, 'blocked_by_failures');
    });
  }

  it('has its outcome written out, and the run goes on by it', async () => {
    const chose = await answered(compiled, ok('ship'));
    assert.equal(chose.record.state, 'complete');
    const outcome = { type: 'create_steps', step_names: ['ship'] };
    assert.deepEqual(JSON.parse(chose.record.step('choose')?.resultJson ?? 'null'), {
      decision_point_outcome: outcome,
    });
    assert.equal(chose.record.step('ship')?.state, 'complete');
    const cut = await answered(batches, ok({ totalItems: 3 }));
    assert.equal(cut.record.state, 'complete');
    assert.equal(cut.record.step('work_002')?.state, 'complete');
    const paid = await answered(checked, ok({ id: 7 }));
    assert.deepEqual(paid.result, { pay: { id: 7 } });
  });

  it('that says it failed for good fails the step', async () => {
    const error = { code: null, message: 'late', stack: null, fingerprint: '-: late' };
    const run = await answered(checked, { ok: false, error, retryable: false });
    assert.equal(run.record.step('pay')?.error?.message, 'late');
    assert.equal(run.record.step('pay')?.state, 'error');
  });
});

describe('a step that runs elsewhere while the run is to be undone', () => {
  const saga = parseTemplate(`
name: saga
version: 1.0.0
steps:
  - name: book
    namespace: away
    handler: { callable: Away }
    compensate: { callable: Unbook }
  - { name: pay, handler: { callable: Pay }, retry: { max_attempts: 1 } }
`);

  async function sent() {
    const undone: unknown[] = [];
    const registry = new HandlerRegistry({
      Pay: () => Promise.reject(new Error('no')),
      Unbook: defineHandler('Unbook', {}, ({ context }) => undone.push(context.ownResult)),
    });
    const dag = { compiled: saga, registry };
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    assert.equal(run.end, null, 'what it does there is not known yet');
    const [job] = run.jobs;
    const { attempt } = JSON.parse(job?.payloadJson ?? '{}') as { attempt: number };
    return { dag, run, undone, attempt };
  }

  it('is waited for, and undone as well', async () => {
    const { dag, run, undone, attempt } = await sent();
    run.send('step', '0', { attempt, ...ok('seat 7') });
    assert.equal(await drive(dag, run), 'ended');
    assert.deepEqual(undone, ['seat 7']);
    assert.equal(run.end?.state, 'error');
  });

  it('is not tried again when it failed', async () => {
    const { dag, run, undone, attempt } = await sent();
    const error = { code: null, message: 'full', stack: null, fingerprint: '-: full' };
    run.send('step', '0', { attempt, ok: false, error, retryable: true });
    assert.equal(await drive(dag, run), 'ended');
    assert.deepEqual([undone, run.end?.state, run.jobs.length], [[], 'error', 1]);
  });

  it('can be cancelled by an operator who resolves it', async () => {
    const { dag, run, undone } = await sent();
    run.verb('resolve_step', { step: 'book' });
    assert.equal(await drive(dag, run), 'ended');
    assert.deepEqual([undone, run.end?.state], [[], 'error']);
  });
});

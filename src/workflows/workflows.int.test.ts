import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { ask, openMill } from '../../test/support/mill.ts';
import {
  beginning,
  inSequence,
  stepBegins,
  stepEnds,
  workflowOf,
} from '../../test/support/workflows.ts';
import { isMillraceError } from '../core/errors.ts';
import type { HeldTransaction } from './run/driver.ts';
import { parseRemoteStepResult, remoteStepJobFor } from './run/remote-step.ts';

const codeOf = (code: string) => (error: unknown) => isMillraceError(error) && error.code === code;

describe('workflows', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  it('drives a run of one step to its end', async (t) => {
    const mill = await openMill(t, database.url);
    const Once = workflowOf(
      'once',
      inSequence(1, (run) => ({ given: run.input })),
    );
    mill.workflows.work(Once);
    await mill.start();
    const run = await mill.workflows.start(Once, { n: 1 });
    assert.deepEqual(await run.result({ timeoutMs: 10_000 }), { given: { n: 1 } });
    const found = await mill.workflows.get(run.runId);
    assert.equal(found?.state, 'complete');
    assert.deepEqual(
      found?.steps.map(({ name, state, attempts }) => [name, state, attempts]),
      [['s0', 'complete', 1]],
    );
    const audit = await mill.workflows.history(run.runId);
    assert.deepEqual(
      audit.filter(({ step }) => step === null).map(({ to }) => to),
      ['initializing', 'enqueuing_steps', 'steps_in_process', 'evaluating_results', 'complete'],
    );
  });

  it('drives a hundred runs at once', async (t) => {
    const mill = await openMill(t, database.url);
    const Ten = workflowOf<{ n: number }>(
      'ten',
      inSequence(10, (run) => run.input),
    );
    mill.workflows.work(Ten);
    await mill.start();
    const runs = await mill.workflows.startMany(
      Ten,
      Array.from({ length: 100 }, (_, n) => ({ n })),
    );
    const results = await Promise.all(runs.map((run) => run.result({ timeoutMs: 20_000 })));
    assert.deepEqual(
      results,
      Array.from({ length: 100 }, (_, n) => ({ n })),
    );
    const { commits, batches } = mill.workflows.health();
    assert.equal(commits, 100 * 11);
    assert.ok(batches < 300, `${batches} batches for ${commits} commits`);
  });

  it('starts one run for one identity, whoever asks', async (t) => {
    const [one, two] = [await openMill(t, database.url), await openMill(t, database.url)];
    const Strict = workflowOf<unknown, number>(
      'strict',
      inSequence(1, () => 1),
      { identity: 'strict' },
    );
    one.workflows.work(Strict);
    await one.start();
    const starts = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? one : two).workflows.start(
          Strict,
          i % 3 === 0 ? { a: 1, b: 2 } : { b: 2, a: 1 },
        ),
      ),
    );
    assert.equal(new Set(starts.map(({ runId }) => runId)).size, 1);
    assert.equal(starts.filter(({ duplicate }) => !duplicate).length, 1);
    for (const run of starts) assert.equal(await run.result({ timeoutMs: 15_000 }), 1);
    const other = await two.workflows.start(Strict, { a: 1, b: 3 });
    assert.equal(other.duplicate, false);
    const throwing = { onDuplicate: 'throw' } as const;
    await assert.rejects(
      one.workflows.start(Strict, { a: 1, b: 2 }, throwing),
      codeOf('WORKFLOW_DUPLICATE'),
    );
    const keyed = await one.workflows.start(Strict, { a: 1, b: 2 }, { key: 'order-7' });
    assert.equal(keyed.duplicate, false, 'a key of the request is more than the strategy');
    const again = await two.workflows.start(Strict, { other: true }, { key: 'order-7' });
    assert.deepEqual([again.duplicate, again.runId], [true, keyed.runId]);
    assert.equal((await one.workflows.list({ name: 'strict' })).runs.length, 3);
    await eventually('no place stays taken', () => one.workflows.health().held === 0);
  });

  it('needs a key where the definition says so', async (t) => {
    const mill = await openMill(t, database.url);
    const Keyed = workflowOf('keyed', inSequence(1), { identity: 'caller_provided' });
    await assert.rejects(mill.workflows.start(Keyed, {}), codeOf('WORKFLOW_INPUT_INVALID'));
    assert.equal((await mill.workflows.start(Keyed, {}, { key: 'k' })).duplicate, false);
  });

  it('finds a workflow by its name and version', async (t) => {
    const mill = await openMill(t, database.url);
    const version = (one: string) =>
      workflowOf(
        'versioned',
        inSequence(1, () => one),
        { version: one },
      );
    mill.workflows.work([version('1.0.0'), version('2.0.0')]);
    await mill.start();
    const result = async (name: string, options = {}) =>
      (await mill.workflows.start(name, {}, options)).result({ timeoutMs: 15_000 });
    assert.equal(await result('versioned'), '2.0.0');
    assert.equal(await result('tests/versioned', { version: '1.0.0' }), '1.0.0');
    await assert.rejects(result('versionned'), codeOf('WORKFLOW_UNKNOWN'));
    await assert.rejects(result('versioned', { version: '3.0.0' }), codeOf('WORKFLOW_UNKNOWN'));
  });

  it('keeps the limits of a workflow over all processes', async (t) => {
    const [one, two] = [await openMill(t, database.url), await openMill(t, database.url)];
    let running = 0;
    let most = 0;
    const Limited = workflowOf(
      'limited',
      inSequence(1, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 20));
        running -= 1;
      }),
      { limits: { concurrency: 2 } },
    );
    for (const mill of [one, two]) {
      mill.workflows.work(Limited);
      await mill.start();
    }
    await eventually('the limit is known', async () => {
      const queues = await one.jobs.queues();
      return queues.some(({ queue, limits }) => {
        return queue === 'tests_limited_queue' && limits?.concurrency === 2;
      });
    });
    const runs = await one.workflows.startMany(
      Limited,
      Array.from({ length: 12 }, () => ({})),
    );
    await Promise.all(runs.map((run) => run.result({ timeoutMs: 20_000 })));
    assert.ok(most <= 2, `${most} at once`);
  });

  it('starts a run later', async (t) => {
    const mill = await openMill(t, database.url);
    const Later = workflowOf(
      'later',
      inSequence(1, () => Date.now()),
    );
    mill.workflows.work(Later);
    await mill.start();
    const at = Date.now();
    const run = await mill.workflows.start(Later, {}, { delayMs: 300 });
    assert.equal((await mill.workflows.get(run.runId))?.state, 'pending');
    const ranAt = (await run.result({ timeoutMs: 15_000 })) as number;
    assert.ok(ranAt - at >= 295, `after ${ranAt - at} ms`);
  });

  it('waits for a result in a process that does not work', async (t) => {
    const [client, worker] = [await openMill(t, database.url), await openMill(t, database.url)];
    let open: () => void = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const Far = workflowOf(
      'far',
      inSequence(2, async (_run, no) => {
        if (no === 1) await opened;
        return 'far away';
      }),
    );
    worker.workflows.work(Far);
    await worker.start();
    const run = await client.workflows.start(Far, {});
    await assert.rejects(run.result({ timeoutMs: 50 }), codeOf('WORKFLOW_TIMEOUT'));
    await assert.rejects(
      run.result({ signal: AbortSignal.abort(new Error('no more')) }),
      /no more/,
    );
    const result = run.result({ timeoutMs: 15_000 });
    open();
    assert.equal(await result, 'far away');
    assert.equal(await client.workflows.result(run.runId), 'far away', 'and afterwards');
    await assert.rejects(
      client.workflows.result('0190a000-0000-7000-8000-000000000000'),
      codeOf('NOT_FOUND'),
    );
  });

  it("starts a run with the caller's transaction", async (t) => {
    const mill = await openMill(t, database.url);
    const InTx = workflowOf(
      'in-tx',
      inSequence(1, () => 'there'),
    );
    mill.workflows.work(InTx);
    await mill.start();
    const run = await mill.store.withTenant('default', (tx) =>
      mill.workflows.start(InTx, {}, { tx }),
    );
    assert.equal(await run.result({ timeoutMs: 15_000 }), 'there');
    let undone = '';
    const failing = mill.store.withTenant('default', async (tx) => {
      undone = (await mill.workflows.start(InTx, {}, { tx })).runId;
      throw new Error('undo it');
    });
    await assert.rejects(failing, /undo it/);
    assert.equal(await mill.workflows.get(undone), null);
  });

  it('commits what a handler wrote together with its step', async (t) => {
    const mill = await openMill(t, database.url);
    await ask(database.url, 'create table written (n int); grant all on written to millrace_app');
    const Writes = workflowOf('writes', async (run) => {
      run.reserve(2);
      const create = ['good', 'bad'].map((name) => ({ name, kind: 'run' as const }));
      const first = run.commit({ create, transitions: [...beginning, ...stepBegins(0)] });
      const bad = await run.begin();
      await bad.tx.query('insert into written values (1)');
      await bad.rollback();
      const good = await run.begin();
      await good.tx.query('insert into written values (2)');
      // Into the line, between what is under way and what comes after it.
      const second = good.commit({
        transitions: stepEnds(0),
        facts: [{ step: 0, resultJson: '2' }],
      });
      const third = run.commit({
        transitions: [...stepBegins(1), ...stepEnds(1).slice(0, 2), [-1, 'complete']],
        end: { state: 'complete', resultJson: '2', error: null },
      });
      await Promise.all([first, second, third]);
      return 'ended';
    });
    mill.workflows.work(Writes);
    await mill.start();
    const run = await mill.workflows.start(Writes, {});
    assert.equal(await run.result({ timeoutMs: 15_000 }), 2);
    assert.deepEqual(await ask(database.url, 'select n from written'), [{ n: 2 }]);
  });

  it('runs a step where its namespace is worked on', async (t) => {
    const [home, away] = [await openMill(t, database.url), await openMill(t, database.url)];
    await ask(database.url, 'create table abroad (n int); grant all on abroad to millrace_app');
    const Abroad = workflowOf<{ readonly n: number }>('abroad', async (run) => {
      const { record, info } = run;
      if (record.steps.length === 0) {
        run.reserve(1);
        await run.commit({
          create: [{ name: 'elsewhere', kind: 'standard' }],
          transitions: [...beginning, [0, 'enqueued']],
          jobs: [remoteStepJobFor({ namespace: 'foreign', info, step: 0, attempt: 1 })],
        });
      }
      for (;;) {
        const [message] = await run.messages();
        if (message !== undefined) {
          const { resultJson, by } = parseRemoteStepResult(message.payloadJson);
          await run.commit({
            transitions: [[0, 'in_progress'], ...stepEnds(0), [-1, 'complete']],
            facts: [{ step: 0, resultJson }],
            read: message.no,
            end: { state: 'complete', resultJson: JSON.stringify({ resultJson, by }), error: null },
          });
          return 'ended';
        }
        if ((await run.wait(null)) === 'go') continue;
        const rest = { state: record.state, wakeAt: null };
        if ((await run.rest(rest, { transitions: [] })) === 'rested') return 'rested';
      }
    });
    home.workflows.work(Abroad);
    away.workflows.plug({
      runRemoteStep: async ({ run, step, attempt }) => {
        const transaction: HeldTransaction = await run.begin();
        const { n } = run.input as { readonly n: number };
        await transaction.tx.query('insert into abroad values ($1)', [n]);
        const value = `${step.name} ${attempt}`;
        const resultJson = JSON.stringify(value);
        return { kind: 'value', value, resultJson, events: [], transaction };
      },
    });
    away.workflows.workOnSteps(['foreign']);
    await Promise.all([home.start(), away.start()]);
    const run = await home.workflows.start(Abroad, { n: 5 });
    assert.deepEqual(await run.result({ timeoutMs: 15_000 }), {
      resultJson: '"elsewhere 1"',
      by: away.jobs.workerId,
    });
    assert.deepEqual(await ask(database.url, 'select n from abroad'), [{ n: 5 }]);
  });

  it('tells observers of what is durable, and calls none that throws twice', async (t) => {
    const seen: string[] = [];
    const errors: unknown[] = [];
    const mill = await openMill(t, database.url, {
      onError: (error) => errors.push(error),
    });
    mill.workflows.plug({
      observer: {
        created: () => seen.push('created'),
        held: (_run, how) => seen.push(`held ${how}`),
        stepCreated: (_run, step) => seen.push(`step ${step.name}`),
        transition: (_run, step, from, to) => {
          if (step !== null) seen.push(`${step.name}: ${from} → ${to}`);
        },
        letGo: (_run, how) => seen.push(how),
      },
    });
    mill.workflows.plug({
      observer: {
        committed: () => {
          throw new Error('a bad observer');
        },
      },
    });
    const Seen = workflowOf('seen', inSequence(1));
    mill.workflows.work(Seen);
    await mill.start();
    const run = await mill.workflows.start(Seen, {});
    await run.result({ timeoutMs: 15_000 });
    assert.deepEqual(seen, [
      'created',
      'held born',
      'step s0',
      's0: pending → enqueued',
      's0: enqueued → in_progress',
      's0: in_progress → enqueued_for_orchestration',
      's0: enqueued_for_orchestration → complete',
      'ended',
    ]);
    assert.equal(errors.length, 2);
  });
});

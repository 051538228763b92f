import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { callerTransaction } from '../../test/support/caller-transaction.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { ask, openMill } from '../../test/support/mill.ts';
import { inSequence, workflowOf } from '../../test/support/workflows.ts';
import type { MillraceError } from '../core/errors.ts';
import { printChange } from '../core/workflow/run-record.ts';
import type { Millrace } from '../millrace.ts';
import type { HeldRun } from './run/driver.ts';

/** Beats so seldom that it can be declared dead behind its back. */
const slow = { heartbeatMs: 3_000, timeToLiveMs: 30_000 };

describe('runs that change hands', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  async function declareDead(victim: Millrace, by: Millrace): Promise<void> {
    const { epoch } = victim.jobs.tenure;
    // Nobody is taken for dead while a settlement of his is under way, and a beat revives him.
    await eventually('it is declared dead', async () => {
      await ask(
        database.url,
        `update millrace.job_worker set heartbeat_at = heartbeat_at - interval '1 hour'
         where epoch = $1`,
        [epoch],
      );
      await by.store.jobs.recover({ crashesMax: 3 });
      const found = await ask(database.url, 'select 1 from millrace.job_worker where epoch = $1', [
        epoch,
      ]);
      return found.length === 0;
    });
  }

  it('goes on elsewhere when the epoch that held it since its start is dead', async (t) => {
    const [first, second] = [
      await openMill(t, database.url, slow),
      await openMill(t, database.url),
    ];
    const stuck = gate();
    const done: string[] = [];
    const Steps = (mill: string) =>
      workflowOf(
        'handed',
        inSequence(3, async (_run, no) => {
          if (mill === 'first' && no === 1) await stuck.opened;
          done.push(`${mill} s${no}`);
          return mill;
        }),
      );
    first.workflows.work(Steps('first'));
    await first.start();
    const run = await first.workflows.start(Steps('first'), {});
    await eventually('it is in its second step', () => done.length === 1);
    first.jobs.tenure.hold(['tests_queue']); // under its next epoch it could take it again
    second.workflows.work(Steps('second'));
    await second.start();
    await declareDead(first, second);
    assert.equal(await second.workflows.result(run.runId, { timeoutMs: 60_000 }), 'second');
    stuck.open();
    assert.equal(await run.result({ timeoutMs: 60_000 }), 'second');
    await eventually('the first one let go of it', () => first.workflows.health().held === 0);
    const found = await second.workflows.get(run.runId);
    assert.deepEqual(
      found?.steps.map(({ result }) => result),
      ['first', 'second', 'second'],
    );
    assert.deepEqual(
      done.filter((one) => one.startsWith('second')),
      ['second s1', 'second s2'],
      'what was stored is not done again',
    );
  });

  it('goes on when the epoch that claimed its job is dead', async (t) => {
    const [first, second] = [
      await openMill(t, database.url, slow),
      await openMill(t, database.url),
    ];
    const stuck = gate();
    const began = gate();
    const Steps = (mill: string) =>
      workflowOf(
        'claimed',
        inSequence(2, async () => {
          began.open();
          if (mill === 'first') await stuck.opened;
          return mill;
        }),
      );
    second.workflows.register(Steps('second'));
    const run = await second.workflows.start(Steps('second'), {});
    first.workflows.work(Steps('first'));
    await first.start();
    await began.opened;
    first.jobs.tenure.hold(['tests_queue']);
    second.workflows.work(Steps('second'));
    await second.start();
    await declareDead(first, second);
    assert.equal(await run.result({ timeoutMs: 60_000 }), 'second');
    stuck.open();
    const jobs = await ask(database.url, 'select 1 from millrace.job_state where status = $1', [
      'dead',
    ]);
    assert.equal(jobs.length, 0);
  });

  it('tells a holder that another one has added a link, and stores nothing of it', async (t) => {
    const mill = await openMill(t, database.url);
    const other = await openMill(t, database.url);
    const entered = gate();
    const go = gate();
    let held: HeldRun | null = null;
    const Steps = workflowOf(
      'fenced',
      inSequence(2, async (run) => {
        held = run;
        entered.open();
        await go.opened;
        return 1;
      }),
    );
    mill.workflows.work(Steps);
    await mill.start();
    await other.start();
    const run = await mill.workflows.start(Steps, {});
    await entered.opened;
    const { outcomes } = await other.store.workflows.commit({
      epoch: other.jobs.tenure.epoch as number,
      commits: [
        {
          runId: run.runId,
          tenantId: 'default',
          seq: 2,
          state: 'steps_in_process',
          changeJson: printChange({ at: Date.now(), by: 'other', transitions: [] }),
        },
      ],
      again: false,
    });
    assert.deepEqual(outcomes, ['stored']);
    go.open();
    await eventually('it is lost', () => mill.workflows.health().held === 0);
    const { signal } = held as unknown as HeldRun;
    assert.ok(signal.aborted);
    assert.equal((signal.reason as MillraceError).code, 'LEASE_LOST');
    const found = await mill.workflows.get(run.runId);
    assert.equal(found?.seq, 2);
    assert.equal(found?.steps[0]?.state, 'in_progress');
  });

  it('hands on at a stop: handlers finish, the rest goes on elsewhere at once', async (t) => {
    const [first, second] = [await openMill(t, database.url), await openMill(t, database.url)];
    const finished: string[] = [];
    const Steps = (mill: string) =>
      workflowOf(
        'stopped',
        inSequence(4, async (_run, no) => {
          await new Promise((resolve) => setTimeout(resolve, 60));
          finished.push(`${mill} ${no}`);
          return mill;
        }),
      );
    first.workflows.work(Steps('first'));
    await first.start();
    const runs = await first.workflows.startMany(
      Steps('first'),
      Array.from({ length: 20 }, () => ({})),
    );
    await eventually('some steps are done', () => finished.length >= 20);
    await first.stop();
    const byFirst = finished.length;
    assert.ok(byFirst < 80, 'it did not wait for the ends of the runs');
    second.workflows.work(Steps('second'));
    await second.start();
    for (const { runId } of runs) {
      assert.equal(await second.workflows.result(runId, { timeoutMs: 60_000 }), 'second');
    }
    assert.equal(finished.length, 80, 'no handler was stopped half-way, none ran twice');
  });

  it('aborts handlers that outlast the grace of a stop, and hands their runs on', async (t) => {
    const [first, second] = [
      await openMill(t, database.url, { graceMs: 100 }),
      await openMill(t, database.url),
    ];
    const entered = gate();
    let reason: unknown = null;
    const Steps = (mill: string) =>
      workflowOf(
        'graceless',
        inSequence(1, async (run) => {
          if (mill === 'second') return mill;
          entered.open();
          await new Promise<void>((resolve) => {
            run.signal.addEventListener('abort', () => {
              reason = run.signal.reason;
              resolve();
            });
          });
          return mill;
        }),
      );
    first.workflows.work(Steps('first'));
    await first.start();
    const run = await first.workflows.start(Steps('first'), {});
    await entered.opened;
    await first.stop();
    assert.equal((reason as MillraceError).code, 'SHUTTING_DOWN');
    second.workflows.work(Steps('second'));
    await second.start();
    assert.equal(await second.workflows.result(run.runId, { timeoutMs: 60_000 }), 'second');
  });

  it('drives a run that began with another template by the stored one', async (t) => {
    const template = (hash: string) => ({
      hash,
      namespace: 'tests',
      name: 'templated',
      version: '1.0.0',
      definitionJson: JSON.stringify({ hash }),
    });
    const made = (hash: string) =>
      workflowOf(
        'templated',
        inSequence(1, () => hash),
        { template: template(hash) },
      );
    const starter = await openMill(t, database.url);
    const old = await starter.workflows.start(made('old'), {});
    const mill = await openMill(t, database.url);
    const asked: string[] = [];
    mill.workflows.plug({
      fromTemplate: (stored) => {
        asked.push(stored.definitionJson);
        return made(stored.hash);
      },
    });
    mill.workflows.work(made('new'));
    await mill.start();
    const young = await mill.workflows.start(made('new'), {});
    assert.equal(await young.result({ timeoutMs: 60_000 }), 'new');
    assert.equal(await old.result({ timeoutMs: 60_000 }), 'old');
    assert.deepEqual(asked, ['{"hash":"old"}']);
  });

  it('leaves a run whose driver throws to a later try', async (t) => {
    const errors: string[] = [];
    const mill = await openMill(t, database.url, {
      onError: (error) => errors.push((error as Error).message),
    });
    let calls = 0;
    const good = inSequence(1, () => 'well');
    const Clumsy = workflowOf('clumsy', (run) => {
      calls += 1;
      if (calls === 1) throw new Error('the driver has a bug');
      return good(run);
    });
    mill.workflows.register(Clumsy);
    const run = await mill.workflows.start(Clumsy, {});
    mill.workflows.work(Clumsy);
    await mill.start();
    assert.equal(await run.result({ timeoutMs: 20_000 }), 'well');
    assert.equal(calls, 2);
    assert.ok(errors.includes('the driver has a bug'));
  });

  it('hands on a run whose driver threw while somebody keeps it locked for long', async (t) => {
    const mill = await openMill(t, database.url, { onError: () => {} });
    const locked = gate();
    let holdings = 0;
    const good = inSequence(1, () => 'good');
    const Locked = workflowOf('locked', async (run) => {
      holdings += 1;
      if (holdings > 1) return good(run);
      await locked.opened;
      throw new Error('broken');
    });
    mill.workflows.work(Locked);
    await mill.start();
    const run = await mill.workflows.start(Locked, {});
    await callerTransaction(database.url)(async (tx) => {
      const signal = { kind: 'signal', name: 'hello', payloadJson: 'null' } as const;
      const message = { ...signal, runId: run.runId, messageId: 'one' };
      await mill.store.workflows.deliver([message], { tx });
      locked.open();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    });
    assert.equal(await run.result({ timeoutMs: 20_000 }), 'good');
  });

  it('lets a run that has waited for long go before younger and more urgent ones', async (t) => {
    const mill = await openMill(t, database.url, { workflows: { ageingMs: 50 } });
    const order: string[] = [];
    const Ordered = workflowOf(
      'ordered',
      inSequence(1, (run) => order.push(String(run.input))),
      { namespace: 'ageing' },
    );
    mill.workflows.register(Ordered);
    const old = await mill.workflows.start(Ordered, 'old', { priority: 10 });
    await ask(
      database.url,
      `update millrace.job_state set run_at = run_at - interval '1 hour'
       where name = 'run ageing/ordered@1.0.0'`,
    );
    const young = await mill.workflows.start(Ordered, 'young', { priority: 0 });
    // As the upkeep of a process that works on another version of it would.
    const age = { queues: ['ageing_queue', 'other_queue'], everyMs: 60_000, limit: 100 };
    assert.equal(await mill.store.workflows.age({ ...age, queues: ['other_queue'] }), 0);
    assert.equal(await mill.store.workflows.age(age), 1);
    assert.equal(await mill.store.workflows.age(age), 0, 'however often it is asked for');
    mill.workflows.work(Ordered, { concurrency: 1 });
    await mill.start();
    for (const run of [old, young]) await run.result({ timeoutMs: 60_000 });
    assert.deepEqual(order, ['old', 'young']);
  });

  it('loses and repeats nothing while connections are cut again and again', async (t) => {
    const mill = await openMill(t, database.url, { timeToLiveMs: 30_000 });
    const begun = new Map<string, number>();
    const Cut = workflowOf(
      'cut',
      inSequence(8, async (run, no) => {
        const step = `${run.info.runId} ${no}`;
        begun.set(step, (begun.get(step) ?? 0) + 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        return no;
      }),
    );
    mill.workflows.work(Cut);
    await mill.start();
    const cut = `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`;
    let over = false;
    const cutting = (async () => {
      while (!over) {
        await ask(database.url, cut);
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    })();
    const runs = await mill.workflows.startMany(
      Cut,
      Array.from({ length: 40 }, (_, n) => n),
    );
    const early = await Promise.race([
      Promise.all(runs.map((run) => run.result({ timeoutMs: 30_000 }))).then(() => true),
      new Promise((resolve) => setTimeout(() => resolve(false), 1_500)),
    ]);
    over = true;
    await cutting;
    for (const run of runs) assert.equal(await run.result({ timeoutMs: 30_000 }), 7);
    assert.equal(begun.size, 320);
    assert.deepEqual(new Set(begun.values()), new Set([1]), 'no step ran twice');
    t.diagnostic(`done ${early ? 'while' : 'after'} connections were cut`);
  });

  it('stores the others when one run is refused, and tries that one again', async (t) => {
    const errors: string[] = [];
    const mill = await openMill(t, database.url, {
      onError: (error) => errors.push(String(error)),
    });
    const good = inSequence(1, () => 'good');
    let bad = 0;
    const Mixed = workflowOf('mixed', async (run) => {
      if (run.input !== 'bad' || bad > 0) return good(run);
      bad += 1;
      await run.commit({
        transitions: [[-1, 'cancelled']],
        end: { state: 'cancelled', resultJson: '{ this is no JSON', error: null },
      });
      return 'ended';
    });
    mill.workflows.work(Mixed);
    await mill.start();
    const runs = await mill.workflows.startMany(Mixed, ['one', 'bad', 'two']);
    for (const run of runs) assert.equal(await run.result({ timeoutMs: 20_000 }), 'good');
    assert.equal(bad, 1);
    assert.ok(errors.length > 0);
  });
});

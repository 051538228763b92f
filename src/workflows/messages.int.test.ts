import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import {
  beginning,
  inSequence,
  stepBegins,
  stepEnds,
  workflowOf,
} from '../../test/support/workflows.ts';
import { isMillraceError } from '../core/errors.ts';
import { newEventId } from '../core/ids.ts';
import type { NewRun } from '../ports/workflows.ts';
import { type AnyWorkflowDefinition, jobNameOf, queueOf } from './definition.ts';
import type { Drive, HeldRun } from './run/driver.ts';

const codeOf = (code: string) => (error: unknown) => isMillraceError(error) && error.code === code;

/** One step, which ends when so many messages were read; the run's result is what they said. */
function collect(count: number, kind: 'signal' | 'event' = 'signal') {
  return async (run: HeldRun): Promise<Drive> => {
    const { record } = run;
    if (record.steps.length === 0) {
      run.reserve(1);
      const input = run.input as { readonly eventType?: string; readonly key?: string };
      await run.commit({
        create: [{ name: 'inbox', kind }],
        transitions: [...beginning, ...stepBegins(0)],
        ...(kind === 'event' && {
          waits: [{ eventType: input.eventType as string, eventKey: input.key ?? null, step: 0 }],
        }),
      });
    }
    for (;;) {
      if (run.signal.aborted) return 'lost';
      const messages = await run.messages();
      const before = JSON.parse(record.notes.get('read') ?? '[]') as unknown[];
      const all = [...before, ...messages.map(({ payloadJson }) => JSON.parse(payloadJson))];
      if (all.length >= count) {
        const resultJson = JSON.stringify(all);
        await run.commit({
          transitions: [...stepEnds(0), [-1, 'complete']],
          read: messages.at(-1)?.no,
          end: { state: 'complete', resultJson, error: null },
        });
        return 'ended';
      }
      if (messages.length > 0) {
        const notes = [['read', JSON.stringify(all)]] as const;
        await run.commit({ transitions: [], notes, read: messages.at(-1)?.no });
        continue;
      }
      if ((await run.wait(null)) === 'go') continue;
      const rest = { state: record.state, wakeAt: null };
      if ((await run.rest(rest, { transitions: [] })) === 'rested') return 'rested';
    }
  };
}

describe('messages to runs', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  it('delivers every signal once, whether the run is held, rests or comes to rest', async (t) => {
    // Without residency the run rests whenever it has read what there is.
    const workflows = { residencyMs: 0 };
    const mill = await openMill(t, database.url, { workflows });
    const other = await openMill(t, database.url);
    const total = 300;
    const Collect = workflowOf<unknown, number[]>('collect', collect(total));
    mill.workflows.work(Collect);
    await mill.start();
    const run = await mill.workflows.start(Collect, {});
    const numbers = Array.from({ length: total }, (_, n) => n);
    for (let from = 0; from < total; from += 20) {
      await Promise.all(
        numbers.slice(from, from + 20).map(async (n) => {
          const by = n % 2 === 0 ? mill : other;
          const messageId = `number-${n}`;
          assert.equal(await by.workflows.signal(run.runId, 'n', n, { messageId }), 'delivered');
          if (n === 4) {
            const again = await other.workflows.signal(run.runId, 'n', n, { messageId });
            assert.equal(again, 'duplicate');
          }
        }),
      );
    }
    const read = (await run.result({ timeoutMs: 20_000 })) as number[];
    assert.deepEqual(
      [...read].sort((a, b) => a - b),
      numbers,
    );
    await assert.rejects(mill.workflows.signal(run.runId, 'n', 1), codeOf('WORKFLOW_STATE'));
    await assert.rejects(mill.workflows.signal(newEventId(), 'n', 1), codeOf('NOT_FOUND'));
  });

  it('stays in memory for a while, and reads a signal there without a job', async (t) => {
    const mill = await openMill(t, database.url, { workflows: { residencyMs: 60_000 } });
    const Collect = workflowOf('resident', collect(2));
    mill.workflows.work(Collect);
    await mill.start();
    const run = await mill.workflows.start(Collect, {});
    await eventually('it waits', () => mill.workflows.health().waiting === 1);
    await mill.workflows.signal(run.runId, 'x', 'a');
    await eventually('it has read', async () => {
      const found = await mill.workflows.get(run.runId);
      return found?.notes.read !== undefined && !found.resting;
    });
    const other = await openMill(t, database.url);
    await other.workflows.signal(run.runId, 'x', 'b');
    assert.deepEqual(await run.result({ timeoutMs: 10_000 }), ['a', 'b']);
    assert.equal(mill.jobs.totals().started, 0, 'it never went through its queue');
  });

  it('lets runs that only wait go when there is no room for others', async (t) => {
    const mill = await openMill(t, database.url, { workflows: { residencyMs: 60_000 } });
    const Collect = workflowOf('crowd', collect(1));
    const Quick = workflowOf(
      'quick',
      inSequence(2, () => 1),
    );
    mill.workflows.work([Collect, Quick], { concurrency: 3 });
    await mill.start();
    const waiting = await mill.workflows.startMany(Collect, [1, 2, 3, 4, 5, 6]);
    const quick = await mill.workflows.startMany(Quick, [1, 2, 3, 4, 5, 6]);
    for (const run of quick) assert.equal(await run.result({ timeoutMs: 15_000 }), 1);
    for (const run of waiting) await mill.workflows.signal(run.runId, 'x', 'there');
    for (const run of waiting) assert.deepEqual(await run.result({ timeoutMs: 15_000 }), ['there']);
  });

  it('wakes a run that rests when its time has come', async (t) => {
    const mill = await openMill(t, database.url, { workflows: { residencyMs: 5 } });
    const Sleeper = workflowOf('sleeper', async (run) => {
      const { record } = run;
      if (record.steps.length === 0) {
        run.reserve(1);
        await run.commit({
          create: [{ name: 'nap', kind: 'sleep' }],
          transitions: [...beginning, ...stepBegins(0)],
          facts: [{ step: 0, wakeAt: Date.now() + 400 }],
        });
      }
      const wakeAt = record.steps[0]?.wakeAt as number;
      while (Date.now() < wakeAt) {
        if ((await run.wait(wakeAt)) === 'go') continue;
        const rested = await run.rest({ state: record.state, wakeAt }, { transitions: [] });
        if (rested === 'rested') return 'rested';
      }
      await run.commit({
        transitions: [...stepEnds(0), [-1, 'complete']],
        end: { state: 'complete', resultJson: String(Date.now() - wakeAt), error: null },
      });
      return 'ended';
    });
    mill.workflows.work(Sleeper);
    await mill.start();
    const run = await mill.workflows.start(Sleeper, {});
    await eventually('it rests', async () => (await mill.workflows.get(run.runId))?.resting);
    const lateMs = Number(await run.result({ timeoutMs: 15_000 }));
    assert.ok(lateMs >= 0, 'not before its time');
    assert.equal(mill.jobs.totals().started, 1);
  });

  it('delivers an event of the log to the runs that wait for its type and key', async (t) => {
    const { Thing } = names();
    const mill = await openMill(t, database.url, { events: [Thing] });
    const Wait = workflowOf('event', collect(1, 'event'), { waitsFor: [Thing.type] });
    mill.workflows.work(Wait);
    await mill.start();
    const [mine, any, others] = await mill.workflows.startMany(Wait, [
      { eventType: Thing.type, key: 'k1' },
      { eventType: Thing.type },
      { eventType: Thing.type, key: 'k2' },
    ]);
    await eventually('they wait', () => mill.workflows.health().waiting === 3);
    await mill.publish(Thing, { tenantId: 'default', key: 'k1', payload: { n: 7 } });
    const said = (result: unknown) => JSON.stringify(result);
    assert.match(said(await mine?.result({ timeoutMs: 15_000 })), /"n":7/);
    assert.match(said(await any?.result({ timeoutMs: 15_000 })), /"n":7/);
    const other = await mill.workflows.get(others?.runId as string);
    assert.equal(other?.state, 'steps_in_process');
  });

  it('cancels: handlers are told, open steps and children are cancelled', async (t) => {
    const mill = await openMill(t, database.url);
    const Child = workflowOf('child', collect(1));
    let reason: unknown = null;
    const childId = newEventId();
    const Parent = workflowOf('parent', async (run) => {
      run.reserve(3);
      await run.commit({
        create: [
          { name: 'done', kind: 'run' },
          { name: 'at work', kind: 'run' },
          { name: 'child', kind: 'child' },
        ],
        transitions: [...beginning, ...[0, 1, 2].flatMap(stepBegins), ...stepEnds(0)],
        starts: [childRun(Child, childId, run, 2)],
      });
      await new Promise<void>((resolve) => {
        run.signal.addEventListener('abort', () => {
          reason = run.signal.reason;
          resolve();
        });
      });
      return 'lost';
    });
    mill.workflows.work([Parent, Child]);
    await mill.start();
    const run = await mill.workflows.start(Parent, {});
    await eventually('the child waits', async () => {
      return (await mill.workflows.get(childId))?.steps[0]?.state === 'in_progress';
    });
    assert.equal(mill.jobs.totals().started, 0, 'the child was held from its start');
    await mill.workflows.cancel(run.runId, { by: 'ann', reason: 'not wanted' });
    await assert.rejects(run.result({ timeoutMs: 15_000 }), codeOf('WORKFLOW_CANCELLED'));
    assert.ok(codeOf('WORKFLOW_CANCELLED')(reason), String(reason));
    await assert.rejects(
      mill.workflows.result(childId, { timeoutMs: 15_000 }),
      codeOf('WORKFLOW_CANCELLED'),
    );
    const found = await mill.workflows.get(run.runId);
    assert.deepEqual(
      found?.steps.map(({ state }) => state),
      ['complete', 'cancelled', 'cancelled'],
    );
    const audit = await mill.workflows.history(run.runId);
    const { to, by, reason: why } = audit.at(-1) as (typeof audit)[number];
    assert.deepEqual({ to, by, why }, { to: 'cancelled', by: 'ann', why: 'not wanted' });
  });

  it('tells a parent that its child has ended', async (t) => {
    const mill = await openMill(t, database.url);
    const Child = workflowOf(
      'told',
      inSequence(1, (run) => run.input),
    );
    const Parent = workflowOf('tells', async (run) => {
      run.reserve(1);
      await run.commit({
        create: [{ name: 'child', kind: 'child' }],
        transitions: [...beginning, ...stepBegins(0)],
        starts: [childRun(Child, newEventId(), run, 0)],
      });
      for (;;) {
        const [message] = await run.messages();
        if (message !== undefined) {
          await run.commit({
            transitions: [...stepEnds(0), [-1, 'complete']],
            read: message.no,
            end: { state: 'complete', resultJson: message.payloadJson, error: null },
          });
          return 'ended';
        }
        if ((await run.wait(null)) === 'rest') return 'lost';
      }
    });
    mill.workflows.work([Parent, Child]);
    await mill.start();
    const run = await mill.workflows.start(Parent, { of: 'parent' });
    const told = (await run.result({ timeoutMs: 15_000 })) as { readonly state: string };
    assert.equal(told.state, 'complete');
    assert.match(JSON.stringify(told), /of.*parent/);
  });

  it('pauses: nothing begins until it is resumed, and the handler at work finishes', async (t) => {
    const mill = await openMill(t, database.url, { workflows: { residencyMs: 20 } });
    const entered = gate();
    const go = gate();
    const done: number[] = [];
    const Steps = workflowOf(
      'pausing',
      inSequence(3, async (_run, no) => {
        if (no === 0) {
          entered.open();
          await go.opened;
        }
        done.push(no);
        return no;
      }),
    );
    mill.workflows.work(Steps);
    await mill.start();
    const run = await mill.workflows.start(Steps, {});
    await entered.opened;
    await mill.workflows.pause(run.runId, { by: 'ann', reason: 'lunch' });
    await eventually('it is paused', async () => (await mill.workflows.get(run.runId))?.paused);
    assert.deepEqual(done, []);
    go.open();
    await eventually('it rests', async () => (await mill.workflows.get(run.runId))?.resting);
    assert.deepEqual(done, [0]);
    const paused = await mill.workflows.get(run.runId);
    assert.match(JSON.stringify(paused?.notes.paused), /lunch/);
    await mill.workflows.resume(run.runId);
    assert.equal(await run.result({ timeoutMs: 15_000 }), 2);
    assert.deepEqual(done, [0, 1, 2]);
    const read = await mill.store.workflows.load(run.runId);
    assert.deepEqual(read?.messages, [], 'both verbs count as read');
  });

  it('ends a run by hand, with a result; gives a blocked one up', async (t) => {
    const mill = await openMill(t, database.url);
    const Collect = workflowOf('by-hand', collect(1));
    const Blocked = workflowOf('blocked', async (run) => {
      if (run.record.steps.length === 0) {
        run.reserve(1);
        const error = { code: 'BAD', message: 'it broke', stack: null, fingerprint: 'BAD' };
        await run.commit({
          create: [{ name: 'bad', kind: 'run' }],
          transitions: [
            ...beginning,
            ...stepBegins(0),
            [0, 'enqueued_as_error_for_orchestration'],
            [0, 'error'],
            [-1, 'evaluating_results'],
            [-1, 'blocked_by_failures'],
          ],
          facts: [{ step: 0, error }],
        });
      }
      await run.wait(null);
      const rest = { state: 'blocked_by_failures', wakeAt: null } as const;
      return (await run.rest(rest, { transitions: [] })) === 'rested' ? 'rested' : 'lost';
    });
    mill.workflows.work([Collect, Blocked]);
    await mill.start();
    const byHand = await mill.workflows.start(Collect, {});
    await mill.workflows.resolve(byHand.runId, { by: 'ann', result: { by: 'hand' } });
    assert.deepEqual(await byHand.result({ timeoutMs: 15_000 }), { by: 'hand' });
    assert.equal((await mill.workflows.get(byHand.runId))?.state, 'resolved_manually');

    const blocked = await mill.workflows.start(Blocked, {});
    await assert.rejects(blocked.result({ timeoutMs: 15_000 }), /is blocked: it broke/);
    await mill.workflows.giveUp(blocked.runId, { by: 'bob' });
    await eventually('it ended', async () => {
      return (await mill.workflows.get(blocked.runId))?.state === 'error';
    });
    await assert.rejects(blocked.result({ timeoutMs: 15_000 }), codeOf('WORKFLOW_FAILED'));
  });
});

function childRun(
  definition: AnyWorkflowDefinition,
  runId: string,
  parent: HeldRun,
  step: number,
): NewRun {
  return {
    runId,
    tenantId: parent.info.tenantId,
    namespace: definition.namespace,
    name: definition.name,
    version: definition.version,
    templateHash: '',
    identity: null,
    key: '',
    priority: 0,
    correlationId: parent.info.correlationId,
    traceparent: null,
    parent: { runId: parent.info.runId, step },
    inputJson: parent.info.inputJson,
    metadataJson: null,
    queue: queueOf(definition),
    jobName: jobNameOf(definition),
    held: false,
    delayMs: 0,
  };
}

/** Cases for reading runs: by id, in pages, counted; and for investigations and stale runs. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TaskState, taskStates } from '../core/workflow/states.ts';
import type { RunFilter, RunSummary } from './workflow-queries.ts';
import {
  commit,
  complete,
  failed,
  link,
  newId,
  newRun,
  restedRun,
  start,
  startHeld,
  startHolder,
  type WorkflowCaseContext,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { NewRun } from './workflows.ts';

/** All pages of a filter. */
async function listAll(
  { store }: WorkflowCaseContext,
  filter: RunFilter,
  limit = 3,
): Promise<readonly RunSummary[]> {
  const { queries } = store.workflows;
  const runs: RunSummary[] = [];
  for (let after: string | null = null; ; ) {
    const page = await queries.list(filter, { limit, after });
    assert.ok(page.runs.length <= limit, `${page.runs.length} on a page of ${limit}`);
    runs.push(...page.runs);
    if (page.next === null) return runs;
    after = page.next;
  }
}

const idsOf = (runs: readonly Pick<NewRun, 'runId'>[]) => runs.map(({ runId }) => runId);

async function find({ store }: WorkflowCaseContext, { runId }: Pick<NewRun, 'runId'>) {
  const [run] = await store.workflows.queries.find([runId]);
  assert.ok(run, `${runId} is there`);
  return run;
}

/** A held run in that state. */
async function runIn(context: WorkflowCaseContext, epoch: number, state: TaskState) {
  const run = await startHeld(context, epoch);
  await commit(context.store, epoch, [link(run, 1, { state })]);
  return run;
}

const errorsWith = (code: string) => (error: unknown) => (error as { code?: string }).code === code;

const looking: WorkflowCases = {
  async 'a run is pending since its start until its history says otherwise'(context) {
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch, { priority: -3, metadataJson: '{"tags":["a"]}' });
    const first = await find(context, run);
    assert.deepEqual(
      [first.state, first.seq, first.epoch, first.resting, first.endedAt],
      ['pending', 0, epoch, false, null],
    );
    assert.equal(first.stateSince, first.startedAt);
    assert.deepEqual([first.priority, first.metadataJson], [-3, '{"tags":["a"]}']);
    assert.ok(Math.abs(Date.now() - first.startedAt) < 60_000, `${first.startedAt}`);
    await commit(context.store, epoch, [link(run, 1), link(run, 2)]);
    const { state, seq, stateSince } = await find(context, run);
    assert.deepEqual([state, seq], ['steps_in_process', 2]);
    assert.ok(stateSince >= first.startedAt);
  },

  async 'a run that waits in its queue is held by nobody'(context) {
    const run = newRun(context);
    await start(context.store, [run]);
    const { epoch, resting, state } = await find(context, run);
    assert.deepEqual([epoch, resting, state], [null, false, 'pending']);
  },

  async 'a resting run says so, and until when'(context) {
    const epoch = await startHolder(context);
    const wakeAt = Date.now() + 3_600_000;
    const found = await find(context, await restedRun(context, epoch, wakeAt));
    assert.deepEqual(
      [found.resting, found.epoch, found.state],
      [true, null, 'waiting_for_dependencies'],
    );
    assert.equal(found.wakeAt, wakeAt);
    const other = await find(context, await restedRun(context, epoch));
    assert.deepEqual([other.resting, other.wakeAt], [true, null]);
  },

  async 'an end says how and when'(context) {
    const epoch = await startHolder(context);
    const [good, bad] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    await commit(context.store, epoch, [
      link(good, 1, { end: complete }),
      link(bad, 1, { end: failed }),
    ]);
    const done = await find(context, good);
    assert.deepEqual(
      [done.state, done.resultJson, done.error, done.epoch],
      ['complete', complete.resultJson, null, null],
    );
    assert.ok((done.endedAt ?? 0) >= done.startedAt);
    const { state, error, resultJson } = await find(context, bad);
    assert.deepEqual([state, error, resultJson], ['error', failed.error, null]);
  },

  async 'runs are found in the order asked, and what is not there is left out'(context) {
    const runs = [newRun(context), newRun(context), newRun(context)];
    await start(context.store, runs);
    const { queries } = context.store.workflows;
    const asked = [...idsOf(runs).reverse(), newId(), 'no id at all'];
    assert.deepEqual(idsOf(await queries.find(asked)), idsOf(runs).reverse());
    assert.deepEqual(await queries.find([]), []);
  },

  async 'pages go from the newest to the oldest, each run once'(context) {
    const { tenant: tenantId } = context;
    const runs = Array.from({ length: 8 }, () => newRun(context));
    for (const run of runs) await start(context.store, [run]);
    const wanted = idsOf(runs).reverse();
    assert.deepEqual(idsOf(await listAll(context, { tenantId })), wanted);
    const { queries } = context.store.workflows;
    const page = await queries.list({ tenantId }, { limit: 5, after: null });
    await start(context.store, [newRun(context)]);
    const rest = await queries.list({ tenantId }, { limit: 5, after: page.next });
    assert.deepEqual(idsOf([...page.runs, ...rest.runs]), wanted);
    await assert.rejects(
      queries.list({ tenantId }, { limit: 5, after: 'nonsense' }),
      errorsWith('REQUEST_INVALID'),
    );
    await assert.rejects(
      queries.list({ tenantId }, { limit: 0, after: null }),
      errorsWith('REQUEST_INVALID'),
    );
  },

  async 'filters mean what they say, together'(context) {
    const { tenant: tenantId } = context;
    const epoch = await startHolder(context);
    const parent = newRun(context, { correlationId: `order-${tenantId}` });
    await start(context.store, [parent]);
    const child = newRun(context, { name: 'child', parent: { runId: parent.runId, step: 2 } });
    const other = newRun(context, { namespace: `elsewhere-${tenantId}` });
    await start(context.store, [child, other]);
    const blocked = await runIn(context, epoch, 'blocked_by_failures');
    const ids = async (filter: RunFilter) =>
      idsOf(await listAll(context, { tenantId, ...filter })).sort();
    assert.deepEqual(await ids({ name: 'child' }), [child.runId]);
    assert.deepEqual(await ids({ namespace: other.namespace }), [other.runId]);
    assert.deepEqual(await ids({ correlationId: parent.correlationId }), [parent.runId]);
    assert.deepEqual(await ids({ parentRunId: parent.runId }), [child.runId]);
    assert.deepEqual((await find(context, child)).parent, { runId: parent.runId, step: 2 });
    assert.deepEqual(await ids({ states: ['blocked_by_failures', 'error'] }), [blocked.runId]);
    const pending = [parent, child, other].map(({ runId }) => runId).sort();
    assert.deepEqual(await ids({ states: ['pending'] }), pending);
    assert.deepEqual(await ids({ states: ['pending'], name: 'child' }), [child.runId]);
    assert.deepEqual(await ids({ states: [] }), []);
    const { startedAt } = await find(context, other);
    assert.deepEqual(await ids({ startedAfter: startedAt + 60_000 }), []);
    assert.equal((await ids({ startedBefore: startedAt + 60_000 })).length, 4);
    assert.deepEqual(await ids({ startedBefore: startedAt - 60_000 }), []);
    assert.deepEqual(await listAll(context, { tenantId: `${tenantId}-other` }), []);
  },

  async 'counts are by state'(context) {
    const { tenant: tenantId } = context;
    const epoch = await startHolder(context);
    await start(context.store, [newRun(context), newRun(context)]);
    await runIn(context, epoch, 'waiting_for_retry');
    const ended = await startHeld(context, epoch);
    await commit(context.store, epoch, [link(ended, 1, { end: complete })]);
    const { queries } = context.store.workflows;
    const counts = await queries.counts({ tenantId });
    assert.deepEqual(
      new Map(counts),
      new Map<TaskState, number>([
        ['pending', 2],
        ['waiting_for_retry', 1],
        ['complete', 1],
      ]),
    );
    const some = await queries.counts({ tenantId, states: ['complete', 'error'] });
    assert.deepEqual([...some], [['complete', 1]]);
  },

  async 'a history comes back as it was stored, in order'(context) {
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const links = [1, 2, 3].map((seq) => link(run, seq));
    for (const one of links) await commit(context.store, epoch, [one]);
    const { queries } = context.store.workflows;
    const history = await queries.history(run.runId);
    assert.deepEqual(
      history,
      links.map(({ seq, changeJson }) => ({ seq, changeJson })),
    );
    assert.deepEqual(await queries.history(newId()), []);
  },

  async 'an id is found by its beginning or its end'(context) {
    const { tenant: tenantId } = context;
    const runs = [newRun(context), newRun(context)];
    await start(context.store, runs);
    const { queries } = context.store.workflows;
    const [run] = runs as [NewRun];
    const match = (text: string) => queries.match(text, { tenantId, limit: 5 });
    assert.deepEqual(await match(run.runId.slice(-8)), [run.runId]);
    assert.deepEqual(await match(run.runId), [run.runId]);
    assert.deepEqual(await match(run.runId.slice(-14)), [run.runId]);
    assert.deepEqual(await match(run.runId.slice(0, 6)), idsOf(runs).reverse());
    assert.deepEqual(await match(run.runId.slice(0, 9)), idsOf(runs).reverse());
    assert.deepEqual(await match('ffffffff'), []);
    assert.deepEqual(await queries.match(run.runId, { tenantId: 'nobody', limit: 5 }), []);
    assert.equal((await queries.match(run.runId.slice(0, 6), { tenantId, limit: 1 })).length, 1);
  },
};

const investigating: WorkflowCases = {
  async 'one investigation is pending for a run, and closing it lets another one open'(context) {
    const { queries } = context.store.workflows;
    const epoch = await startHolder(context);
    const run = await runIn(context, epoch, 'blocked_by_failures');
    const entry = { runId: run.runId, reason: 'manual_dlq', snapshotJson: '{"a":1}' } as const;
    const opened = await queries.investigate(entry);
    assert.ok(opened);
    assert.deepEqual(
      [opened.runId, opened.tenantId, opened.reason, opened.status, opened.state],
      [run.runId, context.tenant, 'manual_dlq', 'pending', 'blocked_by_failures'],
    );
    assert.deepEqual([opened.snapshotJson, opened.resolvedAt], ['{"a":1}', null]);
    assert.equal(await queries.investigate({ ...entry, reason: 'staleness_timeout' }), null);
    const closed = await queries.resolveInvestigation(opened.entryId, {
      status: 'manually_resolved',
      by: 'ann',
      notes: 'It was the weather.',
    });
    assert.deepEqual(
      [closed?.status, closed?.resolvedBy, closed?.notes],
      ['manually_resolved', 'ann', 'It was the weather.'],
    );
    assert.ok((closed?.resolvedAt ?? 0) >= opened.enteredAt);
    const again = { status: 'cancelled', by: 'bob', notes: null } as const;
    assert.equal(await queries.resolveInvestigation(opened.entryId, again), null);
    assert.equal(await queries.resolveInvestigation(newId(), again), null);
    assert.deepEqual(await queries.findInvestigation(opened.entryId), closed);
    assert.ok(await queries.investigate(entry));
    assert.equal(await queries.investigate({ ...entry, runId: newId() }), null);
    // The run itself is as it was.
    assert.equal((await find(context, run)).state, 'blocked_by_failures');
  },

  async 'of two who open an investigation at once, one does'(context) {
    const run = newRun(context);
    await start(context.store, [run]);
    const stores = [context.store, await context.another()];
    const entry = { runId: run.runId, reason: 'manual_dlq', snapshotJson: '{}' } as const;
    const opened = await Promise.all(
      Array.from({ length: 8 }, (_, i) => stores[i % 2]?.workflows.queries.investigate(entry)),
    );
    assert.equal(opened.filter((one) => one !== null).length, 1);
  },

  async 'investigations are listed by filter, newest first, and counted'(context) {
    const { tenant: tenantId } = context;
    const { queries } = context.store.workflows;
    const runs = Array.from({ length: 5 }, () => newRun(context));
    await start(context.store, runs);
    const entries: string[] = [];
    for (const [i, { runId }] of runs.entries()) {
      const reason = i < 2 ? 'staleness_timeout' : 'max_retries_exceeded';
      const opened = await queries.investigate({ runId, reason, snapshotJson: '{}' });
      entries.push(opened?.entryId ?? '');
    }
    const change = { status: 'permanently_failed', by: 'ann', notes: null } as const;
    await queries.resolveInvestigation(entries[0] as string, change);
    const ids = async (filter: Parameters<typeof queries.investigations>[0]) => {
      const found: string[] = [];
      for (let after: string | null = null; ; ) {
        const page = await queries.investigations({ tenantId, ...filter }, { limit: 2, after });
        found.push(...page.entries.map(({ entryId }) => entryId));
        if (page.next === null) return found;
        after = page.next;
      }
    };
    assert.deepEqual(await ids({}), [...entries].reverse());
    assert.deepEqual(await ids({ status: 'pending' }), entries.slice(1).reverse());
    assert.deepEqual(await ids({ reason: 'staleness_timeout' }), entries.slice(0, 2).reverse());
    assert.deepEqual(await ids({ runId: runs[3]?.runId }), [entries[3]]);
    assert.deepEqual(await ids({ tenantId: 'nobody' }), []);
    const counts = await queries.investigationCounts(tenantId);
    assert.deepEqual(
      counts.map(({ reason, status, count }) => [reason, status, count]),
      [
        ['max_retries_exceeded', 'pending', 3],
        ['staleness_timeout', 'pending', 1],
        ['staleness_timeout', 'permanently_failed', 1],
      ],
    );
    assert.deepEqual(await queries.investigationCounts('nobody'), []);
  },
};

const sweeping: WorkflowCases = {
  async 'stale runs are open, in one of the states, for long enough'(context) {
    const { queries } = context.store.workflows;
    const epoch = await startHolder(context);
    const held = await runIn(context, epoch, 'steps_in_process');
    const rested = await restedRun(context, epoch);
    const ended = await startHeld(context, epoch);
    await commit(context.store, epoch, [link(ended, 1, { end: failed })]);
    const mine = new Set(idsOf([held, rested, ended]));
    const stale = async (limits: Parameters<typeof queries.stale>[0]) => {
      const found: string[] = [];
      for (let after: string | null = null; ; ) {
        // The database has open runs of other cases, many of some.
        const page = await queries.stale(limits, 200, after);
        found.push(...idsOf(page).filter((runId) => mine.has(runId)));
        if (page.length < 200) return found;
        after = page.at(-1)?.runId ?? null;
      }
    };
    const all = taskStates;
    assert.deepEqual(await stale([{ states: all, olderThanMs: 3_600_000 }]), []);
    await sleep(5); // by the store's clock, too, they are older than nothing
    assert.deepEqual(await stale([{ states: all, olderThanMs: 0 }]), idsOf([held, rested]));
    assert.deepEqual(await stale([{ states: ['steps_in_process'], olderThanMs: 0 }]), [held.runId]);
    const two = [
      { states: ['waiting_for_retry'] as const, olderThanMs: 0 },
      { states: [waiting(0).state] as const, olderThanMs: 0, of: 'run' as const },
    ];
    assert.deepEqual(await stale(two), [rested.runId]);
    assert.deepEqual(await stale([]), []);
  },

  async 'of two who sweep, one does'(context) {
    const { queries } = context.store.workflows;
    const other = (await context.another()).workflows.queries;
    const entered = Promise.withResolvers<void>();
    const letGo = Promise.withResolvers<void>();
    const first = queries.alone(async () => {
      entered.resolve();
      await letGo.promise;
      return 'done';
    });
    await entered.promise;
    assert.equal(await other.alone(async () => 'done as well'), null);
    assert.equal(await queries.alone(async () => 'done as well'), null);
    letGo.resolve();
    assert.equal(await first, 'done');
    assert.equal(await other.alone(async () => 'now'), 'now');
    await assert.rejects(
      queries.alone(async () => {
        throw new Error('broken');
      }),
      /broken/,
    );
    assert.equal(await other.alone(async () => 'after a failure'), 'after a failure');
  },
};

export const queryCases: WorkflowCases = { ...looking, ...investigating, ...sweeping };

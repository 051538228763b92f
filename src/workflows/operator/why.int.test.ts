/** Why a run does not go on: each way of standing still, as its store has it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { ask } from '../../../test/support/mill.ts';
import type { RunChange, StepKind } from '../../core/workflow/run-record.ts';
import type { StepState, TaskState } from '../../core/workflow/states.ts';
import { openPostgresStore } from '../../drivers/postgres/store.ts';
import { silence, startMortal, startWorker } from '../../ports/jobs.fixtures.conformance.ts';
import type { Store } from '../../ports/store.ts';
import {
  changeJson,
  commit,
  complete,
  failed,
  link,
  newMessage,
  newRun,
  start,
  startHeld,
  type WorkflowCaseContext,
} from '../../ports/workflows.fixtures.conformance.ts';
import type { NewRun, RunCommit } from '../../ports/workflows.ts';
import { remoteStepJobFor } from '../run/remote-step.ts';
import { WorkflowOperator } from './operator.ts';

let database: TestDatabase;
let store: Store;
let operator: WorkflowOperator;
before(async () => {
  database = await freshDatabase();
  store = await openPostgresStore({ url: database.url });
  const { workflows, jobs } = store;
  operator = new WorkflowOperator({
    workflows,
    jobs,
    definitions: () => [],
    deliver: async (messages) => (await workflows.deliver(messages)).deliveries,
    onError: (error) => assert.fail(String(error)),
  });
});
after(async () => {
  await store.close();
  await database.drop();
});

let number = 0;
/** A queue and a tenant of the test's own. */
function surroundings(): WorkflowCaseContext {
  number += 1;
  return {
    store,
    queue: `q${number}`,
    tenant: `t${number}`,
    another: () => Promise.reject(new Error('one is enough')),
    transaction: () => Promise.reject(new Error('none here')),
    t: {} as never,
  };
}

interface Held {
  readonly run: NewRun;
  readonly epoch: number;
}

/** A run that a live process holds, with a history of one change. */
async function held(
  context: WorkflowCaseContext,
  change: Partial<RunChange>,
  rest: Partial<RunCommit> = {},
): Promise<Held> {
  const { epoch } = await startWorker(store.jobs, context.queue);
  await store.workflows.hold(epoch);
  const run = await startHeld(context, epoch);
  const commits = [link(run, 1, { changeJson: changeJson(change), ...rest })];
  assert.deepEqual(await commit(store, epoch, commits), ['stored']);
  return { run, epoch };
}

function stepChange(
  kind: StepKind,
  state: StepState,
  more: { inputs?: unknown; wakeAt?: number; task?: TaskState } = {},
): Partial<RunChange> {
  const { inputs, wakeAt, task = 'waiting_for_dependencies' } = more;
  return {
    create: [
      {
        name: 'the step',
        kind,
        ...(inputs !== undefined && { inputsJson: JSON.stringify(inputs) }),
      },
    ],
    transitions: [
      [0, 'enqueued'],
      [0, 'in_progress'],
      ...(state === 'in_progress' ? [] : ([[0, state]] as const)),
      [-1, task],
    ],
    ...(wakeAt !== undefined && { facts: [{ step: 0, wakeAt }] }),
  };
}

async function reasonsOf({ runId }: Pick<NewRun, 'runId'>) {
  const why = await operator.why(runId);
  for (const { text } of why.reasons) {
    assert.ok(text.length > 10 && !/undefined|null|NaN|\[object/.test(text), text);
  }
  return why.reasons;
}

const kindsOf = async (run: Pick<NewRun, 'runId'>) =>
  (await reasonsOf(run)).map(({ kind }) => kind);

test('a run in a queue that nobody works on names the queue and the workflow', async () => {
  const context = surroundings();
  const run = newRun(context);
  await start(store, [run]);
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'job-no-worker');
  assert.ok(first.text.includes(run.queue), first.text);
  assert.ok(first.text.includes(`conformance/${run.name}@1.0.0`), first.text);
  assert.match(first.command ?? '', /^workflow work --definitions/);
});

test('a paused queue, a delay, a limit: what keeps its job keeps the run', async () => {
  const context = surroundings();
  await startWorker(store.jobs, context.queue);
  await store.jobs.configure([{ queue: context.queue, paused: true }]);
  const run = newRun(context);
  const late = newRun(context, { delayMs: 3_600_000 });
  await start(store, [run, late]);
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'job-queue-paused');
  assert.equal(first.command, `queues resume ${context.queue}`);
  await store.jobs.configure([{ queue: context.queue, paused: false }]);
  assert.equal((await kindsOf(run))[0], 'job-next');
  assert.equal((await kindsOf(late))[0], 'job-delayed');
});

test('a run whose job saw workers die says so', async () => {
  const context = surroundings();
  await startWorker(store.jobs, context.queue);
  const run = newRun(context);
  await start(store, [run]);
  await ask(
    database.url,
    `update millrace.job_state s set status = 'quarantined', crashes = 3, finished_at = now()
     from millrace.job_queue q where q.queue_id = s.queue_id and q.queue_name = $1`,
    [context.queue],
  );
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'job-quarantined');
  assert.match(first.text, /^3 processes died while they held it/);
  assert.match(first.command ?? '', /^jobs retry \d+-\d+$/);
});

test('those who work on its queue may not have its version', async () => {
  const context = surroundings();
  await startWorker(store.jobs, context.queue);
  const run = newRun(context);
  await start(store, [run]);
  const error = { code: 'JOB_UNKNOWN', message: 'no handler', stack: null, fingerprint: 'x' };
  await ask(
    database.url,
    `update millrace.job_state s set status = 'retrying', run_at = now() + interval '1 hour',
       error = $2::json
     from millrace.job_queue q where q.queue_id = s.queue_id and q.queue_name = $1`,
    [context.queue, JSON.stringify(error)],
  );
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'job-no-handler');
  assert.ok(first.text.includes(`do not have conformance/${run.name}@1.0.0`), first.text);
});

test('blocked comes first, with the step, its error and what clears it', async () => {
  const error = { code: 'POOR', message: 'no money', stack: null, fingerprint: 'poor' };
  const { run } = await held(
    surroundings(),
    {
      create: [
        { name: 'charge', kind: 'standard' },
        { name: 'log it', kind: 'standard' },
      ],
      transitions: [
        [0, 'in_progress'],
        [0, 'waiting_for_retry'],
        [0, 'pending'],
        [0, 'in_progress'],
        [0, 'error'],
        // Beside it a step that could run: it must not hide the failure.
        [1, 'in_progress'],
        [-1, 'blocked_by_failures'],
      ],
      facts: [{ step: 0, error }],
    },
    { state: 'blocked_by_failures' },
  );
  const reasons = await reasonsOf(run);
  assert.deepEqual(
    reasons.map(({ kind }) => kind),
    ['blocked_by_failures', 'step-failed', 'step-running', 'held'],
  );
  assert.match(reasons[0].text, /blocked since .* by one step/);
  assert.equal(reasons[0].command, `workflow retry ${run.runId}`);
  assert.match(reasons[1]?.text ?? '', /Step charge failed .* after 2 tries: no money \[POOR\]/);
  assert.equal(reasons[1]?.command, `workflow reset-step ${run.runId} charge`);
});

test('a paused run says that it is', async () => {
  const { run } = await held(surroundings(), { notes: [['paused', '{"by":"ann"}']] });
  const [first] = await reasonsOf(run);
  assert.deepEqual([first.kind, first.command], ['paused', `workflow resume ${run.runId}`]);
});

test('each wait says for what, until when, and what ends it', async () => {
  const wakeAt = Date.now() + 3_600_000;
  const until = new Date(wakeAt).toISOString();
  const expected: [StepKind, unknown, string, RegExp, string][] = [
    ['sleep', null, 'sleeping', new RegExp(`until ${until}`), 'workflow step RUN'],
    ['signal', { about: 'go' }, 'waits-for-signal', /signal go, until/, 'workflow signal RUN go'],
    [
      'event',
      { about: 'Paid', key: 'o-1' },
      'waits-for-event',
      /an event Paid of key o-1, until/,
      'events list',
    ],
    [
      'approval',
      { message: 'Ship it?' },
      'waits-for-approval',
      /approval \('Ship it\?'\), until/,
      "workflow approve RUN 'the step'",
    ],
  ];
  for (const [kind, inputs, reason, text, command] of expected) {
    const change = stepChange(kind, 'in_progress', { inputs, wakeAt });
    const { run } = await held(surroundings(), change, { state: 'waiting_for_dependencies' });
    const [first] = await reasonsOf(run);
    assert.equal(first.kind, reason);
    assert.match(first.text, text);
    const wanted = command.replace('RUN', run.runId);
    assert.ok(first.command?.startsWith(wanted), `${first.command} is ${wanted}`);
  }
});

test('a step that is tried again says when and why', async () => {
  const error = { code: null, message: 'the other side was away', stack: null, fingerprint: 'x' };
  const wakeAt = Date.now() + 60_000;
  const change = stepChange('standard', 'waiting_for_retry', { task: 'waiting_for_retry' });
  const { run } = await held(
    surroundings(),
    { ...change, facts: [{ step: 0, error, wakeAt }] },
    { state: 'waiting_for_retry' },
  );
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'step-retrying');
  assert.match(first.text, /again at .* \(try 2\)\. Last error: the other side was away/);
});

test('a run that waits for its child names it', async () => {
  const context = surroundings();
  const child = newRun(context, { name: 'child' });
  await start(store, [child]);
  const change = stepChange('child', 'in_progress', { inputs: { runId: child.runId } });
  const { run } = await held(context, change, { state: 'waiting_for_dependencies' });
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'waits-for-child');
  assert.ok(first.text.includes('conformance/child@1.0.0'), first.text);
  assert.match(first.text, /which is pending/);
  assert.equal(first.command, `workflow why ${child.runId}`);
});

test('a step elsewhere is found as a job, with the reasons of that job', async () => {
  const context = surroundings();
  const { epoch } = await startWorker(store.jobs, context.queue);
  await store.workflows.hold(epoch);
  const run = await startHeld(context, epoch);
  const namespace = `far${number}`;
  const info = { ...run, startedAt: Date.now() };
  const job = remoteStepJobFor({ namespace, info, step: 0, attempt: 1 });
  const change = {
    create: [{ name: 'far away', kind: 'standard' as const }],
    transitions: [[0, 'enqueued'] as const],
  };
  await commit(store, epoch, [link(run, 1, { changeJson: changeJson(change), jobs: [job] })]);
  const [first] = await reasonsOf(run);
  assert.equal(first.kind, 'step-elsewhere');
  assert.match(first.text, /Step far away is job \d+-\d+, which is waiting: No worker listens/);
  assert.ok(first.text.includes(`${namespace}_queue`), first.text);
  assert.match(first.command ?? '', /^jobs why \d+-\d+$/);
});

test('a step that runs says since when and where; its holder is named', async () => {
  const change = stepChange('standard', 'in_progress', { task: 'steps_in_process' });
  const { run } = await held(surroundings(), change);
  const reasons = await reasonsOf(run);
  assert.deepEqual(
    reasons.map(({ kind }) => kind),
    ['step-running', 'held'],
  );
  assert.match(reasons[0].text, /runs since .* on worker conformance, try 1/);
  assert.ok(reasons[1]?.text.includes(`process ${process.pid}`), reasons[1]?.text);
});

test('a holder that is silent, and one that is gone, are said to be so', async () => {
  const context = surroundings();
  const mortal = await startMortal(store.jobs, context.queue);
  await store.workflows.hold(mortal.epoch);
  const run = await startHeld(context, mortal.epoch);
  await silence(store.jobs, mortal);
  assert.deepEqual((await kindsOf(run)).slice(0, 2), ['holder-silent', 'job-no-worker']);
  await store.jobs.recover({ crashesMax: 3 });
  assert.deepEqual((await kindsOf(run)).slice(0, 2), ['holder-gone', 'job-no-worker']);
  await store.workflows.recover();
  assert.equal((await kindsOf(run))[0], 'job-no-worker');
});

test('messages that nobody has read, and rests', async () => {
  const context = surroundings();
  const run = newRun(context);
  await start(store, [run]);
  await store.workflows.deliver([newMessage(run)]);
  assert.deepEqual(await kindsOf(run), ['job-no-worker', 'unread-messages']);
  const state = 'waiting_for_dependencies' as const;
  const rest = { rest: { state, wakeAt: Date.now() + 60_000, read: 0 }, state };
  const { run: resting } = await held(surroundings(), { transitions: [[-1, state]] }, rest);
  assert.deepEqual(await kindsOf(resting), ['wakes-at']);
});

test('a run that has ended says how', async () => {
  const context = surroundings();
  const { epoch } = await startWorker(store.jobs, context.queue);
  await store.workflows.hold(epoch);
  const ends = [complete, failed, { ...failed, state: 'cancelled' as const }];
  const commands: (string | null)[] = [];
  for (const end of ends) {
    const run = await startHeld(context, epoch);
    await commit(store, epoch, [link(run, 1, { end })]);
    const [first] = await reasonsOf(run);
    assert.equal(first.kind, end.state);
    commands.push(first.command?.split(' ')[1] ?? null);
  }
  assert.deepEqual(commands, ['show', 'retry', 'reset']);
  await assert.rejects(operator.why('01a1fe00-0000-7000-8000-000000000000'), { code: 'NOT_FOUND' });
});

test('an investigation and staleness are told beside the reason', async () => {
  const context = surroundings();
  const { run } = await held(context, stepChange('standard', 'in_progress'));
  await ask(
    database.url,
    `update millrace.workflow_history set at = at - interval '29 minutes' where run_id = $1`,
    [run.runId],
  );
  assert.ok((await kindsOf(run)).includes('stale'));
  await operator.deadLetters.open(run.runId, 'manual_dlq');
  const reasons = await reasonsOf(run);
  assert.match(reasons.find(({ kind }) => kind === 'stale')?.text ?? '', /soon be stale: 29 of 30/);
  const entry = reasons.find(({ kind }) => kind === 'investigated');
  assert.match(entry?.command ?? '', /^workflow dlq show [0-9a-f-]{36}$/);
});

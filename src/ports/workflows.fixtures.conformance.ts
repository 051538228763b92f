/** What the cases of the workflow port are given: runs, links of their histories, and holders. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { newEventId } from '../core/ids.ts';
import { printChange, type RunChange } from '../core/workflow/run-record.ts';
import type { TaskState } from '../core/workflow/states.ts';
import { type CallerTransaction, drain, startWorker } from './jobs.fixtures.conformance.ts';
import type { Store } from './store.ts';
import type {
  CommitOutcome,
  LoadedRun,
  NewMessage,
  NewRun,
  RunCommit,
  RunEnd,
  StartResult,
} from './workflows.ts';

export interface WorkflowCaseContext {
  /** A store that all cases of the suite share; only the names below belong to the case. */
  readonly store: Store;
  /** A second instance on the same data, as another process would have it; shared as well. */
  another(): Promise<Store>;
  readonly transaction: CallerTransaction;
  readonly queue: string;
  readonly tenant: string;
  readonly t: TestContext;
}

/** Title → test. The titles are what `skip` names. */
export type WorkflowCases = Readonly<
  Record<string, (context: WorkflowCaseContext) => Promise<void>>
>;

export const newId = newEventId;

export function newRun(
  { queue, tenant }: Pick<WorkflowCaseContext, 'queue' | 'tenant'>,
  rest: Partial<NewRun> = {},
): NewRun {
  const runId = rest.runId ?? newId();
  return {
    runId,
    tenantId: tenant,
    namespace: 'conformance',
    name: `flow-${queue}`,
    version: '1.0.0',
    templateHash: '',
    identity: null,
    key: '',
    priority: 0,
    correlationId: runId,
    traceparent: null,
    parent: null,
    inputJson: '{"n":1}',
    metadataJson: null,
    queue,
    jobName: `run ${queue}`,
    held: false,
    delayMs: 0,
    ...rest,
  };
}

/** One that may hold runs. It lives for two minutes without a beat, or until it is retired. */
export async function startHolder({ store, queue }: WorkflowCaseContext): Promise<number> {
  const { epoch } = await startWorker(store.jobs, queue);
  await store.workflows.hold(epoch);
  return epoch;
}

export async function start(
  { workflows }: Store,
  runs: readonly NewRun[],
  { epoch = null, again = false }: { epoch?: number | null; again?: boolean } = {},
): Promise<readonly StartResult[]> {
  return (await workflows.start(runs, { epoch, again })).results;
}

/** A run that the epoch holds. */
export async function startHeld(
  context: WorkflowCaseContext,
  epoch: number,
  rest: Partial<NewRun> = {},
): Promise<NewRun> {
  const run = newRun(context, { held: true, ...rest });
  await start(context.store, [run], { epoch });
  return run;
}

export function changeJson(rest: Partial<RunChange> = {}): string {
  return printChange({ at: Date.now(), by: 'conformance', transitions: [], ...rest });
}

/** Link `seq` of a run, with what goes along. */
export function link(
  { runId, tenantId }: Pick<NewRun, 'runId' | 'tenantId'>,
  seq: number,
  rest: Partial<RunCommit> = {},
): RunCommit {
  const state: TaskState = rest.end?.state ?? rest.rest?.state ?? 'steps_in_process';
  const json = changeJson({ transitions: [[-1, state]] });
  return { runId, tenantId, seq, state, changeJson: json, ...rest };
}

export const waiting = (read: number, wakeAt: number | null = null) =>
  ({ state: 'waiting_for_dependencies', wakeAt, read }) as const;

export const complete: RunEnd = { state: 'complete', resultJson: '{"ok":true}', error: null };

export const failed: RunEnd = {
  state: 'error',
  resultJson: null,
  error: { code: 'BROKEN', message: 'it \'is\' "broken" 🗝', stack: null, fingerprint: 'broken' },
};

export async function commit(
  { workflows }: Pick<Store, 'workflows'>,
  epoch: number,
  commits: readonly RunCommit[],
  again = false,
): Promise<readonly CommitOutcome[]> {
  return (await workflows.commit({ epoch, commits, again })).outcomes;
}

export function newMessage(
  { runId }: Pick<NewRun, 'runId'>,
  rest: Partial<NewMessage> = {},
): NewMessage {
  const messageId = rest.messageId ?? newId();
  return { runId, messageId, kind: 'signal', name: 'go', payloadJson: '{"x":1}', ...rest };
}

export const verb = (run: Pick<NewRun, 'runId'>, name: string): NewMessage =>
  newMessage(run, { kind: 'verb', name, payloadJson: '{"by":"operator"}' });

export async function load(store: Store, { runId }: Pick<NewRun, 'runId'>): Promise<LoadedRun> {
  const run = await store.workflows.load(runId);
  assert.ok(run, `${runId} is there`);
  return run;
}

/** Runs that got a job, in the order in which a worker gets them. Their jobs are done then. */
export async function runsWithJobs({ store, queue }: WorkflowCaseContext): Promise<string[]> {
  const claimed = await drain(await startWorker(store.jobs, queue), 1_000);
  return claimed.map(({ payloadJson }) => (JSON.parse(payloadJson) as { runId: string }).runId);
}

/** A run that the epoch held from its start and that rests now. */
export async function restedRun(
  context: WorkflowCaseContext,
  epoch: number,
  wakeAt: number | null = null,
): Promise<NewRun> {
  const run = await startHeld(context, epoch);
  // A store may take a moment's look at another run for one at this.
  for (let seq = 1; ; seq += 1) {
    const rest = link(run, seq, { rest: waiting(0, wakeAt) });
    const [outcome] = await commit(context.store, epoch, [rest]);
    if (outcome === 'stored') return run;
    assert.ok(seq < 20 && outcome === 'unread', outcome);
  }
}

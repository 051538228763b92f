/**
 * Why a run is where it is, in words: what holds it up, and the command that clears it. It only
 * reads. What somebody must act upon comes first: a run that is blocked by failures says so before
 * it says who holds it or what else of it could run.
 */
import type { RunRecord } from '../../core/workflow/run-record.ts';
import { isEnd } from '../../core/workflow/states.ts';
import type { WhyStore } from '../../jobs/reason.ts';
import type { RunSummary } from '../../ports/workflow-queries.ts';
import type { StoredMessage, WorkflowStore } from '../../ports/workflows.ts';
import type { Lifecycle } from '../definition.ts';
import { type Staleness, stalenessOf } from './lifecycle.ts';
import { codeOf, type RunReason, type RunWhy, runReason, workflowOf } from './reason.ts';
import { readRecord, timeText } from './run-view.ts';
import { explainHolder } from './why-holder.ts';
import { explainSteps } from './why-steps.ts';

export interface RunWhyStore {
  readonly workflows: Pick<WorkflowStore, 'queries' | 'load'>;
  readonly jobs: WhyStore;
  lifecycleOf(run: RunSummary): Promise<Lifecycle>;
}

/** All that is known of one run while its answer is made. */
export interface Known {
  readonly run: RunSummary;
  readonly record: RunRecord;
  /** Messages that it has not read. */
  readonly unread: readonly StoredMessage[];
  readonly nowMs: number;
}

/** Null when there is no such run. */
export async function explainRun(store: RunWhyStore, runId: string): Promise<RunWhy | null> {
  const [run] = await store.workflows.queries.find([runId]);
  const loaded = run && (await store.workflows.load(runId));
  if (!run || !loaded) return null;
  // As it stood when it was found, though it may have gone on: its steps fit its state.
  const record = readRecord(loaded.changes.slice(0, run.seq));
  const known: Known = { run, record, unread: loaded.messages, nowMs: Date.now() };
  const reasons = isEnd(run.state) ? explainEnd(known) : await explainOpen(store, known);
  const { state } = run;
  const [first, ...rest] = reasons;
  if (first) return { runId, workflow: workflowOf(run), state, reasons: [first, ...rest] };
  const text = 'Nothing holds it up: it goes on within moments.';
  const going = runReason('going-on', text, `workflow show ${runId}`);
  return { runId, workflow: workflowOf(run), state, reasons: [going] };
}

function explainEnd({ run, record }: Known): RunReason[] {
  const { runId, state, error, endedAt } = run;
  const at = endedAt === null ? 'a moment ago' : `at ${timeText(endedAt)}`;
  const said = error === null ? '' : `: ${error.message}${codeOf(error.code)}`;
  switch (state) {
    case 'complete':
      return [runReason('complete', `It completed ${at}.`, `workflow show ${runId}`)];
    case 'resolved_manually':
      return [runReason('resolved_manually', `It was resolved by hand ${at}.`)];
    case 'cancelled':
      return [runReason('cancelled', `It was cancelled ${at}${said}.`, `workflow reset ${runId}`)];
    default: {
      const failed = record.steps.filter((step) => step.state === 'error');
      const names = failed.length === 0 ? '' : ` Failed steps: ${namesOf(failed)}.`;
      const text = `It failed ${at}${said}.${names}`;
      return [runReason('error', text, `workflow retry ${runId}`)];
    }
  }
}

async function explainOpen(store: RunWhyStore, known: Known): Promise<RunReason[]> {
  const steps = await explainSteps(store, known);
  const holder = await explainHolder(store, known);
  const blocked = explainBlocked(known, steps.failed);
  const reasons = [
    ...blocked,
    ...explainPause(known),
    // Who should work on it and does not, unless there is nothing to work on.
    ...holder.trouble,
    ...steps.waiting,
    ...explainRest(known, steps.waiting.length + blocked.length),
    ...explainUnread(known),
    ...holder.held,
    ...(await explainStaleness(store, known)),
  ];
  return reasons;
}

function explainBlocked({ run, record }: Known, failed: readonly RunReason[]): RunReason[] {
  const compensating = record.notes.has('compensating')
    ? [runReason('compensating', 'It undoes the steps that were done, last one first.')]
    : [];
  if (run.state !== 'blocked_by_failures') return [...compensating, ...failed];
  const { runId } = run;
  const count = record.steps.filter(({ state }) => state === 'error').length;
  const what = count === 1 ? 'one step that' : `${count} steps that`;
  const text =
    `It is blocked since ${timeText(run.stateSince)} by ${what} failed for good. ` +
    'Retry, resolve the step by hand, or give it up.';
  return [
    ...compensating,
    runReason('blocked_by_failures', text, `workflow retry ${runId}`),
    ...failed,
  ];
}

function explainPause({ run, record }: Known): RunReason[] {
  if (!record.paused) return [];
  const text = 'It is paused: no further step of it is begun until it is resumed.';
  return [runReason('paused', text, `workflow resume ${run.runId}`)];
}

/** A resting run whose steps did not say what it waits for. */
function explainRest({ run, nowMs }: Known, said: number): RunReason[] {
  if (!run.resting) return [];
  const show = `workflow show ${run.runId}`;
  if (run.wakeAt === null) {
    if (said > 0) return [];
    return [runReason('going-on', `It rests (${run.state}) until a message reaches it.`, show)];
  }
  if (run.wakeAt > nowMs) {
    if (said > 0) return [];
    return [runReason('wakes-at', `It rests until ${timeText(run.wakeAt)}.`, show)];
  }
  const text =
    `It was to be woken at ${timeText(run.wakeAt)}; the next process that works on ` +
    `${run.namespace} does it.`;
  return [runReason('wakes-at', text, 'workers list')];
}

function explainUnread({ run, unread }: Known): RunReason[] {
  if (unread.length === 0) return [];
  const [first] = unread;
  const names = [...new Set(unread.map(({ kind, name }) => `${kind} ${name}`))].slice(0, 3);
  const since = first ? ` since ${timeText(first.sentAt)}` : '';
  const what = unread.length === 1 ? 'A message waits' : `${unread.length} messages wait`;
  const text = `${what} for it${since} (${names.join(', ')}): who holds it next reads it.`;
  return [runReason('unread-messages', text, `workflow show ${run.runId}`)];
}

async function explainStaleness(store: RunWhyStore, known: Known): Promise<RunReason[]> {
  const { run, record, nowMs } = known;
  const { entries } = await store.workflows.queries.investigations(
    { runId: run.runId, status: 'pending' },
    { limit: 1, after: null },
  );
  const [entry] = entries;
  const investigated = entry
    ? [
        runReason(
          'investigated',
          `Somebody is to look into it since ${timeText(entry.enteredAt)} (${entry.reason}).`,
          `workflow dlq show ${entry.entryId}`,
        ),
      ]
    : [];
  const stale = stalenessOf(run, record, await store.lifecycleOf(run), nowMs);
  return [...(stale ? [staleReason(run.runId, stale)] : []), ...investigated];
}

function staleReason(runId: string, { limit, limitMinutes, minutes, level }: Staleness): RunReason {
  const words = level === 'stale' ? 'It is stale' : 'It will soon be stale';
  const text = `${words}: ${Math.floor(minutes)} of ${limitMinutes} minutes (${limit}).`;
  return runReason('stale', text, `workflow show ${runId}`);
}

function namesOf(steps: readonly { readonly name: string }[]): string {
  const names = steps.slice(0, 5).map(({ name }) => name);
  return `${names.join(', ')}${steps.length > 5 ? ` and ${steps.length - 5} more` : ''}`;
}

/**
 * What the steps of a run wait for: which failed and how to clear it, which sleep until when, which
 * wait for somebody. Looks at a bounded number of steps; the first ones stand for all alike.
 */
import { formatJobId } from '../../core/job.ts';
import type { StepRecord } from '../../core/workflow/run-record.ts';
import { isEnd } from '../../core/workflow/states.ts';
import { explainJob } from '../../jobs/why.ts';
import type { RunSummary } from '../../ports/workflow-queries.ts';
import { type RemoteStepPayload, remoteStepJob } from '../run/remote-step.ts';
import { argument, codeOf, type RunReason, runReason, workflowOf } from './reason.ts';
import { readDocument, timeText } from './run-view.ts';
import type { Known, RunWhyStore } from './why.ts';

/** Steps named for one question; of more, their number. */
const stepsMax = 5;
/** Jobs of a queue looked at to find the one of a step. */
const jobsMax = 1_000;

export interface StepReasons {
  readonly failed: readonly RunReason[];
  readonly waiting: readonly RunReason[];
}

export async function explainSteps(store: RunWhyStore, known: Known): Promise<StepReasons> {
  const { steps } = known.record;
  const failed = steps.filter(({ state }) => state === 'error');
  const waiting = steps.filter((step) => isWaiting(step));
  const reasons: RunReason[] = [];
  for (const step of waiting.slice(0, stepsMax))
    reasons.push(...(await explain(store, known, step)));
  if (waiting.length > stepsMax) {
    const text = `So do ${waiting.length - stepsMax} further steps.`;
    reasons.push(runReason('waits-for-step', text, `workflow steps ${known.run.runId}`));
  }
  return { failed: explainFailed(known, failed), waiting: reasons };
}

/** Begun and not done; steps that wait for others only say nothing that those do not say. */
function isWaiting({ state }: StepRecord): boolean {
  return state !== 'pending' && !finished.has(state);
}

const finished: ReadonlySet<string> = new Set([
  'complete',
  'error',
  'cancelled',
  'resolved_manually',
]);

function explainFailed({ run }: Known, failed: readonly StepRecord[]): RunReason[] {
  const reasons = failed.slice(0, stepsMax).map((step) => {
    const { name, attempts, error, finishedAt } = step;
    const at = finishedAt === null ? '' : ` at ${timeText(finishedAt)}`;
    const tries = attempts > 1 ? ` after ${attempts} tries` : '';
    const said = error === null ? '' : `: ${error.message}${codeOf(error.code)}`;
    const text = `Step ${name} failed${at}${tries}${said}.`;
    return runReason('step-failed', text, `workflow reset-step ${run.runId} ${argument(name)}`);
  });
  if (failed.length <= stepsMax) return reasons;
  const text = `And ${failed.length - stepsMax} further steps failed.`;
  return [...reasons, runReason('step-failed', text, `workflow steps ${run.runId}`)];
}

async function explain(store: RunWhyStore, known: Known, step: StepRecord): Promise<RunReason[]> {
  const { run, nowMs } = known;
  const { name, kind, wakeAt, state } = step;
  const show = `workflow step ${run.runId} ${argument(name)}`;
  if (state === 'waiting_for_retry') return [explainRetry(known, step)];
  switch (kind) {
    case 'sleep': {
      const until = wakeAt === null ? 'a while' : timeText(wakeAt);
      return [runReason('sleeping', `It sleeps until ${until} (step ${name}).`, show)];
    }
    case 'signal': {
      const signal = nameIn(step, ['about', 'signal', 'name']);
      const text = `Step ${name} waits for the signal ${signal}${untilOf(step)}.`;
      return [
        runReason('waits-for-signal', text, `workflow signal ${run.runId} ${argument(signal)}`),
      ];
    }
    case 'approval': {
      const asked = memberOf(step, ['message']);
      const what = asked === null ? '' : ` ('${asked}')`;
      const text = `Step ${name} waits for somebody's approval${what}${untilOf(step)}.`;
      return [
        runReason('waits-for-approval', text, `workflow approve ${run.runId} ${argument(name)}`),
      ];
    }
    case 'event': {
      const type = nameIn(step, ['about', 'eventType', 'event', 'name']);
      const key = memberOf(step, ['key', 'eventKey']);
      const ofKey = key === null ? '' : ` of key ${key}`;
      const text = `Step ${name} waits for an event ${type}${ofKey}${untilOf(step)}.`;
      return [runReason('waits-for-event', text, 'events list')];
    }
    case 'child':
      return explainChild(store, known, step);
    default:
      return state === 'in_progress'
        ? [explainRunning(known, step)]
        : explainElsewhere(store, known, step);
  }

  function untilOf({ wakeAt: until }: StepRecord): string {
    if (until === null) return '';
    return until > nowMs ? `, until ${timeText(until)} at the latest` : ', and its time is over';
  }
}

function explainRetry({ run, nowMs }: Known, step: StepRecord): RunReason {
  const { name, attempts, error, wakeAt } = step;
  const when =
    wakeAt === null ? 'soon' : wakeAt > nowMs ? `at ${timeText(wakeAt)}` : 'now: its time has come';
  const said = error === null ? '' : ` Last error: ${error.message}${codeOf(error.code)}`;
  const text = `Step ${name} is tried again ${when} (try ${attempts + 1}).${said}`;
  return runReason('step-retrying', text, `workflow reset-step ${run.runId} ${argument(name)}`);
}

function explainRunning({ run, nowMs }: Known, step: StepRecord): RunReason {
  const { name, attempts, startedAt, by } = step;
  const since = startedAt === null ? '' : ` since ${timeText(startedAt)}`;
  const ms = startedAt === null ? 0 : Math.max(0, nowMs - startedAt);
  const long = ms >= 1_000 ? ` (${Math.round(ms / 1_000)} s)` : '';
  const who = by === null ? '' : ` on worker ${by}`;
  const text = `Step ${name} runs${since}${long}${who}, try ${attempts}.`;
  return runReason('step-running', text, `workflow step ${run.runId} ${argument(name)}`);
}

async function explainChild(
  { workflows }: RunWhyStore,
  known: Known,
  step: StepRecord,
): Promise<RunReason[]> {
  const { name } = step;
  const childId = memberOf(step, ['runId', 'childRunId', 'child']);
  const show = `workflow step ${known.run.runId} ${argument(name)}`;
  const [child] =
    childId === null
      ? (await childrenOf(workflows, known)).filter(({ parent }) => parent?.step === step.no)
      : await workflows.queries.find([childId]);
  if (child === undefined) {
    const text = `Step ${name} waits for a child that is not there (any more).`;
    return [runReason('waits-for-child', text, show)];
  }
  const over = isEnd(child.state) ? ', and that will reach it in a moment' : '';
  const text =
    `Step ${name} waits for its child ${child.runId} (${workflowOf(child)}), ` +
    `which is ${child.state}${over}.`;
  return [runReason('waits-for-child', text, `workflow why ${child.runId}`)];
}

async function childrenOf({ queries }: RunWhyStore['workflows'], { run }: Known) {
  const { runs } = await queries.list({ parentRunId: run.runId }, { limit: 100, after: null });
  return runs;
}

/** Enqueued, and not here: a job of another namespace's queue, if there is one. */
async function explainElsewhere(
  store: RunWhyStore,
  { run }: Known,
  step: StepRecord,
): Promise<RunReason[]> {
  const { name, state } = step;
  const show = `workflow step ${run.runId} ${argument(name)}`;
  const ref = await findStepJob(store, run, step);
  if (ref === null) {
    return [runReason('waits-for-step', `Step ${name} is ${state}; it is its turn next.`, show)];
  }
  const why = await explainJob(store.jobs, ref);
  const id = formatJobId(ref);
  const [first] = why?.reasons ?? [];
  const text = `Step ${name} is job ${id}, which is ${why?.status ?? 'gone'}: ${first?.text ?? ''}`;
  return [runReason('step-elsewhere', text.trim(), `jobs why ${id}`)];
}

/** Jobs of steps have one name in whichever queue they wait, and say run and number. */
async function findStepJob({ jobs }: RunWhyStore, run: RunSummary, step: StepRecord) {
  const { tenantId, runId } = run;
  for (const status of jobStatusesLookedAt) {
    const filter = { name: remoteStepJob, tenantId, status };
    const page = await jobs.queries.list(filter, { limit: jobsMax, after: null });
    const found = page.jobs.find(({ payloadJson }) => {
      if (!payloadJson.includes(runId)) return false;
      const payload = readDocument(payloadJson) as Partial<RemoteStepPayload> | null;
      return payload?.runId === runId && payload.step === step.no;
    });
    if (found) return { lane: found.lane, offset: found.offset };
  }
  return null;
}

const jobStatusesLookedAt = [
  'waiting',
  'running',
  'retrying',
  'delayed',
  'quarantined',
  'dead',
] as const;

function nameIn(step: StepRecord, members: readonly string[]): string {
  return memberOf(step, members) ?? step.name;
}

/** A text of the step's own inputs, under whichever of the names it stands. */
function memberOf(step: StepRecord, members: readonly string[]): string | null {
  const inputs = readDocument(step.inputsJson);
  if (typeof inputs === 'string' && members.includes('name')) return inputs;
  if (typeof inputs !== 'object' || inputs === null) return null;
  for (const member of members) {
    const value = (inputs as Readonly<Record<string, unknown>>)[member];
    if (typeof value === 'string' && value !== '') return value;
  }
  return null;
}

/**
 * What operators tell a run to do. A verb is a message: durable when the call returns, it has its
 * effect as soon as a process that knows the workflow reads it, wherever the run is. Whether the
 * run is in a state for it is checked here, so that a mistake is answered at once, and again by
 * whoever reads it.
 */
import { MillraceError } from '../../core/errors.ts';
import { isUuid } from '../../core/ids.ts';
import { checkJson } from '../../core/json.ts';
import type { RunRecord, StepRecord } from '../../core/workflow/run-record.ts';
import { isEnd, type StepState, type TaskState } from '../../core/workflow/states.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { RunSummary, WorkflowQueries } from '../../ports/workflow-queries.ts';
import type { Delivery, NewMessage, WorkflowStore } from '../../ports/workflows.ts';
import { sleep } from '../../runtime/bell.ts';
import { openStates } from './lifecycle.ts';
import { type RunView, recordOf, toRunView } from './run-view.ts';

export const runVerbs = [
  'cancel',
  'pause',
  'resume',
  'retry',
  'retry_from',
  'reset',
  'reset_step',
  'resolve_step',
  'complete_step',
  'resolve_run',
  'give_up',
  'time_out',
] as const;
export type RunVerb = (typeof runVerbs)[number];

export interface VerbRequest {
  readonly verb: RunVerb;
  /** Name of the step that it is about, where it is about one. */
  readonly step?: string | undefined;
  /** Of complete_step: what the step shall have returned. */
  readonly result?: unknown;
  readonly reason?: string | undefined;
  /** Who says so; shown in the audit. */
  readonly by?: string | undefined;
  /** How long to wait for its effect; 2,000 ms by default, 0: not at all. */
  readonly waitMs?: number | undefined;
}

export interface VerbAnswer {
  readonly verb: RunVerb;
  /** Read by the run within the time to wait. False: it will be, once a process holds the run. */
  readonly applied: boolean;
  readonly run: RunView;
}

export interface VerbStore {
  readonly workflows: Pick<WorkflowStore, 'queries' | 'load'>;
  /** Delivers, and tells those who should look. */
  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]>;
}

const waitDefaultMs = 2_000;
const lookMs = [10, 200] as const;

/** States in which a verb makes sense. Absent: every one that is no end. */
const runStates: Partial<Record<RunVerb, readonly TaskState[]>> = {
  retry: ['blocked_by_failures', 'error', 'waiting_for_retry', 'cancelled'],
  retry_from: [...openStates, 'error', 'cancelled'],
  reset: [...openStates, 'error', 'cancelled'],
  reset_step: [...openStates, 'error', 'cancelled'],
  give_up: ['blocked_by_failures'],
};

/** How a run ends by a verb. */
const endsOf: Partial<Record<RunVerb, TaskState>> = {
  cancel: 'cancelled',
  resolve_run: 'resolved_manually',
  give_up: 'error',
  time_out: 'error',
};

const stepVerbs: ReadonlySet<RunVerb> = new Set([
  'retry_from',
  'reset_step',
  'resolve_step',
  'complete_step',
]);

const stepStates: Partial<Record<RunVerb, readonly StepState[]>> = {
  reset_step: ['error', 'waiting_for_retry', 'cancelled'],
};

/** @throws MillraceError NOT_FOUND, WORKFLOW_STATE naming the states that allow it. */
export async function applyVerb(
  store: VerbStore,
  runId: string,
  request: VerbRequest,
): Promise<VerbAnswer> {
  const { verb } = request;
  const { queries } = store.workflows;
  const run = await findRun(queries, runId);
  checkState(run, verb);
  const record = needsRecord(verb) ? await recordOf(queries, run) : null;
  const step = stepVerbs.has(verb) && record !== null ? stepOf(run, record, request) : null;
  if (record !== null) checkEffect(run, record, verb);
  if (step !== null) checkStep(run, step, verb);
  const message = verbMessage(runId, request);
  const [delivery] = await store.deliver([message]);
  if (delivery === 'unknown') throw notFound(runId);
  if (delivery === 'ended') throw wrongState(await findRun(queries, runId), verb);
  const effect = await awaitEffect(store, message, request.waitMs ?? waitDefaultMs);
  const after = await findRun(queries, runId);
  // The engine obeys these before it counts what came earlier as read.
  const ended = effect === 'missed' && endsOf[verb] === after.state;
  if (effect === 'missed' && !ended) throw missed(after, verb);
  return { verb, applied: ended || effect === 'read', run: toRunView(after) };
}

export function verbMessage(
  runId: string,
  { verb, step, result, reason, by = 'operator' }: VerbRequest,
  messageId: string = crypto.randomUUID(),
): NewMessage {
  if (result !== undefined) checkJson(result);
  const payload = {
    ...(step !== undefined && { step }),
    ...(result !== undefined && { result }),
    ...(reason !== undefined && { reason }),
    by,
  };
  return { runId, messageId, kind: 'verb', name: verb, payloadJson: JSON.stringify(payload) };
}

/**
 * What became of a message before the time was over. `missed`: it was delivered while the run came
 * to its end, which did not read it.
 */
export async function awaitEffect(
  { workflows }: Pick<VerbStore, 'workflows'>,
  { runId, messageId }: Pick<NewMessage, 'runId' | 'messageId'>,
  waitMs: number,
): Promise<'read' | 'unread' | 'missed'> {
  const until = performance.now() + waitMs;
  for (let pauseMs: number = lookMs[0]; ; pauseMs = Math.min(lookMs[1], pauseMs * 2)) {
    const loaded = await workflows.load(runId);
    const isUnread = loaded?.messages.some((message) => message.messageId === messageId);
    if (loaded === null || !isUnread) return 'read';
    if (loaded.end !== null) return 'missed';
    if (performance.now() >= until) return 'unread';
    await sleep(pauseMs);
  }
}

/** Whoever sent it is to know that nobody will read it. */
export function missed({ runId, state }: RunSummary, what: string): MillraceError {
  const allowed = runStates[what as RunVerb]?.includes(state) === true;
  return new MillraceError(
    'WORKFLOW_STATE',
    `Run ${runId} came to its end (${state}) and did not read this ${what}.`,
    {
      fix: allowed ? 'Send it again.' : 'Start another run, or reset this one if it failed.',
      details: { runId, state },
    },
  );
}

export async function findRun(queries: WorkflowQueries, runId: string): Promise<RunSummary> {
  const [run] = await queries.find([runId]);
  if (run) return run;
  throw notFound(runId);
}

export function notFound(runId: string): MillraceError {
  return new MillraceError('NOT_FOUND', `There is no run ${runId}.`, {
    fix: 'Check the id and the tenant; ended runs are removed after their retention.',
  });
}

/** Which states of the run a bulk operation looks for, too. */
export function statesFor(verb: RunVerb, all: readonly TaskState[]): readonly TaskState[] {
  return runStates[verb] ?? all.filter((state) => !isEnd(state));
}

function needsRecord(verb: RunVerb): boolean {
  return stepVerbs.has(verb) || verb === 'pause' || verb === 'resume';
}

function checkState(run: RunSummary, verb: RunVerb): void {
  const allowed = runStates[verb];
  if (allowed ? allowed.includes(run.state) : !isEnd(run.state)) return;
  throw wrongState(run, verb);
}

function wrongState({ runId, state }: RunSummary, verb: RunVerb): MillraceError {
  const allowed = runStates[verb];
  const fix =
    allowed === undefined
      ? 'Only a run that has not come to its end can be told so.'
      : `Only a run that is ${allowed.join(', ')} can be told so.`;
  return new MillraceError(
    'WORKFLOW_STATE',
    `Run ${runId} cannot ${words(verb)}: it is ${state}.`,
    {
      fix,
      details: { runId, state },
    },
  );
}

const verbWords: Readonly<Record<RunVerb, string>> = {
  cancel: 'be cancelled',
  pause: 'be paused',
  resume: 'be resumed',
  retry: 'be retried',
  retry_from: 'be retried from a step',
  reset: 'be reset',
  reset_step: 'have a step reset',
  resolve_step: 'have a step resolved',
  complete_step: 'have a step completed by hand',
  resolve_run: 'be resolved by hand',
  give_up: 'be given up',
  time_out: 'be timed out',
};

function words(verb: RunVerb): string {
  return verbWords[verb];
}

function checkEffect({ runId }: RunSummary, record: RunRecord, verb: RunVerb): void {
  if (verb !== 'pause' && verb !== 'resume') return;
  if (record.paused === (verb === 'resume')) return;
  const text = verb === 'pause' ? 'it is paused already' : 'it is not paused';
  throw new MillraceError('WORKFLOW_STATE', `Run ${runId} cannot ${words(verb)}: ${text}.`, {
    fix: 'Nothing is left to do.',
    details: { runId },
  });
}

function stepOf(run: RunSummary, record: RunRecord, { verb, step }: VerbRequest): StepRecord {
  if (step === undefined) {
    throw new MillraceError('REQUEST_INVALID', `${verb} needs the name of a step.`);
  }
  const found = findStep(run.runId, record, step);
  if (found) return found;
  const names = record.steps.slice(0, 20).map(({ name }) => name);
  throw new MillraceError('NOT_FOUND', `Run ${run.runId} has no step ${step}.`, {
    fix: `Its steps are ${names.join(', ')}${record.steps.length > 20 ? ', …' : ''}.`,
  });
}

/** By its name, its number, its UUID, or `<run>:<name>`. */
export function findStep(runId: string, record: RunRecord, given: string): StepRecord | null {
  const name = given.startsWith(`${runId}:`) ? given.slice(runId.length + 1) : given;
  const named = record.step(name);
  if (named) return named;
  if (isUuid(name)) return record.steps.find(({ no }) => stepUuid(runId, no) === name) ?? null;
  return /^\d{1,9}$/.test(name) ? (record.steps[Number(name)] ?? null) : null;
}

function checkStep(run: RunSummary, step: StepRecord, verb: RunVerb): void {
  const allowed = stepStates[verb];
  const done = step.state === 'complete' || step.state === 'resolved_manually';
  const right = allowed ? allowed.includes(step.state) : verb === 'retry_from' || !done;
  if (right) return;
  const fix = allowed
    ? `Only a step that is ${allowed.join(', ')} can be reset; retry-from repeats a finished one.`
    : 'It is done already; `millrace workflow retry-from` does it and what follows again.';
  throw new MillraceError(
    'WORKFLOW_STATE',
    `Step ${step.name} of run ${run.runId} is ${step.state}.`,
    { fix, details: { runId: run.runId, step: step.name, state: step.state } },
  );
}

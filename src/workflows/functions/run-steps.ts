/**
 * Steps that run here: one try after the other, by their policy. Used for `ctx.run`, the items of
 * `ctx.map` and compensations.
 */
import { backoffDelayMs } from '../../core/backoff.ts';
import { errorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import type { StepEnding, StepTools } from '../run/driver.ts';
import { callStep, endingOfCommit } from '../steps/step-runner.ts';
import type { StepPolicy } from './function-rules.ts';
import type { FunctionRun } from './function-run.ts';
import type { Entry } from './ledger.ts';
import { eventsOf } from './published-events.ts';

export interface StepSpec extends StepPolicy {
  readonly transactional: boolean;
  readonly idempotent: boolean;
  readonly inputsJson: string | undefined;
  /** Declared step that it is an instance of, when it has another name. */
  readonly template?: string | undefined;
  readonly handle: (tools: StepTools) => unknown;
}

/** Tries whose end nobody saw. A step that kills its process must not do so for ever. */
const interruptionsMax = 10;

/** Begins a step, or goes on with one that the history has as not over. */
export function runStep(room: FunctionRun, found: Entry | null, name: string, spec: StepSpec) {
  const { ledger, journal } = room;
  let entry = found;
  if (entry === null) {
    const { inputsJson, template } = spec;
    const created = ledger.create({ name, kind: 'run', template, inputsJson });
    entry = created.entry;
    journal.addLazily({ create: created.part.create });
  }
  const step = entry;
  step.begin = () => void tryStep(room, step, spec);
  if (step.step.state === 'waiting_for_retry' && (step.step.wakeAt ?? 0) > Date.now()) {
    ledger.waiting.add(step);
  } else step.begin();
  return step;
}

async function tryStep(room: FunctionRun, entry: Entry, spec: StepSpec): Promise<void> {
  if (room.lost) return;
  if (room.halted) return room.park(() => void tryStep(room, entry, spec));
  const { ledger, journal } = room;
  if (entry.step.state === 'in_progress' && !mayRepeat(room, entry, spec)) return;
  const cancel = new AbortController();
  entry.cancel = cancel;
  room.running += 1;
  const start = ledger.start(entry, { inputsJson: spec.inputsJson });
  if (spec.idempotent) journal.addLazily(start);
  else journal.add(start);
  const durable = journal.durable();
  if (durable !== null) await durable;
  // The answers to both are the same until it is stored that it ended.
  let ending: StepEnding;
  do {
    ending = await callStep(room.run, {
      step: entry.step,
      attempt: entry.step.attempts,
      attemptsMax: spec.attempts,
      timeoutMs: spec.timeoutMs,
      transactional: spec.transactional,
      cancel: cancel.signal,
      handle: spec.handle,
    });
    if (isOver(room, cancel)) {
      if (ending.kind === 'value') await ending.transaction?.rollback().catch(() => {});
      break;
    }
  } while ((await endTry(room, entry, spec, ending)) === 'again');
  room.running -= 1;
  if (entry.cancel === cancel) entry.cancel = null;
  room.changed();
}

/** Somebody else has ended the step, or the run is no longer here. */
function isOver(room: FunctionRun, cancel: AbortController): boolean {
  return cancel.signal.aborted || room.lost;
}

async function endTry(
  room: FunctionRun,
  entry: Entry,
  spec: StepSpec,
  ending: StepEnding,
): Promise<'again' | 'over'> {
  if (ending.kind === 'aborted') return 'over';
  if (ending.kind === 'error') {
    failTry(room, entry, spec, ending);
    return 'over';
  }
  const { resultJson, transaction } = ending;
  const outcome = { success: true, retryable: false, result: ending.value };
  const events = eventsOf(room, entry, ending.events, outcome);
  if (transaction === null) {
    room.journal.add({ ...room.ledger.complete(entry, resultJson), events: events.routed });
    room.journal.onceStored(events.dispatch);
    room.settled(entry);
    return 'over';
  }
  try {
    const part = { ...room.ledger.completion(entry, resultJson), events: events.routed };
    await room.journal.commitIn(transaction, part, () => {
      room.ledger.apply(entry, 'complete', { resultJson });
    });
  } catch (error) {
    if (room.lost || entry.cancel?.signal.aborted === true) return 'over';
    const meaning = endingOfCommit(error);
    if (meaning === 'again') return 'again';
    if (meaning.kind === 'error') failTry(room, entry, spec, meaning);
    return 'over';
  }
  void events.dispatch();
  room.settled(entry);
  return 'over';
}

type Failure = Extract<StepEnding, { kind: 'error' }>;

function failTry(room: FunctionRun, entry: Entry, spec: StepSpec, ending: Failure): void {
  const { ledger, journal } = room;
  const { attempts } = entry.step;
  const { error, thrown } = ending;
  const final = !ending.retryable || attempts >= spec.attempts;
  const outcome = { success: false, retryable: !final, error };
  const { routed: events, dispatch } = eventsOf(room, entry, ending.events, outcome);
  if (final) {
    journal.add({ ...ledger.fail(entry, error), events });
    journal.onceStored(dispatch);
    room.settled(entry);
    return;
  }
  const situation = { attempt: attempts, error: thrown };
  const delayMs = ending.delayMs ?? backoffDelayMs(spec.backoff, situation);
  journal.add({ ...ledger.retryLater(entry, error, Date.now() + delayMs), events });
  journal.onceStored(dispatch);
  ledger.waiting.add(entry);
}

/** False: the try before was interrupted, and this step does not bear another one. */
function mayRepeat(room: FunctionRun, entry: Entry, spec: StepSpec): boolean {
  const { ledger, journal, notes } = room;
  const note = `interrupted:${entry.step.no}`;
  const count = Number(notes.get(note) ?? 0) + 1;
  if (spec.idempotent && count <= interruptionsMax) {
    notes.set(note, String(count));
    journal.addLazily({ transitions: [], notes: [[note, String(count)]] });
    return true;
  }
  const { name } = entry.step;
  const problem = spec.idempotent
    ? `was interrupted ${count} times: its process ended before it did.`
    : 'was interrupted, and is not idempotent: whether it had its effect is not known.';
  const error = new MillraceError('STEP_FAILED', `Step '${name}' ${problem}`, {
    fix: 'Find out, then complete the step by hand with its result, or retry the run.',
    details: { step: name, interruptions: count },
  });
  notes.delete(note);
  const failed = { ...ledger.fail(entry, errorRecord(error)), notes: [[note, null] as const] };
  journal.add(failed);
  room.settled(entry);
  return false;
}

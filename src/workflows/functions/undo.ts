/**
 * Compensation (saga): when a run fails, what its finished steps did is undone in reverse order of
 * their ends. Each undoing is a step of its own, `undo:<key>`, kept and retried as any other; that
 * there is something to undo, and why, is a note of the run, so that whoever takes it over goes on.
 */
import { errorRecord, type JobErrorRecord } from '../../core/error-record.ts';
import { isMillraceError, MillraceError } from '../../core/errors.ts';
import type { StepTools } from '../run/driver.ts';
import type { FunctionRun, Verdict } from './function-run.ts';
import { answerOf, type Entry, isFinal } from './ledger.ts';
import { runStep, type StepSpec } from './run-steps.ts';
import { isUndoable, undoPrefix } from './undo-names.ts';
import { cancelOpen } from './waits.ts';

/** How one step is undone. */
export interface Undo {
  readonly policy: Omit<StepSpec, 'handle'>;
  readonly handle: (result: unknown, tools: StepTools) => unknown;
}

export interface UndoReason {
  readonly kind: 'threw' | 'cancelled';
  readonly error: JobErrorRecord | null;
  readonly by: string | null;
  readonly reason: string | null;
}

const noteName = 'compensating';
/** So long a function that is called once more may take to come by the steps to undo. */
const rewindMs = 30_000;

export function undoNote(notes: ReadonlyMap<string, string>): UndoReason | null {
  const json = notes.get(noteName);
  return json === undefined ? null : (JSON.parse(json) as UndoReason);
}

/** True when there is something to undo, and it was begun. Not while a transaction commits. */
export function startUndoing(
  room: FunctionRun,
  verdict: Extract<Verdict, { kind: 'threw' | 'cancelled' }>,
): boolean {
  if (room.phase !== 'forward') return false;
  if (verdict.kind === 'cancelled' && !room.rules.compensateOnCancel) return false;
  if (!room.ledger.entries.some((entry) => isUndoable(entry.step))) return false;
  const threw = verdict.kind === 'threw';
  const why: UndoReason = {
    kind: verdict.kind,
    error: threw ? errorRecord(verdict.error) : null,
    by: threw ? null : verdict.by,
    reason: threw ? null : (verdict.reason ?? null),
  };
  room.undoing = why;
  const json = JSON.stringify(why);
  room.notes.set(noteName, json);
  cancelOpen(room, new MillraceError('WORKFLOW_CANCELLED', 'The run is being undone.'));
  room.journal.add({ notes: [[noteName, json]] });
  // A function that was cancelled while it had not come by all of its steps is called once more.
  if (room.call.knowsUndos) undo(room);
  else room.restart('The run is being undone.');
  return true;
}

/** The function has ended while it was called to learn how its steps are undone. */
export function settleUndo(room: FunctionRun, verdict: Verdict): void {
  if (verdict.kind !== 'nondeterministic' && room.call.knowsUndos) {
    undo(room);
    return;
  }
  const missing = room.ledger.entries.find(
    ({ step }) => isUndoable(step) && !room.call.undos.has(step.name),
  );
  const error =
    verdict.kind === 'nondeterministic'
      ? verdict.error
      : new MillraceError(
          'WORKFLOW_NONDETERMINISTIC',
          `Step '${missing?.step.name}' is to be undone, and the function does not ask for it.`,
        );
  room.phase = 'forward';
  room.verdict = null;
  room.decide({ kind: 'nondeterministic', error });
}

/** Called as the function is rewound: begins as soon as it is known how every step is undone. */
export function lookAtUndos(room: FunctionRun): void {
  if (room.phase !== 'rewinding') return;
  const { call } = room;
  if (call.knowsUndos) {
    setImmediate(() => {
      if (room.phase === 'rewinding' && room.call === call && !call.abandoned) undo(room);
    });
  }
}

/** It must come by the steps that are to be undone in time. */
export function limitRewinding(room: FunctionRun): void {
  const { call } = room;
  const timer = setTimeout(() => {
    if (room.phase === 'rewinding' && room.call === call) {
      settleUndo(room, { kind: 'returned', value: undefined });
    }
  }, rewindMs);
  timer.unref();
}

function undo(room: FunctionRun): void {
  room.phase = 'undoing';
  room.verdict = null;
  room.call.abandon(new MillraceError('WORKFLOW_CANCELLED', 'The run is being undone.'));
  undoAll(room).then(
    (failed) => room.decide({ kind: 'undone', why: room.undoing as UndoReason, failed }),
    () => {},
  );
  room.changed();
}

async function undoAll(room: FunctionRun): Promise<MillraceError | null> {
  const { call } = room;
  // When steps ended is known once it is stored.
  await room.journal.flush();
  const ends = (entry: Entry) => room.run.record.steps[entry.step.no]?.finishedAt ?? 0;
  const done = room.ledger.entries
    .filter(({ step }) => isUndoable(step))
    .sort((a, b) => ends(b) - ends(a) || b.step.no - a.step.no);
  for (const entry of done) {
    const failed = await undoOne(room, entry, call.undos.get(entry.step.name) as Undo);
    if (failed !== null) return failed;
  }
  return null;
}

async function undoOne(
  room: FunctionRun,
  entry: Entry,
  { policy, handle }: Undo,
): Promise<MillraceError | null> {
  const name = `${undoPrefix}${entry.step.name}`;
  const result = answerOf(entry);
  const found = room.ledger.find(name) ?? null;
  if (found === null || !isFinal(found)) {
    await new Promise<void>((resolve) => {
      const spec = { ...policy, handle: (tools: StepTools) => handle(result, tools) };
      const step = runStep(room, found, name, spec);
      if (isFinal(step)) resolve();
      else step.answer = () => resolve();
    });
  }
  try {
    answerOf(room.ledger.find(name) as Entry);
    return null;
  } catch (error) {
    return isMillraceError(error) ? error : new MillraceError('STEP_FAILED', String(error));
  }
}

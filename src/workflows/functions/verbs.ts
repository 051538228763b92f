/**
 * What operators tell a run of a durable function to do with its steps. Each verb is one change
 * with the operator's name, which counts its message as read; when steps were forgotten the
 * function is called anew.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredMessage } from '../../ports/workflows.ts';
import { readVerb, type VerbPayload } from '../run/verbs.ts';
import type { FunctionRun } from './function-run.ts';
import { type Entry, isFinal } from './ledger.ts';
import { isUndoable, undoPrefix } from './undo-names.ts';
import { cancelOf, unwaitOf } from './waits.ts';

export async function obeyVerb(room: FunctionRun, message: StoredMessage): Promise<void> {
  const verb = readVerb(message);
  // What belongs to others is stored under their own name.
  await room.flushed();
  await room.unblocked();
  if (room.lost) return;
  void room.journal.flush();
  room.journal.add({ read: message.no, by: verb.by, reason: verb.reason });
  carryOut(room, message.name, verb);
  await room.flushed();
}

function carryOut(room: FunctionRun, name: string, verb: VerbPayload): void {
  switch (name) {
    case 'cancel':
      if (room.phase === 'forward') cancel(room, verb);
      break;
    case 'pause':
      note(room, 'paused', JSON.stringify({ by: verb.by, reason: verb.reason ?? null }));
      break;
    case 'resume':
      note(room, 'paused', null);
      break;
    case 'retry':
      retry(room);
      break;
    case 'retry_from':
      retryFrom(room, verb);
      break;
    case 'reset':
      startOver(room, room.ledger.entries, 'The run was reset.');
      break;
    case 'reset_step':
      resetStep(room, verb);
      break;
    case 'complete_step':
    case 'resolve_step':
      endStep(room, name, verb);
      break;
  }
}

function cancel(room: FunctionRun, { by, reason }: VerbPayload): void {
  const why = reason === undefined ? '' : `: ${reason}`;
  room.call.abandon(new MillraceError('WORKFLOW_CANCELLED', `Cancelled by ${by}${why}`));
  room.decide({ kind: 'cancelled', by, reason });
}

function note(room: FunctionRun, key: string, json: string | null): void {
  room.journal.add({ notes: [[key, json]] });
}

/**
 * Failed steps are forgotten and the run goes on. Of a run that undid its steps, those are
 * forgotten too; while it still has some to undo, it goes on with that.
 */
function retry(room: FunctionRun): void {
  const { ledger } = room;
  const forgotten = ledger.entries.filter(({ step }) => {
    return step.state === 'error' || step.state === 'cancelled';
  });
  const undo = ledger.entries.filter(({ step }) => step.name.startsWith(undoPrefix));
  const undoFailed = undo.some(({ step }) => step.state === 'error');
  if (undo.length > 0 && !undoFailed) {
    const undone = new Set(undo.map(({ step }) => step.name.slice(undoPrefix.length)));
    for (const entry of ledger.entries) {
      if (isUndoable(entry.step) && undone.has(entry.step.name)) forgotten.push(entry);
    }
    forgotten.push(...undo.filter(({ step }) => step.state !== 'pending'));
    forgetUndo(room);
  }
  const waiting = [...ledger.waiting].filter(({ step }) => step.state === 'waiting_for_retry');
  if (undoFailed) startAgain(room, undo.filter(isFailed), 'Its compensation was retried.');
  else startAgain(room, [...new Set([...forgotten, ...waiting])], 'The run was retried.');
}

function isFailed({ step }: Entry): boolean {
  return step.state === 'error';
}

/** That step, and those that were created after it. */
function retryFrom(room: FunctionRun, { step }: VerbPayload): void {
  const from = room.ledger.find(step ?? '');
  if (from === undefined) return;
  const later = room.ledger.entries.filter((entry) => entry.step.no >= from.step.no);
  startOver(room, later, `The run was retried from '${step}'.`);
}

function startOver(room: FunctionRun, entries: readonly Entry[], reason: string): void {
  forgetUndo(room);
  const all = new Set(entries);
  for (const entry of room.ledger.entries) {
    if (entry.step.name.startsWith(undoPrefix)) all.add(entry);
  }
  startAgain(room, [...all], reason);
}

function forgetUndo(room: FunctionRun): void {
  if (room.undoing === null) return;
  room.undoing = null;
  room.notes.delete('compensating');
  note(room, 'compensating', null);
}

function startAgain(room: FunctionRun, entries: readonly Entry[], reason: string): void {
  const { journal, ledger, notes } = room;
  const attempt = String(Number(notes.get('attempt') ?? 1) + 1);
  notes.set('attempt', attempt);
  note(room, 'attempt', attempt);
  for (const entry of entries) forget(room, entry);
  if (entries.length === ledger.entries.length) forgetNotes(room);
  if (room.call.begun) room.restart(reason);
  journal.noteStepEnded();
}

/** A run that starts from nothing makes its own choices and moments again. */
function forgetNotes(room: FunctionRun): void {
  for (const key of [...room.notes.keys()]) {
    if (!/^(now|patch|interrupted):/.test(key)) continue;
    room.notes.delete(key);
    note(room, key, null);
  }
}

function forget(room: FunctionRun, entry: Entry): void {
  const { journal, ledger } = room;
  const { kind, state } = entry.step;
  if (state === 'pending') return;
  entry.cancel?.abort(new MillraceError('WORKFLOW_STATE', 'The step was reset.'));
  const messages = kind === 'child' && state === 'in_progress' ? [cancelOf(room, entry)] : [];
  const unwait = state === 'in_progress' ? unwaitOf(entry) : {};
  journal.add({ ...ledger.forget(entry), ...unwait, messages });
}

/** A failed step is tried again; one that the function has seen fail needs a new call of it. */
function resetStep(room: FunctionRun, { step }: VerbPayload): void {
  const entry = room.ledger.find(step ?? '');
  if (entry === undefined) return;
  const { state } = entry.step;
  if (state !== 'error' && state !== 'waiting_for_retry' && state !== 'cancelled') return;
  startAgain(room, [entry], `Step '${step}' was reset.`);
}

/** By hand: whatever it does just now, this is how it ended. */
function endStep(room: FunctionRun, name: string, { step, result }: VerbPayload): void {
  const entry = room.ledger.find(step ?? '');
  if (entry === undefined) return;
  const { state } = entry.step;
  if (isFinal(entry) && state !== 'error') return;
  const resultJson = result === undefined ? null : JSON.stringify(result);
  const to = name === 'complete_step' ? 'complete' : 'resolved_manually';
  entry.cancel?.abort(new MillraceError('WORKFLOW_STATE', 'The step was ended by hand.'));
  entry.begin = null;
  room.journal.add({ ...room.ledger.settle(entry, to, { resultJson }), ...unwaitOf(entry) });
  // What it has been told already cannot be taken back: it is told anew from the start.
  if (state === 'error' && entry.asked) room.restart(`Step '${step}' was ended by hand.`);
  else room.settled(entry);
}

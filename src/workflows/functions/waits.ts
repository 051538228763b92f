/**
 * Steps that nobody works on: sleeps, and waits for events, signals, decisions and children. They
 * are in progress until their time has come or a message brings their end.
 */
import { errorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import type { StepKind } from '../../core/workflow/run-record.ts';
import type { Draft } from '../run/driver.ts';
import { cancelChild } from '../run/verbs.ts';
import type { FunctionRun } from './function-run.ts';
import { type Entry, isFinal } from './ledger.ts';

/** What a step that waits keeps as its inputs. */
export interface WaitInputs {
  /** Event type, name of the signal or workflow; what is compared when the function asks again. */
  readonly about?: string;
  /** Of events. Null: any. */
  readonly key?: string | null;
  /** Of children. */
  readonly runId?: string;
  /** Of approvals. */
  readonly message?: string;
  readonly onTimeout?: 'approve' | 'reject' | 'fail';
}

export interface WaitSpec {
  readonly name: string;
  readonly kind: StepKind;
  readonly inputs: WaitInputs | null;
  /** Milliseconds since 1970; null: no end. */
  readonly wakeAt: number | null;
  /** What is stored with its beginning. */
  readonly with?: Pick<Draft, 'starts'> | undefined;
  readonly notes?: Draft['notes'];
}

/** Begins a wait. One that the history has goes on as it was, with its own time. */
export function startWait(room: FunctionRun, found: Entry | null, spec: WaitSpec): Entry {
  const { ledger, journal } = room;
  if (found !== null && found.step.state === 'in_progress') {
    ledger.waiting.add(found);
    return found;
  }
  const inputsJson = spec.inputs === null ? undefined : JSON.stringify(spec.inputs);
  let create: Draft['create'];
  let entry = found;
  if (entry === null) {
    const created = ledger.create({ name: spec.name, kind: spec.kind, inputsJson });
    ({ entry } = created);
    ({ create } = created.part);
  }
  const { wakeAt, inputs } = spec;
  const start = ledger.start(entry, { inputsJson, wakeAt: wakeAt ?? undefined });
  const waits =
    spec.kind === 'event'
      ? [{ eventType: inputs?.about as string, eventKey: inputs?.key ?? null, step: entry.step.no }]
      : undefined;
  journal.add({ ...start, create, waits, ...spec.with });
  ledger.waiting.add(entry);
  return entry;
}

/** What it waited for is there. */
export function endWait(room: FunctionRun, entry: Entry, resultJson: string | null): void {
  if (isFinal(entry)) return;
  room.journal.add({ ...room.ledger.complete(entry, resultJson), ...unwaitOf(entry) });
  room.settled(entry);
}

export function failWait(room: FunctionRun, entry: Entry, error: MillraceError): void {
  if (isFinal(entry)) return;
  room.journal.add({ ...room.ledger.fail(entry, errorRecord(error)), ...unwaitOf(entry) });
  room.settled(entry);
}

/** Its time has come. */
export function timeOut(room: FunctionRun, entry: Entry): void {
  const { kind, name } = entry.step;
  const inputs = inputsOf(entry);
  if (kind === 'sleep') {
    endWait(room, entry, null);
    return;
  }
  if (kind === 'approval' && inputs.onTimeout !== 'fail') {
    const approved = inputs.onTimeout === 'approve';
    endWait(room, entry, JSON.stringify({ approved, by: 'timeout', comment: null }));
    return;
  }
  if (kind === 'child') room.journal.add({ messages: [cancelOf(room, entry)] });
  const { about } = inputs;
  const what = kind === 'approval' ? 'Nobody decided' : `No ${kind} '${about ?? name}' came`;
  const problem = kind === 'child' ? `The child '${about ?? name}' did not end` : what;
  const message = `${problem} before the time of step '${name}' was over.`;
  failWait(
    room,
    entry,
    new MillraceError('WORKFLOW_TIMEOUT', message, { details: { step: name } }),
  );
}

export function inputsOf({ step }: Entry): WaitInputs {
  return step.inputsJson === null ? {} : (JSON.parse(step.inputsJson) as WaitInputs);
}

export function unwaitOf({ step }: Entry): Pick<Draft, 'unwait'> {
  return step.kind === 'event' ? { unwait: [step.no] } : {};
}

export function cancelOf(room: FunctionRun, entry: Entry) {
  return cancelChild(room.run.info.runId, inputsOf(entry).runId as string);
}

/** Ends everything that is open, because nobody will ask for it any more. */
export function cancelOpen(room: FunctionRun, reason: MillraceError): void {
  const { ledger, journal } = room;
  for (const entry of ledger.entries) {
    if (isFinal(entry)) continue;
    const { kind, state } = entry.step;
    entry.cancel?.abort(reason);
    entry.begin = null;
    const messages = kind === 'child' && state === 'in_progress' ? [cancelOf(room, entry)] : [];
    journal.add({ ...ledger.settle(entry, 'cancelled'), ...unwaitOf(entry), messages });
  }
}

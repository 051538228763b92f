/**
 * Verbs that mean the same whatever drives the run: the engine carries them out itself, as soon as
 * their message is known, and a driver does not see them unless its definition names them in
 * `ownVerbs`.
 *
 *   cancel       handlers are told to stop, what is open of the steps and the run → cancelled,
 *                children are cancelled by messages
 *   pause        note `paused`: a driver begins nothing while `record.paused`; handlers finish
 *   resume       the note is gone
 *   resolve_run  as cancel, but the run → resolved_manually, with the result that was given
 *   give_up      of a blocked run: → error, with the error of its first failed step
 *   time_out     a limit of its lifecycle passed: as cancel, but the run → error
 *
 * The other verbs (retry, retry_from, reset, reset_step, resolve_step, complete_step) are about
 * steps, and reach the driver through `messages()`.
 */
import { errorRecord, type JobErrorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import type { RunRecord } from '../../core/workflow/run-record.ts';
import { type EndState, isEnd, type StepState } from '../../core/workflow/states.ts';
import type { NewMessage, StoredMessage } from '../../ports/workflows.ts';
import type { Draft } from './driver.ts';

export const engineVerbs = [
  'cancel',
  'pause',
  'resume',
  'resolve_run',
  'give_up',
  'time_out',
] as const;
export type EngineVerb = (typeof engineVerbs)[number];

export interface VerbPayload {
  readonly step?: string | undefined;
  readonly result?: unknown;
  readonly reason?: string | undefined;
  readonly by: string;
}

const saidCharsMax = 1_000;
const engineVerbSet: ReadonlySet<string> = new Set(engineVerbs);

export function isEngineVerb(message: StoredMessage, ownVerbs: readonly string[] = []): boolean {
  const { kind, name } = message;
  return kind === 'verb' && engineVerbSet.has(name) && !ownVerbs.includes(name);
}

/** These end the run whatever it does just now: its handlers are told to stop first. */
export function endsRun(message: StoredMessage): boolean {
  return ['cancel', 'resolve_run', 'time_out'].includes(message.name);
}

/** Never throws: whatever was stored as a payload, the verb has its effect. */
export function readVerb(message: Pick<StoredMessage, 'payloadJson'>): VerbPayload {
  try {
    const { step, result, reason, by } = JSON.parse(message.payloadJson) as Partial<VerbPayload>;
    return {
      by: (typeof by === 'string' && storable(by)) || 'operator',
      ...(typeof step === 'string' && { step }),
      ...(result !== undefined && { result }),
      ...(typeof reason === 'string' && { reason: storable(reason) }),
    };
  } catch {
    return { by: 'operator' };
  }
}

/** Of what operators wrote: a NUL or half a character makes a change unreadable for SQL. */
function storable(text: string): string {
  return text.replaceAll('\0', '').slice(0, saidCharsMax).toWellFormed();
}

/** What the verb leads to, without `read`; null: the run is in no state for it. */
export function draftOfVerb(record: RunRecord, message: StoredMessage): Draft | null {
  const verb = readVerb(message);
  const said = { by: verb.by, ...(verb.reason !== undefined && { reason: verb.reason }) };
  switch (message.name as EngineVerb) {
    case 'pause': {
      if (record.paused) return null;
      const { by, reason = null } = verb;
      const note = JSON.stringify({ by, reason, at: message.sentAt });
      return { ...said, transitions: [], notes: [['paused', note]] };
    }
    case 'resume':
      return record.paused ? { ...said, transitions: [], notes: [['paused', null]] } : null;
    case 'cancel':
      return { ...said, ...endDraft(record, 'cancelled', null, null) };
    case 'resolve_run': {
      const resultJson = verb.result === undefined ? null : JSON.stringify(verb.result);
      return { ...said, ...endDraft(record, 'resolved_manually', resultJson, null) };
    }
    case 'give_up': {
      if (record.state !== 'blocked_by_failures') return null;
      return { ...said, ...endDraft(record, 'error', null, failureOf(record)) };
    }
    case 'time_out': {
      const { reason = 'A limit of its lifecycle passed.' } = verb;
      const error = errorRecord(new MillraceError('WORKFLOW_TIMEOUT', reason));
      return { ...said, ...endDraft(record, 'error', null, error) };
    }
  }
}

const openStates: ReadonlySet<StepState> = new Set([
  'pending',
  'enqueued',
  'in_progress',
  'enqueued_for_orchestration',
  'enqueued_as_error_for_orchestration',
  'waiting_for_retry',
]);

/**
 * The end of a run as it stands: open steps are cancelled, those that failed stay as they are. A
 * run that an operator opened again and that has not gone on yet ends as it had ended.
 */
export function endDraft(
  record: RunRecord,
  state: EndState,
  resultJson: string | null,
  error: JobErrorRecord | null,
): Pick<Draft, 'transitions' | 'facts' | 'unwait' | 'end'> {
  const open = record.steps.filter((step) => openStates.has(step.state));
  const steps = open.map(({ no }) => [no, 'cancelled'] as const);
  const over = isEnd(record.state);
  return {
    transitions: over ? steps : [...steps, [-1, state] as const],
    facts: open
      .filter(({ wakeAt }) => wakeAt !== null)
      .map(({ no }) => ({ step: no, wakeAt: null })),
    unwait: open.filter(({ kind }) => kind === 'event').map(({ no }) => no),
    end: { state: over ? (record.state as EndState) : state, resultJson, error },
  };
}

/** Of the first step that failed. */
export function failureOf(record: RunRecord): JobErrorRecord {
  const failed = record.steps.find((step) => step.state === 'error' && step.error !== null);
  return (
    failed?.error ??
    errorRecord(new MillraceError('WORKFLOW_FAILED', 'The run was given up by hand.'))
  );
}

/** Cancels a child with its parent. Sent again it is a duplicate. */
export function cancelChild(parentRunId: string, childRunId: string): NewMessage {
  return {
    runId: childRunId,
    messageId: `cancel:${parentRunId}`,
    kind: 'verb',
    name: 'cancel',
    payloadJson: JSON.stringify({ by: `run ${parentRunId}`, reason: 'Its parent was cancelled.' }),
  };
}

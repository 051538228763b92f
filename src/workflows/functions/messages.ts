/**
 * Messages as they reach a durable function. Each has its effect, or is kept for whoever asks
 * later, in the same commit that counts it as read. What comes late or twice changes nothing.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredMessage } from '../../ports/workflows.ts';
import type { FunctionRun } from './function-run.ts';
import type { Entry } from './ledger.ts';
import { obeyVerb } from './verbs.ts';
import { endWait, failWait, inputsOf } from './waits.ts';

export async function readMessages(room: FunctionRun): Promise<void> {
  for (const message of await room.run.messages()) {
    if (room.lost || message.no <= room.readTo) continue;
    room.readTo = message.no;
    // The part that a message leads to is stored with its number, or not at all. A verb first
    // stores what belongs to others: its number goes with its own part.
    if (message.kind !== 'verb') room.journal.add({ read: message.no });
    await receive(room, message);
  }
}

async function receive(room: FunctionRun, message: StoredMessage): Promise<void> {
  const { kind, name, payloadJson } = message;
  switch (kind) {
    case 'signal': {
      const entry = waitingFor(room, 'signal', (step) => inputsOf(step).about === name);
      if (entry !== undefined) endWait(room, entry, payloadJson);
      else keep(room, message, 'signal');
      break;
    }
    case 'approval': {
      const entry = room.ledger.find(name);
      // One that was reset waits for nobody, and is going to be asked for again.
      if (entry?.step.kind !== 'approval' || entry.step.state === 'pending') {
        // The first decides; a second would be the answer to a later question.
        if (!room.inbox.has('approval', name)) keep(room, message, 'approval');
      } else if (room.ledger.waiting.has(entry)) endWait(room, entry, decisionOf(payloadJson));
      else if (entry.step.state === 'in_progress') endWait(room, entry, decisionOf(payloadJson));
      break;
    }
    case 'event':
      receiveEvent(room, message);
      break;
    case 'child':
      receiveChild(room, message);
      break;
    case 'verb':
      await obeyVerb(room, message);
      break;
    case 'step':
      break;
  }
}

/** The step that has waited longest. One of the history counts before it was asked for again. */
function waitingFor(
  { ledger }: FunctionRun,
  kind: 'signal' | 'event',
  fits: (entry: Entry) => boolean,
): Entry | undefined {
  return ledger.entries.find(
    (entry) => entry.step.kind === kind && entry.step.state === 'in_progress' && fits(entry),
  );
}

function keep(room: FunctionRun, message: StoredMessage, kind: 'signal' | 'approval'): void {
  const { no, name, payloadJson } = message;
  room.journal.add({ notes: [room.inbox.put({ no, kind, name, payloadJson })] });
}

/** Every wait that it fits gets it. */
function receiveEvent(room: FunctionRun, { name, payloadJson }: StoredMessage): void {
  const { key, payload } = eventOf(payloadJson);
  for (const entry of room.ledger.entries) {
    const { kind, state } = entry.step;
    if (kind !== 'event' || state !== 'in_progress') continue;
    const inputs = inputsOf(entry);
    if (inputs.about !== name) continue;
    if (typeof inputs.key === 'string' && key !== undefined && inputs.key !== key) continue;
    endWait(room, entry, payload);
  }
}

/** The engine sends an envelope; a bare payload is taken as it is. */
function eventOf(payloadJson: string): { key: string | null | undefined; payload: string } {
  const value = JSON.parse(payloadJson) as Record<string, unknown> | null;
  if (typeof value === 'object' && value !== null && 'eventId' in value && 'payload' in value) {
    const key = typeof value.key === 'string' ? value.key : null;
    return { key, payload: JSON.stringify(value.payload) };
  }
  return { key: undefined, payload: payloadJson };
}

export function decisionOf(payloadJson: string): string {
  const { approved, by, comment } = (JSON.parse(payloadJson) ?? {}) as Record<string, unknown>;
  return JSON.stringify({
    approved: approved === true,
    by: typeof by === 'string' ? by : 'unknown',
    comment: typeof comment === 'string' ? comment : null,
  });
}

interface ChildEnd {
  readonly runId?: string;
  readonly state?: string;
  readonly result?: unknown;
  readonly error?: { readonly message?: string; readonly code?: string | null } | null;
}

function receiveChild(room: FunctionRun, { name, payloadJson }: StoredMessage): void {
  const entry = room.ledger.entries[Number(name)];
  if (entry?.step.kind !== 'child' || entry.step.state !== 'in_progress') return;
  const end = JSON.parse(payloadJson) as ChildEnd;
  const { about, runId } = inputsOf(entry);
  // A child of before the step was reset.
  if (end.runId !== undefined && end.runId !== runId) return;
  if (end.state === 'complete' || end.state === 'resolved_manually') {
    endWait(room, entry, printed(end.result));
    return;
  }
  const cancelled = end.state === 'cancelled';
  const said = end.error?.message === undefined ? '' : `: ${end.error.message}`;
  const problem = cancelled ? 'was cancelled' : `failed${said}`;
  const code = cancelled ? 'WORKFLOW_CANCELLED' : 'WORKFLOW_FAILED';
  const message = `The child ${about ?? name} (run ${runId ?? '?'}) ${problem}`;
  failWait(room, entry, new MillraceError(code, message, { details: { runId } }));
}

/** Stores keep results as JSON text, and may hand them on as text or as values. */
function printed(result: unknown): string | null {
  return result === undefined || result === null ? null : JSON.stringify(result);
}

/**
 * The row of one exception: the state that `projectException` folds, and what the engine's own
 * events add to it (retries, dead letters). The one list of columns from which the projection's
 * statements and the views of queries.ts are made.
 */
import { DeadLettered, RetryScheduled, type StoredEvent } from 'millrace';
import { exceptionEvents } from '../events.ts';
import { type ExceptionState, projectException } from '../projection.ts';
import { isEvent } from '../stages/stage.ts';

export interface ExceptionRecord extends Omit<ExceptionState, 'tenantId'> {
  /** The last event folded in; events at or before it change nothing. */
  readonly lastOffset: number;
  readonly events: number;
  /** The group with a dead letter of this exception; null when there is none any more. */
  readonly deadLetterGroup: string | null;
  readonly lastError: string | null;
}

/** [member, column, type]. `amount` is numeric in the table, so that sums of it stay exact. */
export const columns = [
  ['exceptionId', 'exception_id', 'text'],
  ['lastOffset', 'last_offset', 'bigint'],
  ['events', 'events', 'int'],
  ['domain', 'domain', 'text'],
  ['source', 'source_system', 'text'],
  ['type', 'exception_type', 'text'],
  ['severity', 'severity', 'text'],
  ['status', 'status', 'text'],
  ['stage', 'stage', 'text'],
  ['outcome', 'outcome', 'text'],
  ['reason', 'reason', 'text'],
  ['deadLetterGroup', 'dead_letter_group', 'text'],
  ['lastError', 'last_error', 'text'],
  ['owner', 'owner', 'text'],
  ['amount', 'amount', 'numeric'],
  ['entity', 'entity', 'text'],
  ['summary', 'summary', 'text'],
  ['decision', 'decision', 'text'],
  ['confidence', 'confidence', 'float8'],
  ['slaDeadline', 'sla_deadline', 'timestamptz'],
  ['slaStatus', 'sla_status', 'text'],
  ['playbookId', 'playbook_id', 'text'],
  ['runId', 'run_id', 'text'],
  ['currentStep', 'current_step', 'int'],
  ['totalSteps', 'total_steps', 'int'],
  ['waiting', 'waiting', 'json'],
  ['durationSeconds', 'duration_seconds', 'float8'],
  ['occurredAt', 'occurred_at', 'timestamptz'],
  ['createdAt', 'created_at', 'timestamptz'],
  ['updatedAt', 'updated_at', 'timestamptz'],
] as const satisfies readonly (readonly [keyof ExceptionRecord, string, string])[];

/** A new member of the state without a column would be lost in silence. */
type Missing = Exclude<keyof ExceptionRecord, (typeof columns)[number][0]>;
null as unknown as Missing satisfies never;

export type TableRow = Readonly<Record<(typeof columns)[number][1], unknown>>;

export const columnList = columns.map(([, column]) => column).join(', ');

/** Its own failures are about the table, not about the exception. */
export const projectionGroup = 'projection';

/** The event types that change a row. */
export const projectedEvents = [...exceptionEvents, RetryScheduled, DeadLettered] as const;

export function toRecord(row: TableRow): ExceptionRecord {
  const record: Record<string, unknown> = {};
  for (const [member, column] of columns) record[member] = row[column];
  if (record.amount !== null) record.amount = Number(record.amount);
  if (typeof record.waiting === 'string') record.waiting = JSON.parse(record.waiting);
  return record as unknown as ExceptionRecord;
}

/** The record after these events of one exception; the same one when none of them is new. */
export function foldRecord(
  before: ExceptionRecord | null,
  events: readonly StoredEvent[],
): ExceptionRecord | null {
  const after = before?.lastOffset ?? 0;
  let state: ExceptionState | null = before as ExceptionState | null;
  let count = before?.events ?? 0;
  let { lastOffset, deadLetterGroup, lastError } = before ?? unknown;
  for (const event of events) {
    if (event.offset <= after) continue;
    if (isEvent(DeadLettered, event) || isEvent(RetryScheduled, event)) {
      const { group, reason } = event.payload;
      if (group === projectionGroup) continue;
      lastError = `${group}: ${reason}`;
      if (isEvent(DeadLettered, event)) deadLetterGroup = group;
    } else {
      state = projectException(state, event);
      // The pipeline went on, so what held it up is mended.
      lastError = null;
      deadLetterGroup = null;
    }
    count += 1;
    lastOffset = event.offset;
  }
  if (state === null || lastOffset === before?.lastOffset) return before;
  // The key decides about the order and so about the row, whatever id a payload tells.
  const exceptionId = events[0]?.key ?? state.exceptionId;
  return { ...state, exceptionId, events: count, lastOffset, deadLetterGroup, lastError };
}

const unknown = {
  lastOffset: 0,
  deadLetterGroup: null as string | null,
  lastError: null as string | null,
};

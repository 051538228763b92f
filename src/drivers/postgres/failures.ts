/**
 * Retries and dead letters on Postgres. The verbs take the lock that settlements of failures take.
 */
import { MillraceError } from '../../core/errors.ts';
import type {
  DeadLetter,
  DeadLetterRef,
  DeadLetterVerb,
  FailureStore,
  VerbResult,
} from '../../ports/failures.ts';
import type { Database } from './connection.ts';
import { likePattern } from './like-pattern.ts';
import { type EventRow, toStoredEvent } from './rows.ts';
import { sql } from './statements.ts';

/** A row of the view dead_letter_events. */
interface LetterRow {
  readonly event_id: string;
  readonly event_type: string;
  readonly tenant_id: string;
  readonly exception_id: string | null;
  readonly original_topic: string;
  readonly failure_reason: string | null;
  readonly retry_count: number;
  readonly failed_at: string;
  readonly payload: string;
  readonly metadata: string | null;
  readonly worker_type: string;
  readonly partition: number;
  readonly offset: number;
  readonly status: DeadLetter['status'];
  readonly error_code: string | null;
  readonly fingerprint: string | null;
  readonly detail: string | null;
  readonly edited: boolean;
  readonly waiting: number;
}

const toLetter = (row: LetterRow): DeadLetter => ({
  eventId: row.event_id,
  eventType: row.event_type,
  tenantId: row.tenant_id,
  exceptionId: row.exception_id,
  originalTopic: row.original_topic,
  failureReason: row.failure_reason ?? 'unknown',
  retryCount: row.retry_count,
  failedAt: row.failed_at,
  payload: JSON.parse(row.payload),
  metadata: row.metadata === null ? {} : JSON.parse(row.metadata),
  group: row.worker_type,
  partition: row.partition,
  offset: row.offset,
  status: row.status,
  errorCode: row.error_code,
  fingerprint: row.fingerprint ?? 'unknown',
  detail: row.detail,
  edited: row.edited,
  waiting: row.waiting,
});

export function createFailures(database: Database): FailureStore {
  const { rows, records } = database;
  return {
    async due({ group, partition }, { keys, perKey }) {
      const found = await rows<[number, string | null, ...EventRow]>(sql.due, [
        group,
        partition,
        keys,
        perKey,
      ]);
      return found.map(([attempts, edited, ...event]) => ({
        attempts,
        event: toStoredEvent(edited === null ? event : withPayload(event, edited)),
      }));
    },
    async nextDueMs({ group, partition }) {
      const [row] = await rows<[number | null]>(sql.nextDue, [group, partition]);
      return row?.[0] ?? null;
    },
    async list(filter) {
      const letters = await records<LetterRow>(sql.listDeadLetters, [
        filter.tenantId,
        filter.group ?? null,
        filter.eventType === undefined ? null : likePattern(filter.eventType),
        filter.exceptionId ?? null,
        filter.fingerprint ?? null,
        filter.status ?? null,
        filter.limit ?? 100,
        filter.after?.failedAt ?? null,
        filter.after?.eventId ?? null,
        filter.after?.group ?? '',
      ]);
      return letters.map(toLetter);
    },
    async find({ tenantId, group, eventId }) {
      const [row] = await records<LetterRow>(sql.findDeadLetter, [tenantId, group, eventId]);
      return row ? toLetter(row) : null;
    },
    async fingerprints(tenantId) {
      const found = await rows<[string, string, string, number, string, string]>(
        sql.deadLetterFingerprints,
        [tenantId],
      );
      return found.map(([fingerprint, group, eventType, count, reason, exampleEventId]) => ({
        fingerprint,
        group,
        eventType,
        count,
        reason,
        exampleEventId,
      }));
    },
    async counts(tenantId) {
      const found = await rows<[string, string, number]>(sql.failureCounts, [tenantId]);
      return found.map(([group, status, count]) => ({ group, status, count }));
    },
    apply: (ref, verb) => applyVerb(database, ref, verb),
    async expire({ groups, olderThanMs, limit }) {
      const found = await rows<[string, number, number]>(sql.expireDeadLetters, [
        groups,
        olderThanMs,
        limit,
      ]);
      return {
        removed: found.reduce((sum, [, , removed]) => sum + removed, 0),
        partitions: found.map(([group, partition]) => ({ group, partition })),
      };
    },
  };
}

function withPayload(row: EventRow, payload: string): EventRow {
  const edited: EventRow = [...row];
  edited[10] = payload;
  return edited;
}

async function applyVerb(
  database: Database,
  { tenantId, group, eventId }: DeadLetterRef,
  verb: DeadLetterVerb,
): Promise<VerbResult> {
  return database.transaction(async (client) => {
    const ask = async <Row extends unknown[]>(text: string, values: unknown[]) =>
      (await client.query({ text, values, rowMode: 'array' })).rows as unknown as Row[];
    await ask(sql.lockFailure.text, [tenantId, group, eventId]);
    // Read again: the row may have changed while the lock was awaited.
    const [letter] = await ask<[number, number, string, string]>(sql.lockFailure.text, [
      tenantId,
      group,
      eventId,
    ]);
    if (!letter) throw notFound(group, eventId);
    const [partition, offset, status, key] = letter;
    if (status !== 'dead') throw wrongState(verb.verb, eventId, status);
    const lane = await ask<[number, string]>(sql.laneOffsets.text, [
      group,
      partition,
      tenantId,
      key,
    ]);
    const offsets =
      verb.verb === 'retry' || verb.verb === 'skip' ? [offset] : lane.map(([at]) => at);
    if (verb.verb === 'retry' || verb.verb === 'retry-key') {
      const edited = verb.verb === 'retry' && verb.payload !== undefined;
      const payload = edited ? JSON.stringify(verb.payload) : null;
      await client.query(sql.retryDeadLetter.text, [group, partition, offsets, payload]);
    } else {
      const end = verb.verb === 'skip' ? 'skipped' : 'discarded';
      await client.query(sql.closeDeadLetter.text, [group, partition, offsets, end]);
    }
    await ask(sql.promoteParked.text, [group, partition, [tenantId], [key]]);
    return { changed: offsets.length, partition };
  });
}

function notFound(group: string, eventId: string): MillraceError {
  return new MillraceError('NOT_FOUND', `Group ${group} has no dead letter for event ${eventId}.`);
}

function wrongState(verb: string, eventId: string, status: string): MillraceError {
  return new MillraceError(
    'DEAD_LETTER_STATE',
    `Cannot ${verb} event ${eventId}: it is ${status}, not pending.`,
  );
}

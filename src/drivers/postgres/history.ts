/** The log read as history, each question inside a transaction that sees one tenant only. */
import { MillraceError } from '../../core/errors.ts';
import { isTypePattern } from '../../core/event-pattern.ts';
import { isUuid } from '../../core/ids.ts';
import type { EventFilter, EventPage, HistoryStore } from '../../ports/history.ts';
import type { Database } from './connection.ts';
import { likePattern } from './like-pattern.ts';
import { type EventRow, eventColumnList, toStoredEvent } from './rows.ts';
import { sql } from './statements.ts';
import { asTenant } from './tenant.ts';

const treeMax = 10_000;

export function createHistory(database: Database): HistoryStore {
  const ask = <Row extends unknown[]>(tenantId: string, text: string, values: unknown[]) =>
    asTenant(database, tenantId, async (client) => {
      return (await client.query({ text, values, rowMode: 'array' })).rows as unknown as Row[];
    });
  return {
    async list(filter) {
      const { text, values, limit } = listStatement(filter);
      const rows = await ask<EventRow>(filter.tenantId, text, values);
      return toPage(rows, limit, filter.key !== undefined);
    },
    async find(tenantId, eventId) {
      const [row] = await ask<EventRow>(tenantId, sql.findEvent.text, [tenantId, eventId]);
      return row ? toStoredEvent(row) : null;
    },
    async causalTree(tenantId, eventId) {
      const rows = await ask<[number, ...EventRow]>(tenantId, sql.causalTree.text, [
        tenantId,
        eventId,
        treeMax,
      ]);
      return rows.map(([depth, ...event]) => ({ depth, event: toStoredEvent(event) }));
    },
  };
}

/**
 * One statement per shape of question, so that the planner sees no `or is null` and takes the index
 * that fits: by key in log order, otherwise by tenant in order of event ids (UUIDv7: of time).
 */
function listStatement(filter: EventFilter): { text: string; values: unknown[]; limit: number } {
  const limit = checkLimit(filter.limit);
  const values: unknown[] = [filter.tenantId];
  const conditions = ['e.tenant_id = $1'];
  const add = (condition: (parameter: string) => string, value: unknown) => {
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  const { key, eventTypes, correlationId, from, to, after } = filter;
  const direction = filter.newestFirst ? 'desc' : 'asc';
  const beyond = filter.newestFirst ? '<' : '>';
  if (key !== undefined) add((p) => `e.key = ${p}`, key);
  if (eventTypes?.some(isTypePattern)) {
    add((p) => `e.event_type like any (${p})`, eventTypes.map(likePattern));
  } else if (eventTypes) add((p) => `e.event_type = any (${p})`, eventTypes);
  if (correlationId !== undefined) {
    // The default correlation is not stored: it is the key, or the event's own id.
    add(
      (p) =>
        `(e.correlation_id = ${p} or (e.correlation_id is null and e.key = ${p})
        or (e.correlation_id is null and e.key is null and e.event_id::text = ${p}))`,
      correlationId,
    );
  }
  if (from !== undefined) add((p) => `e.occurred_at >= ${p}`, checkTime(from, 'from'));
  if (to !== undefined) add((p) => `e.occurred_at < ${p}`, checkTime(to, 'to'));
  if (after !== undefined) {
    if (key === undefined) add((p) => `e.event_id ${beyond} ${p}`, checkCursor(after, isUuid));
    else
      add(
        (p) => `e."offset" ${beyond} ${p}`,
        checkCursor(after, (text) => /^\d+$/.test(text)),
      );
  }
  const order = key === undefined ? 'e.event_id' : 'e."offset"';
  return {
    text: `select ${eventColumnList} from millrace.event e where ${conditions.join(' and ')}
      order by ${order} ${direction} limit ${limit + 1}`,
    values,
    limit,
  };
}

function toPage(rows: readonly EventRow[], limit: number, byKey: boolean): EventPage {
  const events = rows.slice(0, limit).map(toStoredEvent);
  const last = events.at(-1);
  if (rows.length <= limit || !last) return { events, next: null };
  return { events, next: byKey ? String(last.offset) : last.eventId };
}

function checkLimit(limit = 100): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1000) return limit;
  throw new MillraceError('REQUEST_INVALID', `limit is ${limit}, not a number from 1 to 1000.`);
}

function checkTime(value: string, name: string): string {
  const time = Date.parse(value);
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw new MillraceError('REQUEST_INVALID', `${name} is '${value}', not an ISO 8601 time.`);
}

function checkCursor(after: string, valid: (text: string) => boolean): string {
  if (valid(after)) return after;
  throw new MillraceError('REQUEST_INVALID', `'${after}' is not the 'next' of an earlier page.`);
}

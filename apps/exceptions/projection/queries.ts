/**
 * Questions to the table of exceptions, each in a transaction that sees one tenant. Pages are by
 * key (`after` of the page before), so that none is missed or doubled while new ones come in.
 */
import { readFile } from 'node:fs/promises';
import { type Millrace, MillraceError, type Store } from 'millrace';
import type { Severity, Status } from '../vocabulary.ts';
import { type ExceptionRecord, type TableRow, toRecord } from './record.ts';

/** An exception as the API and the command line show it. */
export type ExceptionView = Omit<ExceptionRecord, 'lastOffset' | 'outcome'> & {
  readonly tenantId: string;
  readonly outcome: Outcome;
};

/** What an exception came to, or why it has not yet. */
export const outcomes = ['RESOLVED', 'ESCALATED', 'DEAD_LETTER', 'WAITING', 'UNDER_WAY'] as const;
export type Outcome = (typeof outcomes)[number];

export interface ExceptionFilter {
  readonly tenantId: string;
  readonly domain?: string;
  readonly status?: Status;
  readonly severity?: Severity;
  readonly type?: string;
  readonly stage?: string;
  readonly outcome?: Outcome;
  /** ISO 8601; inclusive. */
  readonly createdFrom?: string;
  /** ISO 8601; exclusive. */
  readonly createdTo?: string;
  /** 1 to 100; 50 by default. */
  readonly limit?: number;
  /** `next` of the page before. */
  readonly after?: string;
}

export interface ExceptionPage {
  readonly items: readonly ExceptionView[];
  /** All that fit the filter, of every page. */
  readonly total: number;
  readonly next: string | null;
}

/** How many exceptions there are, by what people ask for. */
export interface ExceptionCounts {
  readonly total: number;
  readonly byStage: Readonly<Record<string, number>>;
  readonly bySeverity: Readonly<Record<string, number>>;
  readonly byOutcome: Readonly<Record<string, number>>;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly byDomain: Readonly<Record<string, number>>;
}

/** A dead letter ends an exception until somebody retries it; waiting for a person does not. */
const outcomeOf = `case when dead_letter_group is not null then 'DEAD_LETTER'
  when outcome is not null then outcome when waiting is not null then 'WAITING'
  else 'UNDER_WAY' end`;

/** Word for word the condition of the index of that name. */
const unresolved = `(outcome is null or outcome <> 'RESOLVED')`;

const pageDefault = 50;
const pageMax = 100;

/** Creates or updates the table. MIGRATION_FAILED says what is in the way. */
export async function migrateProjection(store: Store): Promise<void> {
  const name = '0001_exception.sql';
  const sql = await readFile(new URL(name, import.meta.url), 'utf8');
  await store.migrate('millrace_exceptions', [{ name, sql }]);
}

/** Every tenant that an exception came in for. */
export async function listTenants({ store }: Millrace): Promise<readonly string[]> {
  // No tenant has the empty name, so this transaction sees the names and nothing else.
  return store.withTenant('', async (tx) => {
    const text = 'select millrace_exceptions.tenants() as tenant_id';
    const rows = await tx.query<{ tenant_id: string }>(text);
    return rows.map((row) => row.tenant_id);
  });
}

export async function findException(
  { store }: Millrace,
  tenantId: string,
  exceptionId: string,
): Promise<ExceptionView> {
  const [row] = await store.withTenant(tenantId, (tx) =>
    tx.query<TableRow>(
      'select * from millrace_exceptions.exception where tenant_id = $1 and exception_id = $2',
      [tenantId, exceptionId],
    ),
  );
  if (row !== undefined) return toView(tenantId, row);
  throw new MillraceError('NOT_FOUND', `Tenant ${tenantId} has no exception ${exceptionId}.`, {
    fix: 'Check id and tenant; an exception that was just accepted shows within a second.',
  });
}

export async function listExceptions(
  { store }: Millrace,
  filter: ExceptionFilter,
): Promise<ExceptionPage> {
  const limit = checkLimit(filter.limit);
  const { text, values } = conditionsOf(filter);
  const paged = filter.after === undefined ? null : cursorOf(filter.after);
  const page = [...values, ...(paged ?? [])];
  const beyond = paged
    ? ` and (created_at, exception_id) < ($${page.length - 1}::timestamptz, $${page.length})`
    : '';
  const [rows, [count]] = await store.withTenant(filter.tenantId, async (tx) => [
    await tx.query<TableRow & { cursor: string }>(
      `select *, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as cursor
       from millrace_exceptions.exception where ${text}${beyond}
       order by created_at desc, exception_id desc limit ${limit + 1}`,
      page,
    ),
    await tx.query<{ total: number }>(
      `select count(*)::int as total from millrace_exceptions.exception where ${text}`,
      values,
    ),
  ]);
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map((row) => toView(filter.tenantId, row)),
    total: count?.total ?? 0,
    next: rows.length > limit && last ? `${last.cursor}~${last.exception_id}` : null,
  };
}

/** What waits for an approval, oldest first: the first 100. */
export async function listWaiting(
  { store }: Millrace,
  tenantId: string,
): Promise<readonly ExceptionView[]> {
  const rows = await store.withTenant(tenantId, (tx) =>
    tx.query<TableRow>(
      `select * from millrace_exceptions.exception
       where tenant_id = $1 and ${unresolved}
         and status = 'PENDING_APPROVAL' and waiting->>'kind' = 'approval'
       order by created_at limit ${pageMax}`,
      [tenantId],
    ),
  );
  return rows.map((row) => toView(tenantId, row));
}

/** The exception that waits for this approval. NOT_FOUND when none does, or no longer. */
export async function findWaiting(
  { store }: Millrace,
  tenantId: string,
  approvalId: string,
): Promise<ExceptionView> {
  const [row] = await store.withTenant(tenantId, (tx) =>
    tx.query<TableRow>(
      `select * from millrace_exceptions.exception
       where tenant_id = $1 and ${unresolved}
         and status = 'PENDING_APPROVAL' and waiting->>'id' = $2`,
      [tenantId, approvalId],
    ),
  );
  if (row !== undefined) return toView(tenantId, row);
  throw new MillraceError('NOT_FOUND', `Nothing of tenant ${tenantId} waits for ${approvalId}.`, {
    fix: 'GET /approvals/{tenant} lists what waits; it may have been decided already.',
  });
}

function conditionsOf(filter: ExceptionFilter): { text: string; values: unknown[] } {
  const values: unknown[] = [filter.tenantId];
  const conditions = ['tenant_id = $1'];
  const add = (condition: string, value: unknown) => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(`${condition} $${values.length}`);
  };
  add('domain =', filter.domain);
  add('status =', filter.status);
  if (filter.status !== undefined && filter.status !== 'RESOLVED') conditions.push(unresolved);
  add('severity =', filter.severity);
  add('exception_type =', filter.type);
  add('stage =', filter.stage);
  add(`${outcomeOf} =`, filter.outcome);
  add('created_at >=', checkTime(filter.createdFrom, 'created_from'));
  add('created_at <', checkTime(filter.createdTo, 'created_to'));
  return { text: conditions.join(' and '), values };
}

/** Counts of some tenants, summed. One pass over each tenant's rows. */
export async function countExceptions(
  { store }: Millrace,
  tenants: readonly string[],
): Promise<ExceptionCounts> {
  const sums = { stage: {}, severity: {}, outcome: {}, status: {}, domain: {} } as Record<
    string,
    Record<string, number>
  >;
  let total = 0;
  for (const tenantId of tenants) {
    const rows = await store.withTenant(tenantId, (tx) =>
      tx.query<Record<string, string | null> & { count: number }>(
        `select stage, severity, ${outcomeOf} as outcome, status, domain,
           count(*)::int as count
         from millrace_exceptions.exception where tenant_id = $1 group by 1, 2, 3, 4, 5`,
        [tenantId],
      ),
    );
    for (const row of rows) {
      total += row.count;
      for (const [what, sum] of Object.entries(sums)) {
        const name = row[what] ?? 'unknown';
        sum[name] = (sum[name] ?? 0) + row.count;
      }
    }
  }
  const { stage = {}, severity = {}, outcome = {}, status = {}, domain = {} } = sums;
  return {
    total,
    byStage: stage,
    bySeverity: severity,
    byOutcome: outcome,
    byStatus: status,
    byDomain: domain,
  };
}

function toView(tenantId: string, row: TableRow): ExceptionView {
  const { lastOffset: _, outcome: end, ...record } = toRecord(row);
  // The same rule as outcomeOf, which filters and counts.
  const outcome =
    record.deadLetterGroup !== null
      ? 'DEAD_LETTER'
      : (end ?? (record.waiting === null ? 'UNDER_WAY' : 'WAITING'));
  return { tenantId, ...record, outcome };
}

function checkLimit(limit = pageDefault): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= pageMax) return limit;
  throw new MillraceError(
    'REQUEST_INVALID',
    `limit is ${limit}, not a number from 1 to ${pageMax}.`,
  );
}

function checkTime(value: string | undefined, name: string): string | undefined {
  if (value === undefined || !Number.isNaN(Date.parse(value))) return value;
  throw new MillraceError('REQUEST_INVALID', `${name} is '${value}', not an ISO 8601 time.`);
}

function cursorOf(after: string): [string, string] {
  const cut = after.indexOf('~');
  const time = after.slice(0, cut);
  if (cut > 0 && /^[\d-]{10}T[\d:.]{8,15}Z$/.test(time)) return [time, after.slice(cut + 1)];
  throw new MillraceError('REQUEST_INVALID', `'${after}' is not the 'next' of an earlier page.`);
}

/** Investigations on Postgres: rows that people open and close, and nothing that runs. */
import { isUuid, newEventId } from '../../../core/ids.ts';
import type {
  DeadLetterReason,
  InvestigationState,
  WorkflowQueries,
} from '../../../ports/workflow-queries.ts';
import type { Database, Statement } from '../connection.ts';
import { sql } from '../statements.ts';
import { checkCursor, checkLimit, greatestId } from './page-rules.ts';
import { type InvestigationRow, toInvestigation } from './summaries.ts';

type InvestigationQueries = Pick<
  WorkflowQueries,
  | 'investigate'
  | 'investigations'
  | 'findInvestigation'
  | 'investigationCounts'
  | 'resolveInvestigation'
>;
type CountRow = [
  reason: DeadLetterReason,
  status: InvestigationState,
  count: number,
  oldestAt: number,
  resolvedMs: number,
];

export function createInvestigations({ rows }: Database): InvestigationQueries {
  const one = async (statement: Statement, values: readonly unknown[]) => {
    const [found] = await rows<InvestigationRow>(statement, values);
    return found ? toInvestigation(found) : null;
  };
  return {
    async investigate({ runId, reason, snapshotJson }) {
      if (!isUuid(runId)) return null;
      return one(sql.investigationOpen, [newEventId(), runId, reason, snapshotJson]);
    },
    async investigations(filter, { limit, after }) {
      const { tenantId = null, runId = null, status = null, reason = null } = filter;
      checkLimit(limit);
      if (runId !== null && !isUuid(runId)) return { entries: [], next: null };
      const below = after === null ? greatestId : checkCursor(after);
      const values = [tenantId, runId, status, reason, below, limit + 1];
      const found = await rows<InvestigationRow>(sql.investigationList, values);
      const entries = found.slice(0, limit).map(toInvestigation);
      return { entries, next: found.length > limit ? (entries.at(-1)?.entryId ?? null) : null };
    },
    async findInvestigation(entryId) {
      return isUuid(entryId) ? one(sql.investigationFind, [entryId]) : null;
    },
    async investigationCounts(tenantId) {
      const found = await rows<CountRow>(sql.investigationCounts, [tenantId ?? null]);
      return found.map(([reason, status, count, oldestAt, resolvedMs]) => ({
        reason,
        status,
        count,
        oldestAt: Math.round(oldestAt),
        resolvedMs: Math.max(0, resolvedMs),
      }));
    },
    async resolveInvestigation(entryId, { status, by, notes }) {
      return isUuid(entryId) ? one(sql.investigationClose, [entryId, status, by, notes]) : null;
    },
  };
}

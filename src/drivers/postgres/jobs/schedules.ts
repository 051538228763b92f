/**
 * Schedules on Postgres. Each call is one statement, so a firing is one transaction: the revision,
 * the fire ids and the jobs commit together or not at all.
 */
import type { NewJob } from '../../../core/job.ts';
import type { ScheduleRecord, ScheduleStore } from '../../../ports/schedules.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

interface ScheduleRow {
  readonly name: string;
  readonly tenant_id: string;
  readonly rule: string;
  readonly job: string;
  readonly paused: boolean;
  readonly next_at: string | null;
  readonly last_at: string | null;
  readonly revision: number;
}

const toRecord = (row: ScheduleRow): ScheduleRecord => ({
  name: row.name,
  tenantId: row.tenant_id,
  ruleJson: row.rule,
  job: JSON.parse(row.job) as NewJob,
  paused: row.paused,
  nextAt: row.next_at,
  lastAt: row.last_at,
  revision: row.revision,
});

export function createScheduleStore(database: Database): ScheduleStore {
  const { rows, records } = database;
  return {
    async save({ tenantId, name, ruleJson, job, paused, nextAt, lastAt }) {
      const values = [tenantId, name, ruleJson, JSON.stringify(job), paused, nextAt, lastAt];
      const [row] = await records<ScheduleRow>(sql.saveSchedule, values);
      return toRecord(row as ScheduleRow);
    },
    async remove(tenantId, name) {
      return (await rows(sql.removeSchedule, [tenantId, name])).length === 1;
    },
    async find(tenantId, name) {
      const [row] = await records<ScheduleRow>(sql.findSchedule, [tenantId, name]);
      return row ? toRecord(row) : null;
    },
    async list(tenantId) {
      return (await records<ScheduleRow>(sql.listSchedules, [tenantId])).map(toRecord);
    },
    async due(now, limit) {
      return (await records<ScheduleRow>(sql.dueSchedules, [now, limit])).map(toRecord);
    },
    async nextAt() {
      const [row] = await rows<[string]>(sql.nextSchedule);
      return row?.[0] ?? null;
    },
    async fire({ tenantId, name, revision, ticks, nextAt, lastAt }) {
      const [row] = await rows<[boolean]>(sql.fireSchedule, [
        tenantId,
        name,
        revision,
        ticks.map(({ at }) => at),
        JSON.stringify(ticks.map(({ job }) => job)),
        nextAt,
        lastAt,
      ]);
      return row?.[0] === true;
    },
  };
}

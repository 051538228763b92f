/**
 * Schedules as stored: what is enqueued, and when next. The rules of time (cron, zones, misfires)
 * are the runtime's (`jobs/schedules.ts`); the store only guarantees that a tick fires once.
 */
import type { NewJob } from '../core/job.ts';

export interface ScheduleRecord {
  readonly name: string;
  readonly tenantId: string;
  /** Cron, interval or one time, with zone and policies; JSON of the runtime's own shape. */
  readonly ruleJson: string;
  readonly job: NewJob;
  readonly paused: boolean;
  /** ISO 8601; null when it will not fire any more. */
  readonly nextAt: string | null;
  readonly lastAt: string | null;
  /** Counts up with every change; `fire` is refused when it is not the newest. */
  readonly revision: number;
}

export interface ScheduleStore {
  /** Inserts or replaces by (tenant, name). Answers with what is stored. */
  save(schedule: Omit<ScheduleRecord, 'revision'>): Promise<ScheduleRecord>;
  remove(tenantId: string, name: string): Promise<boolean>;
  find(tenantId: string, name: string): Promise<ScheduleRecord | null>;
  list(tenantId: string | null): Promise<readonly ScheduleRecord[]>;
  /** Not paused, nextAt at or before `now`, the oldest first. */
  due(now: string, limit: number): Promise<readonly ScheduleRecord[]>;
  /** The earliest nextAt of all that are not paused. */
  nextAt(): Promise<string | null>;
  /**
   * Enqueues the jobs of the ticks and moves nextAt on, if `revision` is still the newest: of two
   * schedulers one answers true. Each tick has a fire id (tenant, name, time) that is enqueued at
   * most once ever, whatever happens between.
   */
  fire(request: FireRequest): Promise<boolean>;
}

export interface FireRequest {
  readonly tenantId: string;
  readonly name: string;
  readonly revision: number;
  /** The ticks to enqueue, each with the job as it shall be (its payload may carry the tick). */
  readonly ticks: readonly { readonly at: string; readonly job: NewJob }[];
  readonly nextAt: string | null;
  readonly lastAt: string | null;
}

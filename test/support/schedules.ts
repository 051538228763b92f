/**
 * Schedules for tests: doors to one fresh database, the ticks that were enqueued, and stores that
 * fail. Called inside a suite, whose hooks open and close the database.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext } from 'node:test';
import pg from 'pg';
import { MillraceError } from '../../src/core/errors.ts';
import type { NewJob } from '../../src/core/job.ts';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import type {
  FiredSchedule,
  ScheduleName,
  SchedulerOptions,
} from '../../src/jobs/schedule/scheduler.ts';
import { createSchedules, type Schedules } from '../../src/jobs/schedule/schedules.ts';
import type { JobStore } from '../../src/ports/jobs.ts';
import type { ScheduleStore } from '../../src/ports/schedules.ts';
import { freshDatabase, type TestDatabase } from './database.ts';

export interface OpenedSchedules {
  readonly schedules: Schedules;
  readonly errors: { readonly error: unknown; readonly schedule: ScheduleName | undefined }[];
  readonly fired: FiredSchedule[];
  readonly clockSet: number[];
}

export interface ScheduleWorkshop {
  readonly store: JobStore;
  /** A door of its own; stopped after the test, and every schedule removed. */
  open(t: TestContext, options?: Partial<SchedulerOptions>): OpenedSchedules;
  /** Ticks for which the queue got jobs, in order of enqueue; twice when there are two. */
  ticksOf(queue: string): Promise<string[]>;
  /** The real store with some of its methods replaced. */
  faulty(changes: Partial<ScheduleStore>): ScheduleStore;
  /** Names that no other test of this suite has. */
  names(): { readonly name: string; readonly queue: string };
}

export const jobOf = (queue: string, changes: Partial<NewJob> = {}): NewJob => ({
  queue,
  tenantId: 'acme',
  key: '',
  priority: 0,
  name: 'tick',
  version: 1,
  payloadJson: '{}',
  optionsJson: null,
  delayMs: 0,
  unique: null,
  dependsOn: [],
  onParentFailure: 'wait',
  ...changes,
});

export const unavailable = () => new MillraceError('STORE_UNAVAILABLE', 'A fault was injected.');

/** Each tick once, none missing between the first and the last. */
export function assertDense(ticks: readonly string[], everyMs: number): void {
  const times = ticks.map((tick) => Date.parse(tick)).sort((a, b) => a - b);
  const first = times[0] as number;
  const all = times.map((_, i) => first + i * everyMs);
  assert.deepEqual(times, all);
}

/** `10:30` of `2026-05-01T10:30:00.000Z`. */
export const timesOf = (ticks: readonly string[]) => ticks.map((tick) => tick.slice(11, 16));

export function scheduleWorkshop(): ScheduleWorkshop {
  let database: TestDatabase;
  let store: JobStore;
  let client: pg.Client;
  let number = 0;
  before(async () => {
    database = await freshDatabase();
    store = await openPostgresJobStore({ url: database.url });
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await store.close();
    await database.drop();
  });
  return {
    get store() {
      return store;
    },
    open(t, options = {}) {
      const opened = { errors: [], fired: [], clockSet: [] } as Omit<OpenedSchedules, 'schedules'>;
      const schedules = createSchedules({
        schedules: store.schedules,
        onError: (error, schedule) => opened.errors.push({ error, schedule }),
        onFired: (one) => opened.fired.push(one),
        onClockSet: (byMs) => opened.clockSet.push(byMs),
        ...options,
      });
      t.after(async () => {
        await schedules.stop();
        await client.query('delete from millrace.job_schedule');
      });
      return { schedules, ...opened };
    },
    async ticksOf(queue) {
      const { rows } = await client.query<{ tick: string }>(
        `select j.options -> 'metadata' ->> 'tick' as tick from millrace.job j
         join millrace.job_lane l on l.lane_id = j.lane_id
         join millrace.job_queue q on q.queue_id = l.queue_id
         where q.queue_name = $1 order by j."offset"`,
        [queue],
      );
      return rows.map(({ tick }) => tick);
    },
    faulty: (changes) => ({ ...store.schedules, ...changes }),
    names() {
      number += 1;
      return { name: `schedule-${number}`, queue: `queue-${number}` };
    },
  };
}

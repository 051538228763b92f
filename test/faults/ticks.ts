/**
 * Schedules of the fault runs, and what became of their ticks: each shall have one job, whatever
 * happened to the schedulers and their connections.
 */
import type { NewJob } from '../../src/core/job.ts';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { createSchedules } from '../../src/jobs/schedule/schedules.ts';
import type { FaultServer } from './server.ts';

const everyMs = 50;

const job = (queue: string): NewJob => ({
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
});

/** Every 50 ms each, and no tick may be left out. */
export async function saveSchedules(url: string, count: number): Promise<void> {
  const store = await openPostgresJobStore({ url });
  const schedules = createSchedules({ schedules: store.schedules, onError: () => {} });
  const rule = { everyMs, misfire: 'backfill', misfireMax: 1_000 } as const;
  for (let i = 0; i < count; i += 1) {
    await schedules.save(`every-${i}`, 'acme', rule, job(`queue-${i}`));
  }
  await store.close();
}

export interface TickRow {
  readonly queue: string;
  readonly tick: string;
  /** Milliseconds from the tick to its enqueue. */
  readonly late: number;
}

/** The tick of every job. */
export function readTicks(server: FaultServer): Promise<TickRow[]> {
  return server.rows<TickRow>(
    `select q.queue_name as queue, j.options -> 'metadata' ->> 'tick' as tick,
       (extract(epoch from j.enqueued_at - (j.options -> 'metadata' ->> 'tick')::timestamptz)
         * 1000)::float8 as late
     from millrace.job j join millrace.job_lane l on l.lane_id = j.lane_id
     join millrace.job_queue q on q.queue_id = l.queue_id`,
  );
}

/** Ticks of each schedule that have no job, between its first and its last, and ones with two. */
export function judgeTicks(rows: readonly TickRow[]): { lost: number; duplicated: number } {
  const byQueue = new Map<string, number[]>();
  for (const { queue, tick } of rows) {
    byQueue.set(queue, [...(byQueue.get(queue) ?? []), Date.parse(tick)]);
  }
  let [lost, duplicated] = [0, 0];
  for (const ticks of byQueue.values()) {
    const distinct = new Set(ticks).size;
    const wanted = (Math.max(...ticks) - Math.min(...ticks)) / everyMs + 1;
    lost += wanted - distinct;
    duplicated += ticks.length - distinct;
  }
  return { lost, duplicated };
}

export function lateness(rows: readonly TickRow[]): string {
  const late = rows.map((row) => row.late).sort((a, b) => a - b);
  return `a tick is late by ${late[late.length >> 1]?.toFixed(0)} ms, median`;
}

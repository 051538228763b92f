/** Epochs on Postgres: registration, farewell, and taking over from the silent. */
import type { JobStore, Recovery } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

type RecoveredRow = [
  epoch: number,
  lane: number | null,
  offset: number,
  queue: string,
  crashes: number,
  quarantined: boolean,
];

export function createWorkers(
  database: Database,
): Pick<JobStore, 'register' | 'retire' | 'recover'> {
  return {
    async register({ workerId, queues, host, pid, timeToLiveMs }) {
      const values = [workerId, queues, host, pid, timeToLiveMs];
      const [row] = await database.rows<[number]>(sql.registerWorker, values);
      return (row as [number])[0];
    },
    async retire(epoch) {
      await database.rows(sql.retireWorker, [epoch]);
    },
    async recover({ crashesMax }): Promise<Recovery> {
      const rows = await database.rows<RecoveredRow>(sql.recoverJobs, [crashesMax]);
      const found = rows.filter(([, lane]) => lane !== null);
      const jobs = found.map(([, lane, offset, queue, crashes]) => ({
        lane: lane as number,
        offset,
        queue,
        crashes,
      }));
      const quarantined = jobs.filter((_, i) => (found[i] as RecoveredRow)[5]);
      return { workers: rows.length - found.length, jobs, quarantined };
    },
  };
}

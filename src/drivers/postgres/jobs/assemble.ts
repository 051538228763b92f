/** The job port on Postgres 15 to 18, over the connections and beside the log of an open store. */
import type { JobStore } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { createNotices } from '../notices.ts';
import { sql } from '../statements.ts';
import { createChanges } from './changes.ts';
import { configureQueues } from './configuration.ts';
import { createEnqueue } from './enqueue.ts';
import { createExchange } from './exchange.ts';
import { Lanes } from './lanes.ts';
import { createQueries } from './queries.ts';
import { createScheduleStore } from './schedules.ts';
import { createBegin } from './transactions.ts';
import { createWorkers } from './workers.ts';

/** `close` ends what was opened with the store; a shared database is closed by its owner. */
export function createJobStore(
  database: Database,
  { url, close }: { readonly url: string; close(): Promise<void> },
): JobStore {
  const lanes = new Lanes(database);
  const module = new URL(`./beater${import.meta.url.slice(-3)}`, import.meta.url).href;
  return {
    capabilities: { durability: 'commit', sqlTransactions: true, history: true },
    queries: createQueries(database),
    schedules: createScheduleStore(database),
    notices: createNotices(database, 'millrace_jobs'),
    beater: { module, options: { url } },
    configure: (queues) => configureQueues(database, queues),
    ...createWorkers(database),
    ...createChanges(database),
    exchange: createExchange(database, lanes),
    async readyLanes(queue) {
      const rows = await database.rows<[number]>(sql.readyLanes, [queue]);
      return rows.map(([lane]) => lane);
    },
    enqueue: createEnqueue(database),
    begin: createBegin(database, lanes),
    async progress(jobs) {
      if (jobs.length === 0) return;
      await database.rows(sql.jobProgress, [
        jobs.map(({ lane }) => lane),
        jobs.map(({ offset }) => offset),
        jobs.map(({ progressJson }) => progressJson),
      ]);
    },
    ping: async () => void (await database.rows({ text: 'select 1' })),
    close,
  };
}

/**
 * graphile-worker 0.18 as it sets itself up for the figures on its page on performance
 * (website/docs/performance.md, perfTest): 24 jobs at once, a pool of 25, local queue of 500 with a
 * refetch delay of 10 ms, completions and failures batched with a delay of 0. The refetch delay
 * buys throughput with latency, so it is left out where latency is the aim. Jobs are added by its
 * SQL function, one JSON parameter a call, as its own test does: `addJobs` reads every row back.
 */
import { Logger, makeWorkerUtils, type Runner, run } from 'graphile-worker';
import pg from 'pg';
import type { Handle, Payload, Product, Session, SessionOptions } from '../jobs/product.ts';

const jobsAtOnce = 24;
const task = 'bench';

const addJobs =
  'select 1 from graphile_worker.add_jobs(array(' +
  'select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))';

export const graphile: Product = {
  name: 'graphile-worker',
  store: 'postgres',
  settings: '24 jobs at once, localQueue 500, completions batched with delay 0',
  recoveryByDefault: '4 hours',
  open: async (options) => new GraphileSession(options),
};

class GraphileSession implements Session {
  readonly #worker;
  readonly #pool: pg.Pool;
  #runner: Runner | null = null;

  constructor({ url, aim }: SessionOptions) {
    this.#pool = new pg.Pool({ connectionString: url, max: 10 });
    this.#worker = {
      connectionString: url,
      concurrentJobs: jobsAtOnce,
      maxPoolSize: jobsAtOnce + 1,
      localQueue: { size: 500, ...(aim === 'throughput' && { refetchDelay: { durationMs: 10 } }) },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: new Logger(() => (level, message) => {
        if (level === 'error') console.error(`graphile-worker: ${message}`);
      }),
    };
  }

  async prepare(): Promise<void> {
    const utils = await makeWorkerUtils({ preset: { worker: this.#worker } });
    await utils.migrate();
    await utils.release();
  }

  enqueueMany(payloads: readonly Payload[]): Promise<unknown> {
    const specs = payloads.map((payload) => ({ identifier: task, payload }));
    return this.#pool.query({ name: 'add', text: addJobs, values: [JSON.stringify(specs)] });
  }

  enqueue(payload: Payload): Promise<unknown> {
    const text = 'select 1 from graphile_worker.add_job($1, $2::json)';
    return this.#pool.query({ name: 'add-one', text, values: [task, JSON.stringify(payload)] });
  }

  async work(handle: Handle): Promise<void> {
    const taskList = { [task]: async (payload: unknown) => handle(payload as Payload) };
    this.#runner = await run({ preset: { worker: this.#worker }, taskList, noHandleSignals: true });
  }

  async rest(): Promise<void> {
    await this.#runner?.stop();
    this.#runner = null;
  }

  async unfinished(): Promise<number> {
    const text = 'select count(*)::int as n from graphile_worker._private_jobs';
    return (await this.#pool.query(text)).rows[0].n;
  }

  async close(): Promise<void> {
    await this.rest();
    await this.#pool.end();
  }
}

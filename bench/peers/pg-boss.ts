/**
 * pg-boss 12 for throughput: four loops of `fetch` 500 and `complete`, which its page on jobs shows
 * for workers of one's own, and bulk `insert`. For latency `work` on a queue with LISTEN/NOTIFY,
 * its fastest way to hear of a job (docs/api/workers.md); `fetch` in a loop would only poll. The
 * aim of the session decides. Jobs are completed by their ids alone: fencing by attempt costs it 7
 * %.
 */
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import type { Handle, Payload, Product, Session, SessionOptions } from '../jobs/product.ts';

const queue = 'bench';
const batchSize = 500;
const loops = 4;
/** Between two fetches that found nothing. */
const idleMs = 2;

export const pgBoss: Product = {
  name: 'pg-boss',
  store: 'postgres',
  settings: 'four loops of fetch 500 + complete; for latency work() with notify',
  recoveryByDefault: '15 minutes',
  open: async (options) => new PgBossSession(options),
};

class PgBossSession implements Session {
  readonly #boss: PgBoss;
  readonly #pool: pg.Pool;
  readonly #notify: boolean;
  #loops: Promise<void>[] = [];
  #resting = true;

  constructor({ url, aim }: SessionOptions) {
    this.#notify = aim === 'latency';
    this.#boss = new PgBoss({
      connectionString: url,
      max: 10,
      schedule: false,
      useListenNotify: this.#notify,
    });
    this.#boss.on('error', (error) => console.error(`pg-boss: ${error.message}`));
    this.#pool = new pg.Pool({ connectionString: url, max: 1 });
  }

  async prepare(): Promise<void> {
    await this.#start();
    await this.#boss.createQueue(queue, { notify: this.#notify });
  }

  async enqueueMany(payloads: readonly Payload[]): Promise<unknown> {
    await this.#start();
    return this.#boss.insert(
      queue,
      payloads.map((data) => ({ data })),
    );
  }

  async enqueue(payload: Payload): Promise<unknown> {
    await this.#start();
    return this.#boss.send(queue, payload);
  }

  async work(handle: Handle): Promise<void> {
    await this.#start();
    this.#resting = false;
    if (this.#notify) {
      await this.#boss.work<Payload>(
        queue,
        { batchSize, localConcurrency: loops },
        async (jobs) => {
          for (const { data } of jobs) await handle(data);
        },
      );
      return;
    }
    for (let loop = 0; loop < loops; loop += 1) this.#loops.push(this.#drain(handle));
  }

  async rest(): Promise<void> {
    this.#resting = true;
    if (this.#notify) await this.#boss.offWork(queue);
    await Promise.all(this.#loops);
    this.#loops = [];
  }

  async unfinished(): Promise<number> {
    const text = `select count(*)::int as n from pgboss.job
      where name = $1 and state not in ('completed', 'cancelled')`;
    return (await this.#pool.query(text, [queue])).rows[0].n;
  }

  async close(): Promise<void> {
    await this.rest();
    await this.#boss.stop({ graceful: true, timeout: 5_000 });
    await this.#pool.end();
  }

  #started: Promise<unknown> | null = null;

  #start(): Promise<unknown> {
    this.#started ??= this.#boss.start();
    return this.#started;
  }

  async #drain(handle: Handle): Promise<void> {
    while (!this.#resting) {
      const jobs = await this.#boss.fetch<Payload>(queue, { batchSize });
      for (const { data } of jobs) await handle(data);
      if (jobs.length === 0) await new Promise((resolve) => setTimeout(resolve, idleMs));
      else
        await this.#boss.complete(
          queue,
          jobs.map(({ id }) => id),
        );
    }
  }
}

/**
 * BullMQ 6 on Redis and, by the backend that it ships, on Postgres
 * (docs/gitbook/guide/postgresql.md). Settings of its guides: concurrency 100 for jobs that do not
 * compute (workers/concurrency.md), completed jobs removed at once, a pool as large as there is use
 * for, one worker a process.
 */
import { createPostgresBackend, type Job, Queue, runMigrations, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { Handle, Payload, Product, Session, SessionOptions } from '../jobs/product.ts';

const queueName = 'bench';
const jobsAtOnce = 100;
const removeOnComplete = true;

export const bullmqRedis: Product = {
  name: 'bullmq-redis',
  store: 'redis',
  settings: 'concurrency 100, removeOnComplete, ioredis',
  recoveryByDefault: '30 to 60 s, once',
  open: async (options) => openOnRedis(options),
};

export const bullmqPostgres: Product = {
  name: 'bullmq-postgres',
  store: 'postgres',
  settings: 'concurrency 100, removeOnComplete, pool of 20',
  recoveryByDefault: '30 to 60 s, once',
  open: async (options) => openOnPostgres(options),
};

function openOnRedis({ url }: SessionOptions): Session {
  const connection = new Redis(url, { maxRetriesPerRequest: null });
  return sessionOf(
    () => new Queue<Payload>(queueName, { connection, defaultJobOptions: { removeOnComplete } }),
    (processor) => new Worker(queueName, processor, { connection, concurrency: jobsAtOnce }),
    { end: () => connection.quit() },
  );
}

function openOnPostgres({ url }: SessionOptions): Session {
  const search = '-c search_path=bullmq';
  const pool = new pg.Pool({ connectionString: url, max: 20, keepAlive: true, options: search });
  const options = { connection: pool };
  return sessionOf(
    () => {
      const settings = { ...options, defaultJobOptions: { removeOnComplete } };
      return new Queue(queueName, settings, createPostgresBackend);
    },
    (processor) => {
      const settings = { ...options, concurrency: jobsAtOnce };
      return new Worker(queueName, processor, settings, createPostgresBackend);
    },
    {
      async prepare() {
        const client = await pool.connect();
        await runMigrations(client);
        client.release();
      },
      end: () => pool.end(),
    },
  );
}

/** What is the same on both stores. */
interface AnyQueue {
  add(name: string, data: Payload): Promise<unknown>;
  addBulk(jobs: { name: string; data: Payload }[]): Promise<unknown>;
  getJobCounts(): Promise<Record<string, number>>;
  close(): Promise<void>;
}

interface AnyWorker {
  on(event: 'error', listener: (error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

function sessionOf(
  makeQueue: () => AnyQueue,
  makeWorker: (processor: (job: Job) => Promise<void>) => AnyWorker,
  connection: { prepare?(): Promise<void>; end(): Promise<unknown> },
): Session {
  let made: AnyQueue | null = null;
  const queue = () => {
    made ??= makeQueue(); // not before its schema is there
    return made;
  };
  let worker: AnyWorker | null = null;
  const rest = async () => {
    await worker?.close();
    worker = null;
  };
  return {
    prepare: async () => connection.prepare?.(),
    enqueue: (payload) => queue().add('bench', payload),
    enqueueMany: (payloads) => queue().addBulk(payloads.map((data) => ({ name: 'bench', data }))),
    async work(handle: Handle) {
      worker = makeWorker(async ({ data }) => handle(data));
      worker.on('error', (error) => console.error(`bullmq: ${error.message}`));
      await worker.waitUntilReady();
    },
    rest,
    async unfinished() {
      const { completed: _, ...counts } = await queue().getJobCounts();
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await rest();
      await made?.close();
      await connection.end();
    },
  };
}

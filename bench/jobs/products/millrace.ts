/**
 * Millrace on Postgres and on Redis, as its README shows it: a definition with a schema (so every
 * payload is checked when it is enqueued), handlers one by one, 100 at once, everything else as it
 * comes. Completed jobs are kept, as by default.
 */
import { connectJobs, defineJob, type Jobs } from 'millrace';
import { z } from 'zod';
import type { Handle, Payload, Product, Session, SessionOptions } from '../product.ts';

const queue = 'bench';
const concurrency = 100;
const schema = z.object({ n: z.int(), sentAtMs: z.number(), note: z.string() });
/** None of them is ever reached. */
const limits = { concurrency: 10_000, rate: { max: 10_000_000, perMs: 1_000 } };

const settings = `concurrency ${concurrency}, payloads checked by a schema`;
const recoveryByDefault = null;

export const millracePostgres: Product = {
  name: 'millrace',
  store: 'postgres',
  settings,
  recoveryByDefault,
  open: async (options) => new MillraceSession(options),
};

export const millraceRedis: Product = {
  name: 'millrace-redis',
  store: 'redis',
  settings,
  recoveryByDefault,
  open: async (options) => new MillraceSession(options),
};

class MillraceSession implements Session {
  readonly #options: SessionOptions;
  readonly #definition;
  #handle: Handle = () => undefined;
  #jobs: Promise<Jobs> | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#definition = defineJob('bench', {
      queue,
      schema,
      key: ({ n }) => (options.keys === undefined ? '' : `key-${n % 10}`),
      handler: async (payload) => {
        await this.#handle(payload);
      },
    });
  }

  async prepare(): Promise<void> {
    const jobs = await this.#connected();
    if (this.#options.keys !== 'limited') return;
    await jobs.configureQueue({ queue, limits, keyLimits: limits });
  }

  async enqueueMany(payloads: readonly Payload[]): Promise<unknown> {
    return (await this.#connected()).enqueueMany(this.#definition, payloads);
  }

  async enqueue(payload: Payload): Promise<unknown> {
    return (await this.#connected()).enqueue(this.#definition, payload);
  }

  async work(handle: Handle): Promise<void> {
    this.#handle = handle;
    const jobs = await this.#connected();
    jobs.work(this.#definition, { concurrency });
    await jobs.start();
  }

  async rest(): Promise<void> {
    const jobs = this.#jobs;
    this.#jobs = null;
    await (await jobs)?.stop({ graceMs: 1_000 });
  }

  async unfinished(): Promise<number> {
    const counts = (await (await this.#connected()).counts([queue])).get(queue);
    const { completed: _, ...others } = counts ?? {};
    return Object.values(others).reduce((sum: number, count) => sum + Number(count ?? 0), 0);
  }

  close(): Promise<void> {
    return this.rest();
  }

  #connected(): Promise<Jobs> {
    this.#jobs ??= connectJobs(this.#options.url, {
      onError: (error, where) => console.error(`millrace, ${where}: ${error}`),
    });
    return this.#jobs;
  }
}

/**
 * The two servers that all products share: the embedded Postgres of server.ts and a Redis. A
 * product finds its server empty, and every measure of it starts after a vacuum and a checkpoint.
 */
import pg from 'pg';
import { type BenchServer, startBenchServer } from '../server.ts';
import type { Product } from './product.ts';
import { type RedisServer, startRedis } from './redis.ts';

export class Stores implements AsyncDisposable {
  readonly postgres: BenchServer;
  readonly redis: RedisServer | null;

  static async start(): Promise<Stores> {
    return new Stores(await startBenchServer(), await startRedis());
  }

  private constructor(postgres: BenchServer, redis: RedisServer | null) {
    this.postgres = postgres;
    this.redis = redis;
  }

  urlOf({ store }: Product): string {
    return store === 'postgres' ? this.postgres.url : this.#redis().url;
  }

  /** Drops everything that any product made. */
  async clear({ store }: Product): Promise<void> {
    if (store === 'redis') return this.#redis().clear();
    const { client } = this.postgres;
    const { rows } = await client.query(
      `select quote_ident(nspname) as name from pg_namespace
       where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')`,
    );
    for (const { name } of rows) await client.query(`drop schema ${name} cascade`);
    await client.query('checkpoint');
  }

  /** What earlier measures left to clean up shall not burden the next one. */
  async settle({ store }: Product): Promise<void> {
    if (store === 'redis') return;
    await this.postgres.client.query('vacuum analyze');
    await this.postgres.client.query('checkpoint');
  }

  /** Bytes of WAL or of the append-only file until now. */
  async written({ store }: Product): Promise<number> {
    if (store === 'redis') return this.#redis().written();
    return (await this.postgres.read()).walBytes;
  }

  /** While `work` runs, a transaction in another session keeps a snapshot. */
  async withPinnedHorizon<Result>(work: () => Promise<Result>): Promise<Result> {
    const pin = new pg.Client({ connectionString: this.postgres.url });
    await pin.connect();
    try {
      await pin.query('begin isolation level repeatable read');
      await pin.query('select pg_current_xact_id(), count(*) from pg_class');
      return await work();
    } finally {
      await pin.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.redis?.[Symbol.asyncDispose]();
    await this.postgres[Symbol.asyncDispose]();
  }

  #redis(): RedisServer {
    if (this.redis === null) throw new Error('there is no redis-server on this machine');
    return this.redis;
  }
}

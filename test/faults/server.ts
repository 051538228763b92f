/**
 * A Postgres of a test's own, on a loopback port that stays the same through crashes, so that it
 * can be killed and come back under running workers. Everything goes when the test ends.
 */
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import pg from 'pg';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/drivers/postgres/embedded/launcher.ts';
import { freePort } from '../support/ports.ts';

export class FaultServer {
  readonly port: number;
  readonly #directory: string;
  #postgres: EmbeddedPostgres | null = null;
  #password = '';
  #logFile = '';
  #admin: pg.Pool | null = null;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.port = port;
  }

  /** A directory and a port; `start` makes the server. */
  static async create(): Promise<FaultServer> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-faults-'));
    return new FaultServer(directory, await freePort());
  }

  static async started(): Promise<FaultServer> {
    const server = await FaultServer.create();
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    this.#postgres = await startEmbeddedPostgres({ directory: this.#directory, port: this.port });
    this.#password = new URL(this.#postgres.tcpUrl as string).password;
    this.#logFile = this.#postgres.logFile;
  }

  /** SIGKILL: no checkpoint, no farewell; what was acknowledged must be there afterwards. */
  async kill(): Promise<void> {
    await this.#postgres?.kill();
    this.#postgres = null;
  }

  /** The URL of the worker processes; another port when there is a proxy in between. */
  url(port = this.port): string {
    return `postgresql://postgres:${this.#password}@127.0.0.1:${port}/postgres`;
  }

  /** Rows as the superuser, past any proxy. Rejects while the server is away. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    if (this.#admin === null) {
      this.#admin = new pg.Pool({ connectionString: this.url(), max: 3, application_name: 'test' });
      this.#admin.on('error', () => {});
    }
    return (await this.#admin.query<Row>(text, [...values])).rows;
  }

  /** How many lines of the server's log match. */
  async logged(pattern: RegExp): Promise<number> {
    const text = await fs.readFile(this.#logFile, 'utf8');
    return text.split('\n').filter((line) => pattern.test(line)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin?.end();
    await this.#postgres?.stop('immediate');
    await fs.rm(this.#directory, { recursive: true, force: true });
  }
}

/**
 * A Redis of a test's own, on a loopback port that stays the same through crashes. Every write is
 * on disk before it is answered. It ends with the test, by its handle.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import { freePort, isListening } from '../../../test/support/ports.ts';

/** Why a test cannot have a server of its own; false when it can. */
export const noServer: string | false =
  spawnSync('redis-server', ['--version']).status === 0 ? false : 'redis-server is not installed';

export class TestServer {
  readonly url: string;
  readonly #port: number;
  readonly #directory: string;
  readonly #options: readonly string[];
  #process: ChildProcess | null = null;

  private constructor(port: number, directory: string, options: readonly string[]) {
    this.#port = port;
    this.#directory = directory;
    this.#options = options;
    this.url = `redis://127.0.0.1:${port}`;
  }

  /** @param options of the server, over ours: the last one counts. */
  static async started(
    t: Pick<TestContext, 'after'>,
    options: readonly string[] = [],
  ): Promise<TestServer> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-redis-'));
    const server = new TestServer(await freePort(), directory, options);
    t.after(async () => {
      await server.kill();
      await fs.rm(directory, { recursive: true, force: true });
    });
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const place = ['--port', `${this.#port}`, '--bind', '127.0.0.1', '--dir', this.#directory];
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    this.#process = spawn('redis-server', [...place, ...durable, ...this.#options], {
      stdio: 'ignore',
    });
    await eventually('the server listens', () => isListening(this.#port));
  }

  /** SIGKILL: no farewell; what was acknowledged must be there afterwards. */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    running.kill('SIGKILL');
    await once(running, 'exit');
  }

  /** SIGSTOP: connections stay and nobody answers. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  resume(): void {
    this.#process?.kill('SIGCONT');
  }
}

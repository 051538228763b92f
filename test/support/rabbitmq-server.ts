/**
 * A RabbitMQ node of a test's own, on loopback ports that stay the same through crashes, with its
 * own node name, port mapper and data in a temporary directory:
 *
 *   test('…', { skip: noRabbitmq }, async (t) => {
 *     const server = await RabbitmqServer.started(t);      // ends with the test
 *     const broker = await openRabbitmqBroker({ url: server.url });
 *     await server.kill();     // SIGKILL: no farewell; what was confirmed must be there afterwards
 *     await server.start();    // the same data, the same ports
 *     server.pause();          // SIGSTOP: connections stay and nobody answers
 *     server.resume();
 *     await server.ctl('add_user', 'shop', 'secret');      // rabbitmqctl
 *   });
 *
 * Outside of a test: `RabbitmqServer.make(options)`, then `start()`, at the end `remove()`.
 * A start takes 5 s on an idle machine. As root the node runs as user rabbitmq, whose package
 * Debian's `rabbitmq-server` is.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';
import { freePorts, isListening } from './ports.ts';

const programs = '/usr/lib/rabbitmq/bin';

/** Why a test cannot have a server of its own; false when it can. */
export const noRabbitmq: string | false = existsSync(path.join(programs, 'rabbitmq-server'))
  ? false
  : 'rabbitmq-server is not installed';

export interface RabbitmqServerOptions {
  /** Further lines of rabbitmq.conf. */
  readonly config?: readonly string[] | undefined;
  /** PEM files of certificates: the node listens with TLS as well. */
  readonly tls?: RabbitmqTls | undefined;
  readonly plugins?: readonly string[] | undefined;
}

export interface RabbitmqTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Clients must have a certificate of the same authority. */
  readonly mutual?: boolean | undefined;
}

interface Ports {
  readonly amqp: number;
  readonly amqps: number;
  readonly distribution: number;
  readonly epmd: number;
}

export class RabbitmqServer {
  /** `amqp://millrace:…@127.0.0.1:port`; the user may do everything. */
  readonly url: string;
  /** `amqps://…@localhost:port`; nobody listens there without `options.tls`. */
  readonly tlsUrl: string;
  readonly port: number;
  readonly #ports: Ports;
  readonly #directory: string;
  readonly #runAs: readonly string[];
  readonly #node: string;
  #process: ChildProcess | null = null;
  #epmd: ChildProcess | null = null;

  private constructor(ports: Ports, directory: string, password: string) {
    this.#ports = ports;
    this.#directory = directory;
    this.#node = `millrace-${ports.amqp}@localhost`;
    this.#runAs = process.getuid?.() === 0 ? ['runuser', '-u', 'rabbitmq', '--'] : [];
    this.port = ports.amqp;
    this.url = `amqp://millrace:${password}@127.0.0.1:${ports.amqp}`;
    this.tlsUrl = `amqps://millrace:${password}@localhost:${ports.amqps}`;
  }

  /** A running server that ends with the test. */
  static async started(t: TestContext, options?: RabbitmqServerOptions): Promise<RabbitmqServer> {
    const server = await RabbitmqServer.make(options);
    t.after(() => server.remove());
    await server.start();
    return server;
  }

  static async make(options: RabbitmqServerOptions = {}): Promise<RabbitmqServer> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-rabbitmq-'));
    const [amqp, amqps, distribution, epmd] = await freePorts(4);
    const ports = { amqp, amqps, distribution, epmd } as Ports;
    const password = randomBytes(9).toString('hex');
    const server = new RabbitmqServer(ports, directory, password);
    await server.#prepare(password, options);
    return server;
  }

  async #prepare(password: string, { config = [], tls, plugins = [] }: RabbitmqServerOptions) {
    const place = (name: string) => path.join(this.#directory, name);
    const lines = ['default_user = millrace', `default_pass = ${password}`, ...config];
    if (tls !== undefined) {
      lines.push(`listeners.ssl.default = 127.0.0.1:${this.#ports.amqps}`);
      for (const [name, file] of [
        ['cacertfile', 'ca'],
        ['certfile', 'cert'],
        ['keyfile', 'key'],
      ] as const) {
        await fs.copyFile(tls[file], place(`${file}.pem`));
        lines.push(`ssl_options.${name} = ${place(`${file}.pem`)}`);
      }
      const mutual = tls.mutual === true;
      lines.push(`ssl_options.verify = ${mutual ? 'verify_peer' : 'verify_none'}`);
      lines.push(`ssl_options.fail_if_no_peer_cert = ${mutual}`);
    }
    await fs.writeFile(place('rabbitmq.conf'), `${lines.join('\n')}\n`);
    await fs.writeFile(place('enabled_plugins'), `[${plugins.join(',')}].\n`);
    await fs.writeFile(place('.erlang.cookie'), randomBytes(10).toString('hex'), { mode: 0o400 });
    if (this.#runAs.length > 0) await run('chown', ['-R', 'rabbitmq:', this.#directory]);
  }

  /** Resolves when clients can connect. */
  async start(): Promise<void> {
    await this.#startPortMapper();
    const log = await fs.open(path.join(this.#directory, 'console'), 'a');
    const [program, ...args] = this.#command('rabbitmq-server');
    // A group of its own: the scripts around the node end with it.
    this.#process = spawn(program, args, {
      cwd: this.#directory,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    await log.close();
    await eventually('RabbitMQ answers', () => this.#answers(), 60_000);
  }

  /**
   * SIGKILL, a second after it was asked for: RabbitMQ writes the names of new quorum queues down
   * half a second after the last one, and a node on its own that dies before leaves them broken
   * (docs/rabbitmq.md).
   */
  async kill(): Promise<void> {
    await sleep(1_000);
    await this.#end();
  }

  async #end(): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (running === null) return;
    const ended = running.exitCode === null && running.signalCode === null && once(running, 'exit');
    signalGroup(running, 'SIGKILL');
    await ended;
    await eventually('the port is free', async () => !(await isListening(this.port)), 20_000);
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  pause(): void {
    if (this.#process !== null) signalGroup(this.#process, 'SIGSTOP');
  }

  resume(): void {
    if (this.#process !== null) signalGroup(this.#process, 'SIGCONT');
  }

  /** Ends the node in order, data kept. */
  async stop(): Promise<void> {
    const running = this.#process;
    if (running === null) return;
    const ended = once(running, 'exit');
    await this.ctl('stop');
    await ended;
    this.#process = null;
  }

  /** Ends the node and removes its data. */
  async remove(): Promise<void> {
    await this.#end();
    if (this.#epmd !== null) signalGroup(this.#epmd, 'SIGKILL');
    this.#epmd = null;
    await fs.rm(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** `rabbitmqctl …`; its output. Takes about a second. */
  async ctl(...words: readonly string[]): Promise<string> {
    const [program, ...args] = this.#command('rabbitmqctl', '--quiet', ...words);
    return run(program, args, this.#directory);
  }

  async #startPortMapper(): Promise<void> {
    if (this.#epmd !== null) return;
    const [program, ...args] = this.#command('epmd');
    this.#epmd = spawn(program, args, {
      cwd: this.#directory,
      detached: true,
      stdio: 'ignore',
    });
    await eventually('epmd listens', () => isListening(this.#ports.epmd), 20_000);
  }

  /** The command that runs a program of the package as the right user and node. */
  #command(...words: readonly string[]): [string, ...string[]] {
    const directory = this.#directory;
    const place = (name: string) => path.join(directory, name);
    const variables = {
      HOME: directory,
      PATH: `${programs}:${process.env.PATH}`,
      RABBITMQ_NODENAME: this.#node,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: this.#ports.amqp,
      RABBITMQ_DIST_PORT: this.#ports.distribution,
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: place('rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: place('enabled_plugins'),
      RABBITMQ_MNESIA_BASE: place('mnesia'),
      RABBITMQ_LOG_BASE: directory,
      RABBITMQ_PID_FILE: place('pid'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: this.#ports.epmd,
    };
    const set = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const [program = 'env', ...rest] = [...this.#runAs, 'env', ...set, ...words];
    return [program, ...rest];
  }

  /** The header of a protocol that it does not speak makes it say which one it does. */
  async #answers(): Promise<boolean> {
    if (this.#process?.exitCode != null) {
      const console = await fs.readFile(path.join(this.#directory, 'console'), 'utf8');
      throw new Error(`RabbitMQ ended with ${this.#process.exitCode}:\n${console.slice(-2000)}`);
    }
    const socket = net.connect(this.port, '127.0.0.1');
    socket.setTimeout(5000, () => socket.destroy(new Error('no answer')));
    try {
      await once(socket, 'connect');
      socket.write('AMQP\x00\x00\x00\x00');
      const [answer] = await once(socket, 'data');
      return String(answer).startsWith('AMQP');
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}

/** Negative: the whole group. Of a group that has ended there is nobody to tell. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const options = { maxBuffer: 16 * 1024 * 1024, ...(cwd !== undefined && { cwd }) };
  return (await promisify(execFile)(program, args, options)).stdout.toString();
}

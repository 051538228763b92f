/**
 * A Kafka of a test's own: real Apache Kafka in KRaft mode, of the jars that scripts/kafka fetches,
 * on free loopback ports, its data in a temporary directory that is gone at the end.
 *
 *   const kafka = await startKafka(t);                         // one node, plaintext, no login
 *   const kafka = await startKafka(t, { nodes: 3 });
 *   kafka.url                                                  // kafka://127.0.0.1:p[,…]
 *   await kafka.kill(); await kafka.restart();                 // SIGKILL; same ports, same data
 *   kafka.pause(2); kafka.resume(2);                           // SIGSTOP one node of three
 *
 *   const kafka = await startKafka(t, {
 *     listeners: {                                             // names are lower-case letters
 *       open: { protocol: 'PLAINTEXT' },
 *       mutual: { protocol: 'SSL', certificate: pki.server, clientAuth: 'required' },
 *       login: { protocol: 'SASL_PLAINTEXT', mechanisms: ['PLAIN', 'SCRAM-SHA-256'] },
 *     },
 *     trustFile: pki.caFile, users: { alice: 'secret' },
 *     properties: { 'message.max.bytes': '200000' },
 *   });
 *   kafka.hosts('mutual')                                      // 127.0.0.1:p[,…]
 *
 *   before(async () => { kafka = await startKafka(null); });     // shared by a suite
 *   after(() => kafka.end());
 *
 * What was started for a test ends with it. A start takes 3 to 6 seconds (also after a kill: the
 * controller waits until the dead node's session is over), and up to 384 MB of heap per node, so
 * let the tests of a file share one.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type KafkaListener,
  type NodePorts,
  scramUsers,
  serverProperties,
} from './kafka-config.ts';
import { freePorts } from './ports.ts';

export type { KafkaListener } from './kafka-config.ts';

const scripts = path.resolve(import.meta.dirname, '../../scripts/kafka');

/** Why a test cannot have a Kafka of its own; false when it can. */
export const noKafka: string | false = reason();

function reason(): string | false {
  if (process.env.KAFKA_URL === undefined) {
    return 'KAFKA_URL is not set: eval "$(scripts/services.sh up kafka)"';
  }
  return spawnSync('java', ['-version']).status === 0 ? false : 'java is not installed';
}

export interface KafkaServerOptions {
  /** Brokers, each a controller too. 1 by default. */
  readonly nodes?: 1 | 3;
  /** By name; a plaintext one named `open` by default. One must be PLAINTEXT: nodes use it. */
  readonly listeners?: Readonly<Record<string, KafkaListener>>;
  /** Who may log in, by PLAIN and SCRAM alike. */
  readonly users?: Readonly<Record<string, string>>;
  /** PEM of the authority that client certificates are checked against. */
  readonly trustFile?: string;
  /** Lines of server.properties, over ours. */
  readonly properties?: Readonly<Record<string, string>>;
}

export interface KafkaServer {
  /** Of the first plaintext listener, all nodes. */
  readonly url: string;
  /** Of a listener, all nodes: `127.0.0.1:20101,127.0.0.1:20105`. */
  hosts(listener: string): string;
  /** SIGKILL: no farewell. Nodes are counted from 1; all of them by default. */
  kill(node?: number): Promise<void>;
  /** What does not run starts again, with its ports and data; resolves when it serves. */
  restart(node?: number): Promise<void>;
  /** SIGTERM: partitions are handed over first. */
  stop(node?: number): Promise<void>;
  /** SIGSTOP: connections stay and nobody answers. */
  pause(node?: number): void;
  resume(node?: number): void;
  /** The last lines that a node wrote. */
  log(node?: number): string;
  /** Kills all and removes their data; of itself at the end of the test that it was started for. */
  end(): Promise<void>;
}

export async function startKafka(
  t: Pick<TestContext, 'after'> | null,
  options: KafkaServerOptions = {},
): Promise<KafkaServer> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-kafka-'));
  const nodes: KafkaNode[] = [];
  const end = async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  t?.after(end);
  try {
    return await startIn(directory, nodes, end, options);
  } catch (error) {
    await end();
    throw error;
  }
}

async function startIn(
  directory: string,
  nodes: KafkaNode[],
  end: () => Promise<void>,
  options: KafkaServerOptions,
): Promise<KafkaServer> {
  const { stdout } = await run(path.join(scripts, 'libraries.sh'), []);
  const listeners = options.listeners ?? { open: { protocol: 'PLAINTEXT' } };
  const names = Object.keys(listeners);
  const inner = names.find((name) => listeners[name]?.protocol === 'PLAINTEXT');
  if (inner === undefined) throw new Error('one listener must be PLAINTEXT: the nodes use it');
  const ports = await choosePorts(options.nodes ?? 1, names);
  for (let id = 1; id <= ports.length; id += 1) {
    const home = path.join(directory, `${id}`);
    fs.mkdirSync(path.join(home, 'data'), { recursive: true });
    const properties = serverProperties({ ...options, id, home, ports, listeners, inner });
    fs.writeFileSync(path.join(home, 'server.properties'), properties);
    nodes.push(new KafkaNode(id, home, stdout.trim()));
  }
  await format(nodes, options.users ?? {});
  const chosen = (node: number | undefined) =>
    node === undefined ? nodes : nodes.filter(({ id }) => id === node);
  const all = (node: number | undefined, act: (node: KafkaNode) => Promise<void>) =>
    Promise.all(chosen(node).map(act)).then(() => {});
  const signal = (node: number | undefined, name: NodeJS.Signals) => {
    for (const one of chosen(node)) one.signal(name);
  };
  await all(undefined, (node) => node.start());
  const hosts = (listener: string) =>
    ports.map((one) => `127.0.0.1:${one.listeners.get(listener)}`).join(',');
  return {
    url: `kafka://${hosts(inner)}`,
    hosts,
    kill: (node) => all(node, (one) => one.kill()),
    restart: (node) => all(node, (one) => one.start()),
    stop: (node) => all(node, (one) => one.stop()),
    pause: (node) => signal(node, 'SIGSTOP'),
    resume: (node) => signal(node, 'SIGCONT'),
    end,
    log: (node) =>
      chosen(node)
        .map((one) => one.log())
        .join('\n'),
  };
}

const run = promisify(execFile);

/** The storage of all: formatted once by Kafka's own tool, then given to the others as well. */
async function format(
  nodes: readonly KafkaNode[],
  users: Readonly<Record<string, string>>,
): Promise<void> {
  const [first, ...others] = nodes as [KafkaNode, ...KafkaNode[]];
  const clusterId = newId();
  const scram = scramUsers(users).flatMap((user) => ['--add-scram', user]);
  await run('java', [
    ...first.javaOptions(),
    ...['kafka.tools.StorageTool', 'format', '--cluster-id', clusterId],
    ...['--config', path.join(first.home, 'server.properties'), ...scram],
  ]);
  for (const node of others) {
    for (const file of fs.readdirSync(first.data)) {
      const text = fs.readFileSync(path.join(first.data, file));
      fs.writeFileSync(path.join(node.data, file), text);
    }
    const directoryId = newId();
    fs.writeFileSync(
      path.join(node.data, 'meta.properties'),
      `version=1\ncluster.id=${clusterId}\nnode.id=${node.id}\ndirectory.id=${directoryId}\n`,
    );
  }
}

/** As Kafka makes them: not with a dash first, which its tools take for an option. */
function newId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

class KafkaNode {
  readonly id: number;
  readonly home: string;
  readonly data: string;
  readonly #libraries: string;
  #process: ChildProcess | null = null;

  constructor(id: number, home: string, libraries: string) {
    this.id = id;
    this.home = home;
    this.data = path.join(home, 'data');
    this.#libraries = libraries;
  }

  javaOptions(): string[] {
    const size = ['-Xms128m', '-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
    return [
      ...[...size, '-Xshare:auto', '-cp', `${this.#libraries}/*`],
      `-Dlog4j2.configurationFile=${path.join(scripts, 'log4j2.xml')}`,
    ];
  }

  async start(): Promise<void> {
    if (this.#process !== null && isAlive(this.#process)) return;
    const log = path.join(this.home, 'log');
    const output = fs.openSync(log, 'w');
    const args = ['kafka.Kafka', path.join(this.home, 'server.properties')];
    const child = spawn('java', [...this.javaOptions(), ...args], {
      stdio: ['ignore', output, output],
    });
    fs.closeSync(output);
    this.#process = child;
    // A test process that is ended from outside leaves no server behind.
    const end = () => child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
    const deadline = performance.now() + 60_000;
    while (!fs.readFileSync(log, 'utf8').includes('Kafka Server started')) {
      if (!isAlive(child) || performance.now() > deadline) {
        await this.kill();
        throw new Error(`Kafka node ${this.id} did not start:\n${this.log()}`);
      }
      await sleep(50);
    }
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  log(): string {
    return fs.readFileSync(path.join(this.home, 'log'), 'utf8').slice(-8000);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || !isAlive(child)) return;
    child.kill('SIGCONT');
    child.kill(signal);
    await once(child, 'exit');
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

async function choosePorts(nodes: number, names: readonly string[]): Promise<NodePorts[]> {
  const free = await freePorts(nodes * (names.length + 1));
  const next = () => free.pop() as number;
  return Array.from({ length: nodes }, () => ({
    controller: next(),
    listeners: new Map(names.map((name) => [name, next()])),
  }));
}

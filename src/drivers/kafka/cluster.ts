/**
 * One Kafka cluster as the driver sees it: connections, versions, who leads and who coordinates.
 *
 * Of @platformatic/kafka it uses connections, logins and the encodings of single requests, not its
 * Producer and Consumer. Those cannot do what the port asks: the idempotent producer keeps one
 * request in flight per broker and forgets the sequences of all partitions when one fails; the
 * consumer of the next-generation protocol gives partitions back without asking, has no pause of
 * one partition, and commits without its instance id (2.12.1, clients/producer/producer.js and
 * clients/consumer/consumer.js). What they cost is in docs/kafka.md.
 */
import * as client from '@platformatic/kafka';
import { MillraceError } from '../../core/errors.ts';
import type {
  ApiVersionsAnswer,
  CoordinatorAnswer,
  MetadataAnswer,
  MetadataTopic,
} from './answers.ts';
import { code, isDenied, protocolError } from './codes.ts';
import { abortable, backoffMs } from './patience.ts';
import type { KafkaClientSettings } from './security/settings.ts';

export interface Node {
  readonly host: string;
  readonly port: number;
}

export interface TopicLayout {
  readonly name: string;
  /** A UUID; the name where the broker is too old to have ids. */
  readonly id: string;
  /** By partition: the id of the node that leads; -1: nobody does. */
  readonly leaders: readonly number[];
  readonly epochs: readonly number[];
}

export interface CallOptions {
  readonly timeoutMs?: number | undefined;
  readonly pool?: client.ConnectionPool | undefined;
}

/** A request of the client; `modules` has them by the name of the protocol guide and version. */
interface ApiModule {
  readonly api: { readonly version: number };
  readonly createRequest: (...args: never[]) => client.Writer;
  readonly parseResponse: (id: number, key: number, version: number, r: client.Reader) => unknown;
}

export type Versions = ReadonlyMap<string, readonly [min: number, max: number]>;

const modules = client as unknown as Readonly<Record<string, ApiModule | undefined>>;
const layoutAgeMsMax = 60_000;
/** A node that did not answer is asked last for this long. */
const silentMs = 30_000;
/** Topics that are not found are asked for again this often: another node may know them already. */
const unknownTries = 4;

export class Cluster {
  readonly settings: KafkaClientSettings;
  readonly control: client.ConnectionPool;
  #nodes = new Map<number, Node>();
  #layouts = new Map<string, TopicLayout & { readonly at: number }>();
  #coordinators = new Map<string, Node>();
  #versions = new WeakMap<client.Connection, Promise<Versions>>();
  /** Throttled: not before this time of performance.now() (KIP-219). */
  #mutedUntil = new WeakMap<client.Connection, number>();
  #refreshes = new Map<string, Promise<void>>();
  /** Nodes that did not answer in time, and when: a paused process keeps its connections. */
  #silent = new Map<string, number>();
  #pools = new Set<client.ConnectionPool>();
  #closed = new AbortController();

  constructor(settings: KafkaClientSettings) {
    this.settings = settings;
    this.control = this.openPool();
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** A broker answers one request of a connection at a time: what may wait gets its own. */
  openPool(): client.ConnectionPool {
    const { clientId = 'millrace', ...options } = this.settings.client;
    // Our own deadlines are shorter. 20: its queue is ours to bound, see produce-queue.ts.
    const pool = new client.ConnectionPool(clientId, {
      ...(options as client.ConnectionOptions),
      requestTimeout: 120_000,
      maxInflights: 20,
    });
    this.#pools.add(pool);
    return pool;
  }

  async closePool(pool: client.ConnectionPool): Promise<void> {
    this.#pools.delete(pool);
    // Its own close() waits for the other side; a broker that is gone would hold us up.
    for (const [, connection] of pool) setTimeout(() => connection.socket?.destroy(), 500).unref();
    await pool.close().catch(() => {});
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([...this.#pools].map((pool) => this.closePool(pool)));
  }

  node(id: number): Node | undefined {
    return this.#nodes.get(id);
  }

  /** @param node null: any that answers. */
  async connection(pool: client.ConnectionPool, node: Node | null): Promise<client.Connection> {
    this.#throwIfClosed();
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, connection?: client.Connection) =>
        error === null && connection !== undefined ? resolve(connection) : reject(error);
      if (node !== null) pool.get(node, done);
      else pool.getFirstAvailable(this.#anyOrder(), done);
    });
  }

  /** Known nodes, then those of the URL: either may be gone for good. */
  #anyOrder(): Node[] {
    const known = [...this.#nodes.values()];
    const from = Math.floor(Math.random() * known.length);
    const seen = new Map<string, Node>();
    const given = this.settings.client.bootstrapBrokers as readonly Node[];
    for (const node of [...known.slice(from), ...known.slice(0, from), ...given]) {
      const address = `${node.host}:${node.port}`;
      if (!seen.has(address)) seen.set(address, node);
    }
    const now = performance.now();
    const isSilent = (address: string) => now - (this.#silent.get(address) ?? -silentMs) < silentMs;
    const all = [...seen];
    return [
      ...all.filter(([address]) => !isSilent(address)),
      ...all.filter(([address]) => isSilent(address)),
    ].map(([, node]) => node);
  }

  /**
   * Asks one node. What it answers is the answer, error codes included.
   * @throws what the connection throws: see `failure`
   */
  async call<T>(
    name: string,
    node: Node | null,
    args: readonly unknown[],
    // Of any node: another one is asked sooner when this one is silent.
    { timeoutMs = node === null ? 5000 : 10_000, pool = this.control }: CallOptions = {},
  ): Promise<T> {
    const connection = await this.connection(pool, node);
    const { api } = await this.api(connection, name);
    await this.unmuted(connection);
    return this.answer<T>(connection, timeoutMs, (done) => {
      (api as unknown as (...all: unknown[]) => void)(connection, ...args, done);
    });
  }

  /** A request under a deadline: after it the connection is given up, for it may be half open. */
  answer<T>(
    connection: client.Connection,
    timeoutMs: number,
    send: (done: (error: Error | null, response?: unknown) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${timeoutMs} ms`));
        this.#silent.set(`${connection.host}:${connection.port}`, performance.now());
        connection.socket?.destroy();
      }, timeoutMs);
      send((error, response) => {
        clearTimeout(timer);
        const answer = error === null ? response : (error as { response?: unknown }).response;
        if (answer === undefined) return reject(error);
        const { throttleTimeMs = 0 } = answer as { throttleTimeMs?: number };
        if (throttleTimeMs > 0) {
          this.#mutedUntil.set(connection, performance.now() + throttleTimeMs);
        }
        resolve(answer as T);
      });
    });
  }

  /** Over its quota a client must wait by itself; the broker would only let it time out. */
  async unmuted(connection: client.Connection): Promise<void> {
    const until = this.#mutedUntil.get(connection);
    if (until === undefined) return;
    await abortable(until - performance.now(), this.closed);
  }

  /** The newest form of a request that both sides know; each broker may have another version. */
  async api(connection: client.Connection, name: string): Promise<ApiModule> {
    const versions = await this.versions(connection);
    const [min, max] = versions.get(name) ?? [0, -1];
    const prefix = name.slice(0, 1).toLowerCase() + name.slice(1);
    for (let version = max; version >= min; version -= 1) {
      const found = modules[`${prefix}V${version}`];
      if (found !== undefined) return found;
    }
    throw new Error(`the broker and the client have no common version of ${name}`);
  }

  versions(connection: client.Connection): Promise<Versions> {
    const known = this.#versions.get(connection);
    if (known !== undefined) return known;
    const asked = this.#askVersions(connection);
    this.#versions.set(connection, asked);
    asked.catch(() => this.#versions.delete(connection));
    return asked;
  }

  async #askVersions(connection: client.Connection): Promise<Versions> {
    const ask = (api: unknown) =>
      this.answer<ApiVersionsAnswer>(
        connection,
        this.settings.client.connectTimeout ?? 10_000,
        (done) => {
          (api as (...all: unknown[]) => void)(connection, 'millrace', '1', done);
        },
      );
    let answer = await ask(client.apiVersionsV3.api);
    // Brokers before 2.4 answer so to a version that they do not know.
    if (answer.errorCode === code.unsupportedVersion) answer = await ask(client.apiVersionsV1.api);
    return new Map(
      answer.apiKeys.map(({ name, minVersion, maxVersion }) => [name, [minVersion, maxVersion]]),
    );
  }

  /** @throws MillraceError BROKER_TOPIC_UNKNOWN, BROKER_DENIED, and what a connection throws */
  async layout(topic: string, fresh = false): Promise<TopicLayout> {
    for (let attempt = 0; ; attempt += 1) {
      const known = this.#layouts.get(topic);
      const isGood = known !== undefined && performance.now() - known.at < layoutAgeMsMax;
      if (isGood && !(fresh && attempt === 0)) return known;
      await this.#refresh(topic);
      const found = this.#layouts.get(topic);
      if (found !== undefined) return found;
      if (attempt + 1 >= unknownTries) throw unknownTopic(topic);
      await abortable(backoffMs(attempt), this.closed);
    }
  }

  knownLayout(topic: string): TopicLayout | undefined {
    return this.#layouts.get(topic);
  }

  forgetLayout(topic: string): void {
    this.#layouts.delete(topic);
  }

  /** One question per topic at a time, whoever asks. */
  #refresh(topic: string): Promise<void> {
    const asked = this.#refreshes.get(topic);
    if (asked !== undefined) return asked;
    const asking = this.metadata([topic]).then(() => {});
    this.#refreshes.set(topic, asking);
    const done = () => this.#refreshes.delete(topic);
    asking.then(done, done);
    return asking;
  }

  /**
   * Asks for topics, and learns nodes and leaders by the way.
   * @param topics null: all
   * @param node null: any
   */
  async metadata(
    topics: readonly string[] | null,
    node: Node | null = null,
  ): Promise<readonly TopicLayout[]> {
    // `false`: never makes topics. `false`: our rights are not asked for; on MSK each would be an
    // entry in the audit log.
    const answer = await this.call<MetadataAnswer>('Metadata', node, [
      topics === null ? null : [...topics],
      false,
      false,
    ]);
    if (answer.brokers.length > 0) {
      this.#nodes = new Map(
        answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]),
      );
    }
    const found: TopicLayout[] = [];
    for (const topic of answer.topics) {
      const name = topic.name ?? '';
      if (isDenied(topic.errorCode)) throw protocolError(topic.errorCode);
      if (topic.errorCode !== code.none && topic.partitions.length === 0) {
        this.#layouts.delete(name);
        continue;
      }
      const layout = layoutOf(name, topic);
      this.#layouts.set(name, { ...layout, at: performance.now() });
      if (!topic.isInternal) found.push(layout);
    }
    return found;
  }

  /** @throws what a connection throws, and MillraceError of a denial */
  async coordinator(group: string): Promise<Node> {
    const known = this.#coordinators.get(group);
    if (known !== undefined) return known;
    const answer = await this.call<CoordinatorAnswer>('FindCoordinator', null, [0, [group]]);
    const [found] = answer.coordinators;
    if (found === undefined || found.errorCode !== code.none) {
      throw protocolError(found?.errorCode ?? code.coordinatorNotAvailable);
    }
    const node = { host: found.host, port: found.port };
    this.#coordinators.set(group, node);
    return node;
  }

  get nodes(): readonly Node[] {
    return [...this.#nodes.values()];
  }

  forgetCoordinator(group: string): void {
    this.#coordinators.delete(group);
  }

  #throwIfClosed(): void {
    if (!this.closed.aborted) return;
    throw new MillraceError('BROKER_UNAVAILABLE', 'This connection to Kafka was closed.', {
      fix: 'Open a broker anew: a closed one does not come back.',
    });
  }

  /** Any error of a request as one of ours. */
  failure(error: unknown, what: string): MillraceError {
    if (error instanceof MillraceError) return error;
    const denial = this.settings.denialOf(error);
    if (denial !== null) return denial;
    const text = this.settings.redact(describe(error));
    const message = `Kafka at ${this.settings.address} did not ${what}: ${text}`;
    return new MillraceError('BROKER_UNAVAILABLE', message, { cause: error });
  }
}

/** The innermost reason: the client wraps one in "failed N times". */
function describe(error: unknown): string {
  let inner = error;
  for (let depth = 0; depth < 8 && inner instanceof Error; depth += 1) {
    const next: unknown =
      inner instanceof AggregateError && inner.errors.length > 0 ? inner.errors[0] : inner.cause;
    if (!(next instanceof Error)) break;
    inner = next;
  }
  return inner instanceof Error ? inner.message || inner.name : String(inner);
}

function layoutOf(name: string, topic: MetadataTopic): TopicLayout {
  const leaders: number[] = [];
  const epochs: number[] = [];
  for (const { partitionIndex, leaderId, leaderEpoch } of topic.partitions) {
    leaders[partitionIndex] = leaderId;
    epochs[partitionIndex] = leaderEpoch ?? -1;
  }
  return { name, id: topic.topicId || name, leaders, epochs };
}

export function unknownTopic(topic: string): MillraceError {
  return new MillraceError('BROKER_TOPIC_UNKNOWN', `Kafka has no topic ${JSON.stringify(topic)}.`, {
    details: { topic },
  });
}

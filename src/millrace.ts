/**
 * The platform assembled over one store: publisher, streams, wakers and watchdog of one process, and
 * the verbs that people use. `connect()` makes one; tests and apps use nothing below it.
 */
import { createCatalogue } from './core/catalogue.ts';
import { MillraceError } from './core/errors.ts';
import type { EventDefinition, EventInput, StoredEvent } from './core/event.ts';
import { controlEvents } from './events/control.ts';
import { createDeadLetters, type DeadLetters } from './events/dead-letters.ts';
import { type Published, Publisher } from './events/publisher.ts';
import { Sequencer } from './events/sequencer.ts';
import { Streams, type StreamStatus } from './events/streams.ts';
import type { AnyDefinition, Subscription } from './events/stream/subscription.ts';
import type { HistoryStore } from './ports/history.ts';
import type { SqlTransaction, Store } from './ports/store.ts';
import { sleep } from './runtime/bell.ts';
import { type DeploymentMode, deploymentModes, Heads } from './runtime/heads.ts';
import { Listener } from './runtime/listener.ts';
import { decodeHeads, Notifier } from './runtime/notifier.ts';
import { Poller } from './runtime/poller.ts';
import { Tail } from './runtime/tail.ts';
import { Watchdog } from './runtime/watchdog.ts';

export interface MillraceOptions {
  /** Definitions beyond those that subscriptions name, for reading and editing events. */
  readonly events?: readonly AnyDefinition[];
  /** Which wakers feed the loops; Hybrid by default. */
  readonly mode?: DeploymentMode;
  /** Events of one append at most; 1,000 by default. */
  readonly appendMax?: number;
  /** Events accepted and not yet durable at most; 20,000 by default. */
  readonly bufferMax?: number;
  /** Newest events of each partition kept in memory; 4,096 by default. */
  readonly tailMax?: number;
  /** 1,000 ms by default. */
  readonly heartbeatMs?: number;
  /** A worker silent for this long is dead; 5,000 ms by default. */
  readonly timeToLiveMs?: number;
  /** How long stop() waits for handlers; 30,000 ms by default. */
  readonly graceMs?: number;
  /** Poll interval while busy or in PollingOnly, and while other wakers work; 50 and 1,000 ms. */
  readonly pollMs?: readonly [least: number, most: number];
  /** Told of errors that were survived; they are counted in `health()` as well. */
  readonly onError?: (error: unknown, where: string) => void;
}

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly ready: boolean;
  readonly mode: DeploymentMode;
  readonly problems: readonly string[];
  readonly workerId: string;
  readonly workers: number;
  readonly listening: boolean;
  readonly streams: readonly StreamStatus[];
  readonly errors: number;
  readonly lastError: string | null;
}

const pingMsMax = 3_000;

export class Millrace {
  readonly store: Store;
  readonly workerId = crypto.randomUUID();
  readonly history: HistoryStore;
  readonly deadLetters: DeadLetters;
  readonly publisher: Publisher;
  readonly heads: Heads;
  readonly #options: MillraceOptions;
  readonly #tail: Tail;
  readonly #notifier: Notifier;
  readonly #listener: Listener;
  readonly #poller: Poller;
  readonly #sequencer: Sequencer;
  readonly #streams: Streams;
  readonly #watchdog: Watchdog;
  readonly #definitions = new Map<string, AnyDefinition>();
  readonly #onClose: () => Promise<void>;
  #started = false;
  #closed = false;
  #errors = 0;
  #lastError: string | null = null;

  constructor(store: Store, options: MillraceOptions = {}, onClose = async () => {}) {
    this.store = store;
    this.#options = options;
    this.#onClose = onClose;
    this.history = store.history;
    this.#remember([...controlEvents, ...(options.events ?? [])]);
    const onError = (error: unknown, where: string) => this.#noteError(error, where);
    const onAppended = (events: readonly StoredEvent[]) => this.#announce(events);
    this.heads = new Heads(store.partitions, checkMode(options.mode ?? 'Hybrid'));
    this.#tail = new Tail({ partitions: store.partitions, eventsMax: options.tailMax ?? 4_096 });
    this.publisher = new Publisher({
      store,
      batchMax: options.appendMax ?? 1_000,
      bufferMax: options.bufferMax ?? 20_000,
      patienceMs: 30_000,
      onAppended,
    });
    this.#streams = new Streams({
      store,
      heads: this.heads,
      tail: this.#tail,
      workerId: this.workerId,
      heartbeatMs: options.heartbeatMs ?? 1_000,
      timeToLiveMs: options.timeToLiveMs ?? 5_000,
      graceMs: options.graceMs ?? 30_000,
      stallMs: 15_000,
      onAppended,
      onJoined: () => this.#tellHeads(),
      announce: () => this.#tell('members'),
      onError,
    });
    const everyMs = options.pollMs ?? [50, 1_000];
    this.#poller = new Poller({
      log: store.log,
      heads: this.heads,
      everyMs,
      onError: (error) => onError(error, 'poller'),
    });
    this.#notifier = new Notifier(store.notices, {
      pauseMs: 3,
      wanted: () => this.#othersListen(),
    });
    this.#listener = new Listener(store.notices, {
      probeEveryMs: 5_000,
      backoffMs: [100, 5_000],
      onNotice: (notice) => this.#hear(notice),
      onConnected: () => {
        this.#streams.membership.refresh();
        this.#poller.catchUp().catch((error) => onError(error, 'poller'));
      },
    });
    this.#sequencer = new Sequencer({
      staging: store.staging,
      everyMs: [5, 1_000],
      batchMax: 1_000,
      onSequenced: () => {
        const known = this.#poller.catchUp().then(() => this.#tellHeads());
        known.catch((error) => onError(error, 'sequencer'));
      },
      onError: (error) => onError(error, 'sequencer'),
    });
    this.#watchdog = new Watchdog({
      everyMs: 5_000,
      nudge: () => this.#streams.nudge(),
      catchUp: () => this.#poller.catchUp(),
      prune: () => store.streams.prune(10_000),
      onError: (error) => onError(error, 'watchdog'),
    });
    this.deadLetters = createDeadLetters({
      failures: store.failures,
      definition: (eventType) => this.#definitions.get(eventType),
      onChanged: (group, partition) => {
        this.#streams.lookForRetries(group, partition);
        this.#tell(`failures ${group} ${partition}`);
      },
    });
  }

  /** Publishes one event; resolves after the durable commit (or, with `tx`, once it is staged). */
  publish<P>(definition: EventDefinition<P>, input: EventInput<P>): Promise<Published>;
  publish<P>(
    definition: EventDefinition<P>,
    input: EventInput<P>,
    options: { readonly tx: SqlTransaction },
  ): Promise<{ eventId: string }>;
  async publish<P>(
    definition: EventDefinition<P>,
    input: EventInput<P>,
    options?: { readonly tx: SqlTransaction },
  ): Promise<Published | { eventId: string }> {
    if (options === undefined) return this.publisher.publish(definition, input);
    const staged = await this.publisher.stage(definition, input, options.tx);
    this.#sequencer.wake();
    return staged;
  }

  /** Publishes many events, in order per key; resolves when all are durable. */
  publishMany<P>(
    items: readonly (readonly [EventDefinition<P>, EventInput<NoInfer<P>>])[],
  ): Promise<Published[]> {
    return this.publisher.publishMany(items);
  }

  /** Adds a group. Before or after start(); it begins to work when started. */
  subscribe<const D extends readonly AnyDefinition[]>(subscription: Subscription<D>): void {
    this.#streams.add(subscription as unknown as Subscription);
    this.#remember(subscription.events);
  }

  /** Starts the workers of every subscription. Safe to call again after more subscriptions. */
  async start(): Promise<void> {
    if (this.#closed) throw new MillraceError('SHUTTING_DOWN', 'This instance was stopped.');
    await this.#streams.start();
    if (this.#started) return;
    this.#started = true;
    // Not fatal: a start that fails half-way could not be tried again, and the wakers catch up too.
    await this.#poller.catchUp().catch((error) => this.#noteError(error, 'poller'));
    this.#poller.start();
    if (this.store.capabilities.notices) this.#listener.start();
    this.#sequencer.start();
    this.#watchdog.start();
  }

  /** Drains handlers, hands back the leases, waits for publishes, closes the store. */
  async stop(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#streams.stop();
    await this.publisher.close();
    await this.#notifier.flush();
    if (this.#started) {
      await Promise.all([
        this.#poller.stop(),
        this.#listener.stop(),
        this.#sequencer.stop(),
        this.#watchdog.stop(),
      ]);
    }
    await this.store.close();
    await this.#onClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get mode(): DeploymentMode {
    return this.heads.mode;
  }

  /** Changes which wakers count, while running; nothing is lost or restarted by it. */
  async switchMode(mode: DeploymentMode): Promise<void> {
    this.heads.mode = checkMode(mode);
    if (this.#started && mode !== 'PollingOnly') await this.#poller.catchUp();
  }

  /** Handler calls, failures and settlements of this process so far. */
  totals(): { handled: number; failed: number; settlements: number; published: number } {
    return { ...this.#streams.totals(), published: this.publisher.published };
  }

  /** Where the streams of a group in this process stand: the settled offset by partition. */
  positionsOf(group: string): ReadonlyMap<number, number> {
    return this.#streams.positionsOf(group);
  }

  /** Events that no group of this process has looked at yet. */
  backlog(): number {
    return this.#streams.status().reduce((sum, { backlog }) => sum + backlog, 0);
  }

  async health(): Promise<Health> {
    const problems: string[] = [];
    const storeAnswers = await this.#storeAnswers();
    if (!storeAnswers) problems.push('the store does not answer');
    const { membership } = this.#streams;
    if (this.#started && !membership.alive) problems.push('the heartbeat is overdue');
    const streams = this.#streams.status();
    const stalled = streams.filter((stream) => stream.stalled);
    for (const { group, partition } of stalled) problems.push(`${group}/${partition} is stalled`);
    const mustListen = this.#started && this.store.capabilities.notices && this.mode !== 'PollingOnly';
    if (mustListen && !this.#listener.connected) problems.push('the listener is reconnecting');
    const down = !storeAnswers || stalled.length > 0;
    return {
      status: down ? 'down' : problems.length > 0 ? 'degraded' : 'ok',
      ready: !down && this.#started,
      mode: this.mode,
      problems,
      workerId: this.workerId,
      workers: membership.workers.length,
      listening: this.#listener.connected,
      streams,
      errors: this.#errors,
      lastError: this.#lastError,
    };
  }

  /** No answer within the limit is an answer too: a half-open connection is silent for a minute. */
  async #storeAnswers(): Promise<boolean> {
    const answered = new AbortController();
    const ping = this.store.ping().then(
      () => true,
      () => false,
    );
    const silence = sleep(pingMsMax, answered.signal).then(() => false);
    const answers = await Promise.race([ping, silence]);
    answered.abort();
    return answers;
  }

  #remember(definitions: readonly AnyDefinition[]): void {
    createCatalogue(definitions);
    for (const definition of definitions) this.#definitions.set(definition.type, definition);
  }

  /** Events became durable: keep them for the groups here, wake them, and tell other processes. */
  #announce(events: readonly StoredEvent[]): void {
    for (let from = 0, to = 0; from < events.length; from = to) {
      const { partition } = events[from] as StoredEvent;
      while (events[to]?.partition === partition) to += 1;
      const batch = from === 0 && to === events.length ? events : events.slice(from, to);
      this.#tail.push(partition, batch);
      const { offset } = batch.at(-1) as StoredEvent;
      this.heads.raise(partition, offset, 'local');
      this.#notifier.note(partition, offset);
    }
  }

  /** Alone, nobody needs notices; a process that only publishes cannot know, so it sends them. */
  #othersListen(): boolean {
    if (!this.store.capabilities.notices) return false;
    const { membership } = this.#streams;
    return !this.#started || !membership.alive || membership.workers.length > 1;
  }

  /** Alone, this process sent no notices; whoever has joined hears now how far the log reaches. */
  #tellHeads(): void {
    for (let partition = 0; partition < this.store.partitions; partition += 1) {
      const head = this.heads.of(partition);
      if (head > 0) this.#notifier.note(partition, head);
    }
  }

  #hear(notice: string): void {
    const heads = decodeHeads(notice);
    for (const [partition, head] of heads ?? []) this.heads.raise(partition, head, 'notice');
    if (notice === 'members') this.#streams.membership.refresh();
    const [what, group, partition] = notice.split(' ');
    if (what === 'failures' && group) this.#streams.lookForRetries(group, Number(partition));
  }

  #tell(notice: string): void {
    if (!this.store.capabilities.notices) return;
    this.store.notices.send(notice).catch((error) => this.#noteError(error, 'notices'));
  }

  #noteError(error: unknown, where: string): void {
    this.#errors += 1;
    this.#lastError = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#options.onError?.(error, where);
  }
}

function checkMode(mode: DeploymentMode): DeploymentMode {
  if (deploymentModes.includes(mode)) return mode;
  throw new MillraceError(
    'CONFIG_INVALID',
    `The mode is '${mode}'; it can be ${deploymentModes.join(', ')}.`,
  );
}

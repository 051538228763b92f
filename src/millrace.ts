/**
 * The platform assembled over one store: publisher, streams, wakers and watchdog of one process,
 * and the verbs that people use. `connect()` makes one; tests and apps use nothing below it.
 */
import { createCatalogue } from './core/catalogue.ts';
import { MillraceError } from './core/errors.ts';
import type { EventDefinition, EventInput } from './core/event.ts';
import { controlEvents } from './events/control.ts';
import { createDeadLetters, type DeadLetters } from './events/dead-letters.ts';
import { type Published, Publisher } from './events/publisher.ts';
import { Sequencer } from './events/sequencer.ts';
import type { AnyDefinition, Subscription } from './events/stream/subscription.ts';
import { type StreamStatus, Streams } from './events/streams.ts';
import { Jobs } from './jobs/jobs.ts';
import type { JobsHealth, JobsOptions } from './jobs/options.ts';
import { asSqlTransaction, type CallerTransaction } from './jobs/transaction.ts';
import type { HistoryStore } from './ports/history.ts';
import type { Store } from './ports/store.ts';
import { sleep } from './runtime/bell.ts';
import type { DeploymentMode, Heads } from './runtime/heads.ts';
import { Wakers } from './runtime/wakers.ts';

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
  /** For queues; heartbeat, time to live, grace and onError are as for streams unless said. */
  readonly jobs?: JobsOptions;
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
  /** Of the queues that this process works on. */
  readonly jobs: JobsHealth;
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
  readonly jobs: Jobs;
  readonly #options: MillraceOptions;
  readonly #wakers: Wakers;
  readonly #sequencer: Sequencer;
  readonly #streams: Streams;
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
    this.#wakers = this.#createWakers();
    this.#streams = this.#createStreams();
    this.publisher = new Publisher({
      store,
      batchMax: options.appendMax ?? 1_000,
      bufferMax: options.bufferMax ?? 20_000,
      patienceMs: 30_000,
      onAppended: (events) => this.#wakers.announce(events),
    });
    this.#sequencer = this.#createSequencer();
    this.jobs = this.#createJobs();
    this.deadLetters = createDeadLetters({
      failures: store.failures,
      definition: (eventType) => this.#definitions.get(eventType),
      onChanged: (group, partition) => {
        this.#streams.lookForRetries(group, partition);
        this.#wakers.tell(`failures ${group} ${partition}`);
      },
    });
  }

  /**
   * Publishes one event; resolves after the durable commit. With `tx` it resolves once the event is
   * staged: it becomes an event soon after that transaction commits, in no fixed order to what is
   * published without it in the meantime.
   */
  publish<P>(definition: EventDefinition<P>, input: EventInput<P>): Promise<Published>;
  publish<P>(
    definition: EventDefinition<P>,
    input: EventInput<P>,
    options: { readonly tx: CallerTransaction },
  ): Promise<{ eventId: string }>;
  async publish<P>(
    definition: EventDefinition<P>,
    input: EventInput<P>,
    options?: { readonly tx: CallerTransaction },
  ): Promise<Published | { eventId: string }> {
    if (options === undefined) return this.publisher.publish(definition, input);
    const staged = await this.publisher.stage(definition, input, asSqlTransaction(options.tx));
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
    await this.#wakers.start();
    this.#sequencer.start();
    await this.jobs.start();
  }

  /** Drains handlers, hands back the leases, waits for publishes, closes the store. */
  async stop(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.jobs.stop();
    await this.#streams.stop();
    await this.publisher.close();
    if (this.#started) await this.#sequencer.stop();
    await this.#wakers.stop();
    await this.store.close();
    await this.#onClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** How far each partition is known to reach. */
  get heads(): Heads {
    return this.#wakers.heads;
  }

  get mode(): DeploymentMode {
    return this.heads.mode;
  }

  /** Changes which wakers count, while running; nothing is lost or restarted by it. */
  async switchMode(mode: DeploymentMode): Promise<void> {
    await this.#wakers.switchMode(mode);
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
    const { notices } = this.store.capabilities;
    const mustListen = this.#started && notices && this.mode !== 'PollingOnly';
    if (mustListen && !this.#wakers.listens) problems.push('the listener is reconnecting');
    const jobs = await this.jobs.health();
    // What it says about the store was said above.
    const works = this.#started && jobs.queues.length > 0;
    if (works && jobs.epoch === null) problems.push('the lease on jobs is lost');
    const down = !storeAnswers || stalled.length > 0;
    return {
      status: down ? 'down' : problems.length > 0 ? 'degraded' : 'ok',
      ready: !down && this.#started && membership.alive && (!works || jobs.ready),
      mode: this.mode,
      problems,
      workerId: this.workerId,
      workers: membership.workers.length,
      listening: this.#wakers.listens,
      streams,
      jobs,
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

  #createWakers(): Wakers {
    const { mode = 'Hybrid', tailMax = 4_096, pollMs = [50, 1_000] } = this.#options;
    return new Wakers({
      store: this.store,
      mode,
      tailMax,
      pollMs,
      othersListen: () => this.#othersListen(),
      onNotice: (notice) => this.#hear(notice),
      onConnected: () => this.#streams.membership.refresh(),
      nudge: () => this.#streams.nudge(),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createStreams(): Streams {
    const { heartbeatMs = 1_000, timeToLiveMs = 5_000, graceMs = 30_000 } = this.#options;
    return new Streams({
      store: this.store,
      heads: this.#wakers.heads,
      tail: this.#wakers.tail,
      workerId: this.workerId,
      heartbeatMs,
      timeToLiveMs,
      graceMs,
      stallMs: 15_000,
      onAppended: (events) => this.#wakers.announce(events),
      onJoined: () => this.#wakers.tellHeads(),
      announce: () => this.#wakers.tell('members'),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createJobs(): Jobs {
    const { heartbeatMs, timeToLiveMs, graceMs, pollMs, jobs } = this.#options;
    return new Jobs(this.store.jobs, {
      ...(heartbeatMs !== undefined && { heartbeatMs }),
      ...(timeToLiveMs !== undefined && { timeToLiveMs }),
      ...(graceMs !== undefined && { graceMs }),
      ...(pollMs !== undefined && { pollMs }),
      onError: (error, where) => this.#noteError(error, `jobs: ${where}`),
      ...jobs,
    });
  }

  #createSequencer(): Sequencer {
    const onError = (error: unknown) => this.#noteError(error, 'sequencer');
    return new Sequencer({
      staging: this.store.staging,
      everyMs: [5, 1_000],
      batchMax: 1_000,
      onSequenced: () => {
        const known = this.#wakers.catchUp().then(() => this.#wakers.tellHeads());
        known.catch(onError);
      },
      onError,
    });
  }

  /** Alone, nobody needs notices; a process that only publishes cannot know, so it sends them. */
  #othersListen(): boolean {
    const { membership } = this.#streams;
    return !this.#started || !membership.alive || membership.workers.length > 1;
  }

  #hear(notice: string): void {
    if (notice === 'members') this.#streams.membership.refresh();
    const [what, group, partition] = notice.split(' ');
    if (what === 'failures' && group) this.#streams.lookForRetries(group, Number(partition));
  }

  #noteError(error: unknown, where: string): void {
    this.#errors += 1;
    this.#lastError = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#options.onError?.(error, where);
  }
}

/**
 * The platform assembled over one store: publisher, streams, wakers and watchdog of one process,
 * and the verbs that people use. `connect()` makes one; tests and apps use nothing below it.
 */
import type { Inlet, InletOptions } from './brokers/inlet.ts';
import { BrokerLink } from './brokers/link.ts';
import { BrokerMessageRefused, refusedMessages } from './brokers/refusals.ts';
import { createCatalogue } from './core/catalogue.ts';
import { MillraceError } from './core/errors.ts';
import type { EventDefinition, EventInput } from './core/event.ts';
import { Redactor } from './core/redaction.ts';
import { controlEvents } from './events/control.ts';
import { createDeadLetters, type DeadLetters } from './events/dead-letters.ts';
import { DomainEvents } from './events/domain/domain-events.ts';
import { type Published, Publisher } from './events/publisher.ts';
import { Sequencer } from './events/sequencer.ts';
import type { AnyDefinition, Subscription } from './events/stream/subscription.ts';
import { traced } from './events/stream/traced.ts';
import { Streams } from './events/streams.ts';
import { Jobs } from './jobs/jobs.ts';
import { asSqlTransaction, type CallerTransaction } from './jobs/transaction.ts';
import type { Health, MillraceOptions, Totals } from './millrace-options.ts';
import type { HistoryStore } from './ports/history.ts';
import type { Store } from './ports/store.ts';
import { TracingSwitch } from './ports/tracing.ts';
import { sleep } from './runtime/bell.ts';
import type { DeploymentMode, Heads } from './runtime/heads.ts';
import { createLogUpkeep, keptForEver, type LogUpkeep } from './runtime/log-upkeep.ts';
import { Wakers } from './runtime/wakers.ts';
import type { Telemetry } from './telemetry/telemetry.ts';
import { dagPlugs } from './workflows/dag/plugs.ts';
import { WorkflowOperator } from './workflows/operator/operator.ts';
import { compileSchema } from './workflows/template/json-schema.ts';
import { Workflows } from './workflows/workflows.ts';

const pingMsMax = 3_000;
/** How long a stop publishes what was committed before it leaves the rest to others. */
const relayGraceMs = 2_000;

export type { Health, MillraceOptions };

export class Millrace {
  readonly store: Store;
  readonly workerId = crypto.randomUUID();
  readonly history: HistoryStore;
  readonly deadLetters: DeadLetters;
  readonly publisher: Publisher;
  /** Off unless connect() was told to switch telemetry on. */
  readonly tracing = new TracingSwitch();
  /** Off unless options or an application have rules for it. */
  readonly redaction: Redactor;
  /** Closed with this instance. */
  telemetry: Telemetry | null = null;
  readonly jobs: Jobs;
  readonly workflows: Workflows;
  /** For whoever looks after runs: why, verbs with their checks, dead letters, staleness. */
  readonly operator: WorkflowOperator;
  /** Domain events: declared by workflows, published by steps, subscribed to by anybody. */
  readonly events: DomainEvents<CallerTransaction>;
  /** Relay, feed and topics; null where the log alone carries the events. */
  readonly broker: BrokerLink | null;
  readonly #options: MillraceOptions;
  readonly #wakers: Wakers;
  readonly #sequencer: Sequencer;
  readonly #streams: Streams;
  /** Null: events are kept for ever. */
  readonly #logUpkeep: LogUpkeep | null;
  readonly #definitions = new Map<string, AnyDefinition>();
  readonly #onClose: () => Promise<void>;
  #started = false;
  #closed = false;
  #errors = 0;
  #lastError: string | null = null;

  constructor(store: Store, options: MillraceOptions = {}, onClose = async () => {}) {
    this.store = store;
    this.#options = options;
    this.redaction = new Redactor(options.redaction);
    this.redaction.onWarning = (text) => this.#noteError(new Error(text), 'redaction');
    this.#onClose = onClose;
    this.history = store.history;
    this.#remember([...controlEvents, ...(options.events ?? [])]);
    this.#wakers = this.#createWakers();
    this.broker = this.#createLink();
    this.#streams = this.#createStreams();
    this.publisher = new Publisher({
      store,
      batchMax: options.appendMax ?? 1_000,
      bufferMax: options.bufferMax ?? 20_000,
      patienceMs: 30_000,
      tracing: this.tracing,
      redactor: this.redaction,
      checkRoom: () => this.broker?.checkRoom(),
      onAppended: (events) => this.#wakers.announce(events),
    });
    this.#sequencer = this.#createSequencer();
    this.#logUpkeep = createLogUpkeep(options.logRetentionMs, {
      store: store.retention,
      onError: (error, where) => this.#noteError(error, where),
    });
    this.jobs = this.#createJobs();
    this.events = this.#createDomainEvents();
    this.workflows = this.#createWorkflows();
    this.operator = this.#createOperator();
    this.deadLetters = createDeadLetters({
      failures: store.failures,
      redactor: this.redaction,
      definition: (type) => this.#definitions.get(type) ?? this.events.definitionOf(type),
      onChanged: (group, partition) => this.#announceRetries(group, partition),
    });
    if (this.broker !== null) this.subscribe(refusedMessages());
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
    const given = subscription as unknown as Subscription;
    this.#streams.add(this.tracing.on ? traced(given, this.tracing) : given);
    this.#remember(subscription.events);
  }

  /**
   * Takes events of other systems from topics of theirs into the log, each once. Resolves once the
   * broker has accepted it; stopped with this instance.
   * @example await mill.receive({ topics: ['shop.orders'], events: [OrderPaid] });
   * @throws MillraceError CONFIG_INVALID, BROKER_DENIED, BROKER_TOPIC_UNKNOWN
   */
  async receive(options: InletOptions): Promise<Inlet> {
    if (this.#closed) throw new MillraceError('SHUTTING_DOWN', 'This instance was stopped.');
    if (this.broker === null) {
      throw new MillraceError('CONFIG_INVALID', 'There is no broker to receive events from.', {
        fix: "Connect with one: connect(url, { broker: 'kafka://host:9092' }).",
      });
    }
    this.#remember(options.events ?? []);
    return this.broker.receive(options, {
      publisher: this.publisher,
      definition: (type) => this.#definitions.get(type) ?? this.events.definitionOf(type),
    });
  }

  /** Starts the workers of every subscription. Safe to call again after more subscriptions. */
  async start(): Promise<void> {
    if (this.#closed) throw new MillraceError('SHUTTING_DOWN', 'This instance was stopped.');
    await this.#streams.start();
    if (this.#started) return;
    this.#started = true;
    await this.#wakers.start();
    this.broker?.start();
    this.#sequencer.start();
    this.#logUpkeep?.start();
    this.events.start();
    await this.jobs.start();
    await this.workflows.open();
    this.operator.start();
  }

  /** Drains handlers, hands back the leases, waits for publishes, closes the store. */
  async stop(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.broker?.stopReceiving();
    await this.operator.stop();
    await this.workflows.stop();
    await this.jobs.stop();
    this.broker?.quiesce();
    await this.#streams.stop();
    await this.broker?.leave();
    await this.events.stop();
    await this.publisher.close();
    await this.#logUpkeep?.stop();
    if (this.#started) await this.#sequencer.stop();
    await this.broker?.close(relayGraceMs);
    await this.#wakers.stop();
    await this.telemetry?.close();
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

  /** Of streams and queues: which wakers count, while running. Nothing is lost or restarted. */
  async switchMode(mode: DeploymentMode): Promise<void> {
    await Promise.all([this.#wakers.switchMode(mode), this.jobs.switchMode(mode)]);
  }

  /** Definitions of this process: given, of subscriptions, and our own. */
  get definitions(): readonly AnyDefinition[] {
    return [...this.#definitions.values()];
  }

  /** The groups of this process and the types that they ask for. */
  get subscriptions(): readonly { readonly name: string; readonly types: readonly string[] }[] {
    return this.#streams.subscriptions;
  }

  definitionOf(type: string): AnyDefinition | undefined {
    return this.#definitions.get(type) ?? this.events.definitionOf(type);
  }

  /** Handler calls, failures, settlements and events removed by retention, of this process. */
  totals(): Totals {
    const { published } = this.publisher;
    const removed = this.#logUpkeep?.removed ?? 0;
    return { ...this.#streams.totals(), published, removed };
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
    problems.push(...(this.broker?.problems() ?? []));
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
      log: this.#logUpkeep?.health ?? keptForEver,
      jobs,
      workflows: this.workflows.health(),
      broker: this.broker?.summary() ?? null,
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
      onConnected: () => {
        this.#streams.membership.refresh();
        this.workflows.connected();
      },
      nudge: () => this.#streams.nudge(),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createLink(): BrokerLink | null {
    const { link, heartbeatMs = 1_000, timeToLiveMs = 5_000 } = this.#options;
    if (link === undefined) return null;
    this.#remember([BrokerMessageRefused]);
    return new BrokerLink(link.broker, link.options, {
      store: this.store,
      redactor: this.redaction,
      heads: this.#wakers.heads,
      tail: this.#wakers.tail,
      log: this.#wakers.source,
      heartbeatMs,
      timeToLiveMs,
      positionsAt: (partition) => this.#streams.positionsAt(partition),
      yieldPartitions: (partitions) => this.#streams.membership.yieldPartitions(partitions),
      refreshMembership: () => this.#streams.membership.refresh(),
      append: (event) => this.publisher.append(event),
      onAppended: (events) => {
        this.#wakers.announce(events);
        this.events.heard(events);
      },
      tell: (notice) => this.#wakers.tell(notice),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createStreams(): Streams {
    const { heartbeatMs = 1_000, timeToLiveMs = 5_000, graceMs = 30_000 } = this.#options;
    return new Streams({
      store: this.store,
      source: this.broker?.source ?? this.#wakers.source,
      preference: this.broker?.preference,
      workerId: this.workerId,
      heartbeatMs,
      timeToLiveMs,
      graceMs,
      stallMs: 15_000,
      redactor: this.redaction,
      onAppended: (events) => {
        this.#wakers.announce(events);
        this.events.heard(events);
      },
      onJoined: () => this.#wakers.tellHeads(),
      announce: () => this.#wakers.tell('members'),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createJobs(): Jobs {
    const { heartbeatMs, timeToLiveMs, graceMs, pollMs, mode, jobs } = this.#options;
    return new Jobs(this.store.jobs, {
      ...(mode !== undefined && { mode }),
      ...(heartbeatMs !== undefined && { heartbeatMs }),
      ...(timeToLiveMs !== undefined && { timeToLiveMs }),
      ...(graceMs !== undefined && { graceMs }),
      ...(pollMs !== undefined && { pollMs }),
      tracing: this.tracing,
      onError: (error, where) => this.#noteError(error, `jobs: ${where}`),
      ...jobs,
    });
  }

  #createDomainEvents(): DomainEvents<CallerTransaction> {
    const { domainEvents, graceMs = 30_000 } = this.#options;
    return new DomainEvents<CallerTransaction>({
      options: domainEvents,
      workerId: this.workerId,
      graceMs,
      publisher: this.publisher,
      staging: this.store.staging,
      failures: this.store.failures,
      history: this.store.history,
      deadLetters: () => this.deadLetters,
      compile: compileSchema,
      toTransaction: asSqlTransaction,
      onStaged: () => this.#sequencer.wake(),
      join: (subscription) => {
        this.#streams.add(subscription);
        return this.#started && !this.#closed ? this.#streams.start() : Promise.resolve();
      },
      leave: (group) => this.#streams.remove(group),
      onLettersChanged: (group, partition) => this.#announceRetries(group, partition),
      onError: (error, where) => this.#noteError(error, where),
    });
  }

  #createWorkflows(): Workflows {
    const { graceMs, workflows } = this.#options;
    const subscribe = (subscription: Subscription) => {
      this.#streams.add(subscription);
      if (!this.#started) return;
      this.#streams.start().catch((error) => this.#noteError(error, 'workflows'));
    };
    const surroundings = {
      store: this.store,
      jobs: this.jobs,
      staged: () => this.#sequencer.wake(),
      tell: (notice: string) => this.#wakers.tell(notice),
      domainEvents: this.events,
      subscribe,
    };
    const engine = new Workflows(surroundings, {
      tracing: this.tracing,
      ...(graceMs !== undefined && { graceMs }),
      onError: (error, where) => this.#noteError(error, `workflows: ${where}`),
      ...workflows,
    });
    engine.plug(dagPlugs(() => engine.definitions));
    return engine;
  }

  #createOperator(): WorkflowOperator {
    const { lifecycle, stalenessBatch, stalenessSweepMs } = this.#options.workflows ?? {};
    return new WorkflowOperator({
      workflows: this.store.workflows,
      jobs: this.store.jobs,
      definitions: () => this.workflows.definitions,
      lifecycle,
      sweepEveryMs: stalenessSweepMs,
      sweepBatch: stalenessBatch,
      deliver: (messages) => this.workflows.deliver(messages),
      onError: (error, where) => this.#noteError(error, `workflows: ${where}`),
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

  /** Failures of a group were changed: the owner of the partition, here or elsewhere, looks. */
  #announceRetries(group: string, partition: number): void {
    this.#streams.lookForRetries(group, partition);
    this.broker?.lookForRetries(group, partition);
    this.#wakers.tell(`failures ${group} ${partition}`);
  }

  #hear(notice: string): void {
    if (notice === 'members') this.#streams.membership.refresh();
    const [what, group, partition] = notice.split(' ');
    this.workflows.hear(notice);
    const asked = this.broker?.hear(notice) ?? null;
    if (asked !== null) this.#streams.membership.asked(asked);
    if (what === 'failures' && group) this.#streams.lookForRetries(group, Number(partition));
  }

  #noteError(error: unknown, where: string): void {
    this.#errors += 1;
    this.#lastError = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#options.onError?.(error, where);
  }
}

/**
 * A process and its broker: relay and feed under one life, the topics they need, and how they are
 * doing. `mill.broker` is one; without a broker there is none, and streams read the log.
 *
 *   publish ─> log ─> relay ─> topic ─> feed ─> streams ─> effects + cursor, one transaction
 */
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import type { Redactor } from '../core/redaction.ts';
import type { Broker, OutgoingEvent, PartitionLag, TopicInfo } from '../ports/broker.ts';
import type { RoutedEvent, Store } from '../ports/store.ts';
import type { GroupPartition } from '../ports/streams.ts';
import type { Heads } from '../runtime/heads.ts';
import type { Preference } from '../runtime/membership.ts';
import type { EventSource } from '../runtime/source.ts';
import type { Tail } from '../runtime/tail.ts';
import { Feed, isAway } from './feed.ts';
import { FeedSource } from './feed-source.ts';
import { Inlet, type InletOptions, type InletSurroundings } from './inlet.ts';
import { type LinkStatus, type RelayLag, readStatus, relayLag } from './link-status.ts';
import { type BrokerOptions, type LinkSettings, linkSettings } from './options.ts';
import { Refusals } from './refusals.ts';
import { Relay, relayGroup } from './relay.ts';
import { type TopicNames, topicNames } from './topics.ts';

/** What the process around it offers and wants to hear. */
export interface LinkSurroundings {
  readonly store: Store;
  /** Masks what is kept of refused messages. */
  readonly redactor?: Redactor | undefined;
  readonly heads: Heads;
  readonly tail: Tail;
  /** The log, as streams read it without a broker. */
  readonly log: EventSource;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  positionsAt(partition: number): readonly number[];
  /** Hands back the leases of these once what is under way is settled. */
  yieldPartitions(partitions: readonly number[]): Promise<void>;
  /** What the broker brings here has changed. */
  refreshMembership(): void;
  append(event: RoutedEvent): Promise<unknown>;
  onAppended(events: readonly StoredEvent[]): void;
  tell(notice: string): void;
  onError(error: unknown, where: string): void;
}

/** What this process knows of its broker without asking it. */
export interface BrokerSummary {
  readonly name: string;
  readonly group: string;
  readonly topic: string;
  /** Milliseconds since it was last known to be there; null while it is. */
  readonly awayForMs: number | null;
  /** Log partitions that it brings here, and that are relayed here. */
  readonly assigned: readonly number[];
  readonly relays: readonly number[];
  readonly relayed: number;
  readonly delivered: number;
  readonly refused: number;
}

/** Between two looks at how far the relay is, where a limit asks for it. */
const lagEveryMs = 1_000;

export class BrokerLink {
  readonly broker: Broker;
  readonly settings: LinkSettings;
  readonly topics: TopicNames;
  readonly relay: Relay;
  readonly feed: Feed;
  readonly refusals: Refusals;
  /** Where streams of this process get their events. */
  readonly source: EventSource;
  readonly #around: LinkSurroundings;
  readonly #inlets = new Set<Inlet>();
  /** Topics that had as many partitions as the log when the relay first looked. */
  readonly #fitting = new Set<string>();
  #topicProblem: string | null = null;
  #started = false;
  #leaving = false;
  #lagging = 0;
  #lagTimer: NodeJS.Timeout | null = null;

  constructor(broker: Broker, options: BrokerOptions, around: LinkSurroundings) {
    this.broker = broker;
    this.#around = around;
    this.settings = linkSettings(options);
    this.topics = topicNames(this.settings.topic);
    this.refusals = new Refusals({
      topics: this.topics,
      partitions: around.store.partitions,
      // Of a broker that is away now, it is known once it is there.
      get stablePositions() {
        return broker.capabilities.replays;
      },
      redactor: around.redactor,
      append: around.append,
      onError: (error) => around.onError(error, 'refusals'),
    });
    this.relay = this.#createRelay();
    this.feed = this.#createFeed();
    this.source = new FeedSource(this.feed, around.log);
  }

  /** For the membership of streams: what the broker brings comes first. */
  get preference(): Preference {
    return {
      prefers: (partition) => this.feed.prefers(partition),
      patienceMs: 2 * this.#around.timeToLiveMs,
      ask: ({ group, partition }) => this.#around.tell(`wanted ${group} ${partition}`),
    };
  }

  /** Makes the relay known: what is published from now on goes out. Safe to repeat. */
  async register(): Promise<void> {
    const { streams } = this.#around.store;
    await streams.registerGroup({
      group: relayGroup,
      eventTypes: ['*'],
      from: this.settings.from,
    });
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.relay.start();
    this.feed.start();
    if (this.settings.lagMax !== null) this.#watchLag();
  }

  /** Takes no more deliveries: streams finish what they have. */
  quiesce(): void {
    this.feed.quiesce();
  }

  /** The streams have ended: tells the broker what is done and leaves the group. */
  async leave(): Promise<void> {
    this.#leaving = true;
    if (this.#lagTimer !== null) clearTimeout(this.#lagTimer);
    if (this.#started) await this.feed.stop();
  }

  /** Publishes what was committed, for the grace at most, and closes the connections. */
  async close(graceMs: number): Promise<void> {
    if (this.#started) await this.relay.stop(graceMs);
    await this.broker.close().catch((error) => this.#around.onError(error, 'broker'));
  }

  /** @throws MillraceError BACKPRESSURE when the broker lags by more than is allowed. */
  checkRoom(): void {
    const { lagMax } = this.settings;
    if (lagMax === null || this.#lagging <= lagMax) return;
    throw new MillraceError(
      'BACKPRESSURE',
      `The broker lags ${this.#lagging} events behind the log; ${lagMax} are allowed.`,
      { details: { where: relayGroup, waiting: this.#lagging, limit: lagMax } },
    );
  }

  /** A notice of another process. */
  hear(notice: string): GroupPartition | null {
    const [what, group, partition] = notice.split(' ');
    if (what === 'members') this.relay.refresh();
    if (what === 'failures' && group === relayGroup) this.relay.lookForRetries(Number(partition));
    if (what !== 'wanted' || group === undefined) return null;
    return { group, partition: Number(partition) };
  }

  /** In this process: somebody changed dead letters of the relay. */
  lookForRetries(group: string, partition: number): void {
    if (group === relayGroup) this.relay.lookForRetries(partition);
  }

  /** How far the relay is behind the log, by partition; of all processes together. */
  relayLag(): Promise<RelayLag[]> {
    return relayLag(this.#around.store);
  }

  /** What the broker has and the group of this platform has not acknowledged. */
  async consumerLag(): Promise<readonly PartitionLag[]> {
    return this.broker.lag(this.settings.group, await this.#topicsThere());
  }

  /** Topics of the template that the broker has. */
  async topicsAtBroker(): Promise<readonly TopicInfo[]> {
    const { template, perTenant } = this.topics;
    const found = await this.broker.topics(perTenant ? undefined : [template]);
    return found.filter(({ topic }) => this.topics.includes(topic));
  }

  /** Makes them where they are missing, with as many partitions as the log has. */
  async createTopics(topics: readonly string[]): Promise<void> {
    const { replicas, retentionMs } = this.settings;
    const { partitions } = this.#around.store;
    await this.broker.createTopics(
      topics.map((topic) => ({ topic, partitions, replicas, retentionMs })),
    );
    this.#topicProblem = null;
  }

  status(): Promise<LinkStatus> {
    return readStatus(this, this.#around.store.logId);
  }

  /** Of this process since it started, for counters. */
  totals(): Readonly<Record<string, number>> {
    const { relayed, batches, retries, refused } = this.relay.counts;
    const { delivered, duplicates, gaps, acknowledged, refused: refusedHere } = this.feed.counts;
    return {
      ...{ relayed, relay_batches: batches, relay_retries: retries, relay_refused: refused },
      ...{ delivered, duplicates, gaps, acknowledged, refused: refusedHere },
    };
  }

  summary(): BrokerSummary {
    const { feed, relay, settings } = this;
    return {
      name: this.broker.name,
      group: settings.group,
      topic: settings.topic,
      awayForMs: feed.presence.awayForMs,
      assigned: feed.assigned,
      relays: relay.partitions.map(({ partition }) => partition).sort((a, b) => a - b),
      relayed: relay.counts.relayed,
      delivered: feed.counts.delivered,
      refused: feed.counts.refused,
    };
  }

  /** Takes events of other systems into the log, from topics of theirs. */
  async receive(
    options: InletOptions,
    known: Pick<InletSurroundings, 'publisher' | 'definition'>,
  ): Promise<Inlet> {
    const { store, redactor, onAppended, onError } = this.#around;
    const inlet = new Inlet(options, {
      ...known,
      broker: this.broker,
      store,
      redactor,
      onAppended,
      onError: (error, where) => onError(error, `inlet: ${where}`),
    });
    this.#inlets.add(inlet);
    try {
      await inlet.start();
    } catch (error) {
      this.#inlets.delete(inlet);
      throw error;
    }
    return inlet;
  }

  get inlets(): readonly Inlet[] {
    return [...this.#inlets];
  }

  async stopReceiving(): Promise<void> {
    await Promise.all([...this.#inlets].map((inlet) => inlet.stop()));
  }

  /** For people; empty when all is well. */
  problems(): string[] {
    const problems: string[] = [];
    if (!this.#started) return problems;
    if (this.feed.presence.away) {
      problems.push(`the broker is away: ${this.feed.presence.problem}`);
    } else if (this.#topicProblem !== null) problems.push(this.#topicProblem);
    if (!this.relay.alive) problems.push('the heartbeat of the relay is overdue');
    const failing = this.relay.partitions.filter(({ failingForMs }) => (failingForMs ?? 0) > 1_000);
    if (failing.length > 0) {
      problems.push(
        `the relay cannot publish ${failing.length} partitions: ${this.relay.lastError}`,
      );
    }
    return problems;
  }

  #createRelay(): Relay {
    const { store, log, heartbeatMs, timeToLiveMs, tell, onAppended, onError } = this.#around;
    const { batchMax, batchBytesMax } = this.settings;
    return new Relay({
      store,
      source: log,
      broker: this.broker,
      topics: this.topics,
      heartbeatMs,
      timeToLiveMs,
      batchMax,
      bytesMax: batchBytesMax,
      checkTopics: (events) => this.#checkForRelay(events),
      createTopics: (topics) => this.#mend(topics),
      onAppended,
      announce: () => tell('members'),
      onError: (error, where) => {
        if (isAway(error)) this.feed.presence.doubt();
        onError(error, where);
      },
    });
  }

  #createFeed(): Feed {
    const { store, heads, tail, timeToLiveMs, onError } = this.#around;
    const { group, memberId, bufferMax, gapMs, patienceMs } = this.settings;
    return new Feed({
      broker: this.broker,
      store,
      heads,
      tail,
      topics: this.topics,
      group,
      memberId,
      relayGroup,
      eventsMax: bufferMax,
      charsMax: 32_000_000,
      gapMs,
      unownedMs: 2 * timeToLiveMs,
      patienceMs,
      positionsAt: (partition) => this.#around.positionsAt(partition),
      onRevoked: (partitions) => this.#around.yieldPartitions(partitions),
      onAssigned: () => this.#around.refreshMembership(),
      refuse: (refusals) => this.refusals.refuse(refusals),
      ensureTopics: () => this.#ensureTopics(),
      onError,
    });
  }

  /** The topics to read, made where they are missing and may be made. */
  async #ensureTopics(): Promise<readonly string[]> {
    if (this.topics.perTenant) return this.#topicsThere();
    const wanted = [this.topics.template];
    try {
      if (this.settings.createTopics) await this.createTopics(wanted);
      else await this.#checkTopics(wanted);
    } catch (error) {
      this.#topicProblem = error instanceof Error ? error.message : String(error);
      throw error;
    }
    return wanted;
  }

  async #topicsThere(): Promise<readonly string[]> {
    const { partitions } = this.#around.store;
    const found = await this.topicsAtBroker();
    const other = found.find((topic) => topic.partitions !== partitions);
    this.#topicProblem = other
      ? `the topic ${other.topic} has ${other.partitions} partitions; the log has ${partitions}`
      : null;
    return found.filter((topic) => topic.partitions === partitions).map(({ topic }) => topic);
  }

  async #checkTopics(wanted: readonly string[]): Promise<void> {
    const found = await this.#findFitting(wanted);
    const missing = wanted.find((topic) => !found.some((one) => one.topic === topic));
    if (missing !== undefined) {
      throw new MillraceError('BROKER_TOPIC_UNKNOWN', `The topic ${missing} does not exist.`);
    }
    this.#topicProblem = null;
  }

  /** Those that are there. @throws MillraceError BROKER_TOPIC_MISMATCH */
  async #findFitting(wanted: readonly string[]): Promise<readonly TopicInfo[]> {
    const { partitions } = this.#around.store;
    const found = await this.broker.topics(wanted);
    for (const { topic, partitions: count } of found) {
      if (count === partitions) continue;
      throw new MillraceError(
        'BROKER_TOPIC_MISMATCH',
        `The topic ${topic} has ${count} partitions; the log has ${partitions}.`,
      );
    }
    return found;
  }

  /** Events in a topic of more partitions would lie where nobody who hashes their keys looks. */
  async #checkForRelay(events: readonly OutgoingEvent[]): Promise<void> {
    const fresh = new Set<string>();
    for (const { topic } of events) if (!this.#fitting.has(topic)) fresh.add(topic);
    if (fresh.size === 0) return;
    // Missing ones are made when publishing says so.
    for (const { topic } of await this.#findFitting([...fresh])) this.#fitting.add(topic);
  }

  /** The relay found that topics are missing. */
  async #mend(topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.#fitting.delete(topic);
    if (!this.settings.createTopics) {
      this.#topicProblem = `topics are missing: ${topics.join(', ')}`;
      return;
    }
    await this.createTopics(topics);
    await this.feed.lookForTopics();
  }

  #watchLag(): void {
    const look = async () => {
      try {
        const lags = await this.relayLag();
        this.#lagging = lags.reduce((sum, { events }) => sum + events, 0);
      } catch (error) {
        this.#around.onError(error, 'relay lag');
      }
      if (!this.#leaving) this.#lagTimer = setTimeout(look, lagEveryMs);
    };
    void look();
  }
}

/**
 * A member of a group. Members share the partitions among themselves (sharing.ts) from what they
 * say to each other (talk.ts, roster.ts); the server's single active consumer sees to it that two
 * who disagree for a moment never get deliveries of one partition at the same time.
 *
 * A partition moves so: its holder stops delivering, waits for `onRevoked`, has its
 * acknowledgements confirmed, closes the channel, and says that it holds it no more; then the next
 * one consumes it. Everything is worked out again every second and whenever somebody comes or goes,
 * one time after the other, so that a word that was missed delays and decides nothing.
 */
import { randomUUID } from 'node:crypto';
import type { BrokerSubscription, SubscribeOptions, TopicPartition } from '../../ports/broker.ts';
import { isMissing, isUnknownTopic, unavailable, within } from './failures.ts';
import type { Link } from './link.ts';
import { queueOf } from './names.ts';
import { PartitionConsumer, prefetch } from './partition-consumer.ts';
import { Roster, type Word } from './roster.ts';
import { share } from './sharing.ts';
import { isConnected, Talk } from './talk.ts';
import { inTurns, type Topics } from './topics.ts';

/** A member speaks this often; with many topics less often. */
const everyMsMin = 1_000;
const msPerTopic = 10;
/** Before a member that has just joined takes anything: the others answer within it. */
const settleMs = 250;
const revokeMsMax = 5_000;
const rejoinMs = 1_000;
const farewellMsMax = 1_000;
const lookMs = 5_000;
const consumeMsMax = 10_000;
/** A queue without its majority, or one that a crash has left broken, says nothing at all. */
const deafMs = 60_000;
const refusedMs = 1_000;
/** From letting go to the server's knowing it; beyond, we stand in line there. */
const busyMs = 30;
const busyMsMax = 10_000;

export interface SubscriptionSettings {
  readonly link: Link;
  /** What members say to each other is published. */
  readonly voice: Link;
  readonly topics: Topics;
  readonly options: SubscribeOptions;
  onClosed(subscription: Subscription): void;
}

const nameOf = ({ topic, partition }: TopicPartition) => `${topic}#${partition}`;

export class Subscription implements BrokerSubscription {
  readonly #settings: SubscriptionSettings;
  readonly #options: SubscribeOptions;
  readonly #topicNames: readonly string[];
  readonly #everyMs: number;
  /** By `nameOf`: what is consumed. */
  readonly #held = new Map<string, PartitionConsumer>();
  /** By `nameOf`: the last position that was given. */
  readonly #last = new Map<string, number>();
  readonly #paused = new Set<string>();
  readonly #lost: PartitionConsumer[] = [];
  /** Consumed, and not told of yet. */
  readonly #ready: PartitionConsumer[] = [];
  /** By `nameOf`: the server says that it is consumed, and nobody says that he does. */
  readonly #busySince = new Map<string, number>();
  /** By `nameOf`: queues that failed or did not answer rest until then. */
  readonly #notBefore = new Map<string, number>();
  readonly #unlisten: () => void;
  /** By topic: what is ours among these members; they rarely change. */
  readonly #shares = new Map<string, { readonly key: string; readonly own: readonly number[] }>();
  /** Topics that were there when we joined. */
  #present: readonly string[] = [];
  #lookAt = 0;
  #roster = new Roster('');
  #talk: Talk | null = null;
  #memberId = '';
  #settledAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #arranging: Promise<void> | null = null;
  #again = false;
  #leaving = false;
  #closing: Promise<void> | null = null;

  private constructor(settings: SubscriptionSettings) {
    this.#settings = settings;
    this.#options = settings.options;
    this.#topicNames = [...new Set(settings.options.topics)];
    this.#everyMs = Math.max(everyMsMin, this.#topicNames.length * msPerTopic);
    this.#unlisten = settings.link.listen({
      onOpen: () => {
        this.#leaving = false;
        this.#arrange();
      },
      onLost: () => {}, // channels have told already
      onLeaving: () => this.#leave(),
    });
  }

  /** @throws MillraceError BROKER_TOPIC_UNKNOWN, BROKER_DENIED, BROKER_UNAVAILABLE */
  static async open(settings: SubscriptionSettings): Promise<Subscription> {
    const subscription = new Subscription(settings);
    try {
      await subscription.#join();
    } catch (error) {
      subscription.#unlisten();
      throw error;
    }
    subscription.#arrange();
    subscription.#tick();
    return subscription;
  }

  get assigned(): readonly TopicPartition[] {
    const assigned = [...this.#held.values()].filter(({ isAssigned }) => isAssigned);
    return assigned.map(({ place }) => place);
  }

  async acknowledge(
    deliveries: readonly (TopicPartition & { readonly position: string })[],
  ): Promise<void> {
    const highest = new Map<string, string>();
    for (const delivery of deliveries) {
      const name = nameOf(delivery);
      const before = highest.get(name);
      if (before === undefined || Number(before) < Number(delivery.position)) {
        highest.set(name, delivery.position);
      }
    }
    const told = [...highest].map(([name, position]) =>
      this.#held.get(name)?.acknowledge(position),
    );
    const outcomes = await Promise.allSettled(told);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const name of partitions.map(nameOf)) {
      this.#paused.add(name);
      this.#held.get(name)?.pause();
    }
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const name of partitions.map(nameOf)) {
      this.#paused.delete(name);
      this.#held.get(name)?.resume();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#unlisten();
    await this.#arranging;
    await this.#release([...this.#held.values()]);
    await this.#sayGoodbye();
    this.#settings.onClosed(this);
  }

  /** The connection is about to be made anew. */
  async #leave(): Promise<void> {
    this.#leaving = true;
    await this.#arranging;
    await this.#release([...this.#held.values()]);
    await this.#sayGoodbye();
  }

  async #sayGoodbye(): Promise<void> {
    const talk = this.#talk;
    this.#talk = null;
    if (talk === null) return;
    const words = this.#present.map((topic) => talk.say(topic, this.#word(talk, topic, true)));
    await within(Promise.all(words), farewellMsMax, 'taking leave').catch(() => {});
    await talk.close();
  }

  async #join(): Promise<void> {
    const { link, voice } = this.#settings;
    const { group, memberId } = this.#options;
    await this.#declare();
    // A name that lasts decides what it gets; the rest tells one process from the next.
    this.#memberId = `${memberId ?? 'member'}-${randomUUID()}`;
    this.#roster = new Roster(this.#memberId);
    const talk = await Talk.open({
      link,
      voice,
      group,
      topics: this.#present,
      memberId: this.#memberId,
      onWord: (word) => this.#hear(word),
      onClosed: (talk) => this.#silenced(talk),
    });
    this.#talk = talk;
    this.#settledAt = performance.now() + settleMs;
    for (const topic of this.#present) {
      void talk.say(topic, { ask: true });
      void talk.say(topic, this.#word(talk, topic));
    }
  }

  /** The first time all topics must be there; one that was deleted later stops no other one. */
  async #declare(): Promise<void> {
    const { topics, options } = this.#settings;
    const isFirst = this.#memberId === '';
    const unknown: unknown[] = [];
    const found = await inTurns(this.#topicNames, async (topic) => {
      try {
        await topics.declareGroup(topic, options.group);
        return [topic];
      } catch (error) {
        if (!isUnknownTopic(error)) throw error;
        unknown.push(error);
        return [];
      }
    });
    const present = found.flat();
    if (unknown.length > 0 && (isFirst || present.length === 0)) throw unknown[0];
    for (const error of unknown) options.onError(error, 'joining again');
    this.#present = present;
    this.#lookAt = performance.now() + lookMs;
  }

  /** Topics that were not there are looked for now and then. */
  async #lookForMissing(): Promise<void> {
    if (this.#present.length === this.#topicNames.length) return;
    if (performance.now() < this.#lookAt) return;
    this.#lookAt = performance.now() + lookMs;
    const missing = this.#topicNames.filter((topic) => !this.#present.includes(topic));
    const found = await this.#settings.topics.list(missing);
    if (found.length > 0) await this.#rejoin();
  }

  #silenced(talk: Talk): void {
    if (this.#talk !== talk) return;
    this.#talk = null;
    this.#arrange();
  }

  #hear(word: Word | 'ask'): void {
    if (word === 'ask') this.#say();
    else if (this.#roster.hear(word, performance.now())) this.#arrange();
  }

  #say(): void {
    const talk = this.#talk;
    if (talk === null) return;
    for (const topic of this.#present) void talk.say(topic, this.#word(talk, topic));
  }

  #word(talk: Talk, topic: string, leaves = false): Word {
    const holds = [...this.#held.values()]
      .filter(({ place }) => place.topic === topic)
      .map((consumer) => [consumer.place.partition, consumer.unacknowledged] as const);
    const { queue } = talk;
    return { topic, member: this.#memberId, queue, holds, everyMs: this.#everyMs, leaves };
  }

  #tick(): void {
    this.#timer = setTimeout(() => {
      this.#say();
      this.#arrange();
      this.#tick();
    }, this.#everyMs);
  }

  /** Once at a time; what changes meanwhile is looked at afterwards. */
  #arrange(): void {
    if (this.#closing !== null || this.#leaving) return;
    if (this.#arranging !== null) {
      this.#again = true;
      return;
    }
    this.#arranging = this.#arranged()
      .catch((error: unknown) => this.#options.onError(error, 'sharing the partitions'))
      .finally(() => {
        this.#arranging = null;
        if (!this.#again) return;
        this.#again = false;
        this.#arrange();
      });
  }

  async #arranged(): Promise<void> {
    const { link } = this.#settings;
    // Of a lost connection the channels tell first, one by one.
    if (this.#talk === null) await new Promise((resolve) => setImmediate(resolve));
    if (!link.isOpen) return; // `onOpen` comes back here
    if (this.#talk === null) await this.#rejoin();
    else await this.#lookForMissing();
    await this.#buryTheDead();
    const wanted = new Map(this.#share().map((place) => [nameOf(place), place]));
    const surplus = [...this.#held].flatMap(([name, one]) => (wanted.has(name) ? [] : [one]));
    await this.#release(surplus);
    const early = this.#settledAt - performance.now();
    if (early > 0) {
      setTimeout(() => this.#arrange(), early + 1);
      return;
    }
    const now = performance.now();
    const free = [...wanted].flatMap(([name, place]) => {
      const isDeaf = (this.#notBefore.get(name) ?? 0) > now;
      return isDeaf || this.#held.has(name) || this.#roster.isHeld(place) ? [] : [place];
    });
    await this.#take(free);
  }

  /** Everything that was held is lost by now: it came over the same connection. */
  async #rejoin(): Promise<void> {
    await this.#release([...this.#held.values()]);
    await this.#sayGoodbye();
    try {
      await this.#join();
    } catch (error) {
      if (this.#settings.link.isOpen) setTimeout(() => this.#arrange(), rejoinMs);
      throw error;
    }
  }

  async #buryTheDead(): Promise<void> {
    const suspects = [...this.#roster.suspects(performance.now())];
    await inTurns(suspects, async ([member, queue]) => {
      const connected = await isConnected(this.#settings.link, queue);
      if (connected === false) this.#roster.forget(member);
      if (connected === true) this.#roster.spare(member, performance.now());
    });
  }

  #share(): TopicPartition[] {
    return this.#present.flatMap((topic) => {
      const partitions = this.#settings.topics.known(topic) ?? 0;
      const members = this.#roster.members(topic);
      const key = `${partitions}/${[...members].sort().join('/')}`;
      let known = this.#shares.get(topic);
      if (known?.key !== key) {
        const holders = share(topic, partitions, members);
        const own = holders.flatMap((member, p) => (member === this.#memberId ? [p] : []));
        known = { key, own };
        this.#shares.set(topic, known);
      }
      return known.own.map((partition) => ({ topic, partition }));
    });
  }

  async #take(places: readonly TopicPartition[]): Promise<void> {
    const failures: unknown[] = [];
    await inTurns(places, async (place) => {
      try {
        const consumer = await this.#consume(place);
        if (consumer === null) return;
        this.#ready.push(consumer);
        if (this.#ready.length === 1) setImmediate(() => this.#start(this.#ready.splice(0)));
      } catch (error) {
        failures.push(error);
      }
    });
    if (failures.length > 0) throw failures[0];
  }

  /** Those that the server has accepted at about the same time. */
  #start(consumers: readonly PartitionConsumer[]): void {
    const started = consumers.filter((one) => this.#held.get(nameOf(one.place)) === one);
    if (started.length === 0 || this.#closing !== null) return;
    for (const consumer of started) consumer.isAssigned = true;
    this.#options.onAssigned(started.map(({ place }) => place));
    for (const consumer of started) consumer.start(this.#paused.has(nameOf(consumer.place)));
    this.#say();
  }

  /** Null: somebody who has not said so holds it still; it is tried again at once. */
  async #consume(place: TopicPartition): Promise<PartitionConsumer | null> {
    const { group, inFlightMax = prefetch, onDeliveries, onError } = this.#options;
    const name = nameOf(place);
    const now = performance.now();
    const busySince = this.#busySince.get(name) ?? now;
    const opening = PartitionConsumer.open({
      link: this.#settings.link,
      place,
      queue: queueOf(place.topic, group, place.partition),
      base: this.#last.get(name) ?? 0,
      inFlightMax: Math.min(inFlightMax, prefetch),
      mayWait: now - busySince > busyMsMax,
      onDeliveries,
      onError,
      onLost: (lost) => this.#lose(lost),
    });
    const consumer = await within(opening, consumeMsMax, `consuming '${name}'`).catch((error) => {
      const restMs = error.cause === undefined ? deafMs : refusedMs;
      this.#notBefore.set(name, performance.now() + restMs);
      void opening.then((late) => late?.close()).catch(() => {});
      // Somebody deleted it: it is declared again when we join again.
      if (isMissing(error.cause)) void this.#talk?.close();
      throw error;
    });
    if (consumer === null) {
      this.#busySince.set(name, busySince);
      setTimeout(() => this.#arrange(), busyMs);
      return null;
    }
    this.#busySince.delete(name);
    if (consumer.isOver) throw unavailable(`consuming '${name}' ended at once`);
    this.#held.set(name, consumer);
    return consumer;
  }

  async #release(consumers: readonly PartitionConsumer[]): Promise<void> {
    if (consumers.length === 0) return;
    for (const consumer of consumers) consumer.stop();
    await this.#revoke(consumers, false); // one that is lost meanwhile is not told of again
    await Promise.all(
      consumers.map(async (consumer) => {
        await consumer.close();
        this.#drop(consumer);
      }),
    );
    this.#say();
  }

  #lose(consumer: PartitionConsumer): void {
    if (this.#held.get(nameOf(consumer.place)) !== consumer) return;
    this.#drop(consumer);
    // Channels of a lost connection end one by one, and are told of together.
    this.#lost.push(consumer);
    if (this.#lost.length > 1) return;
    queueMicrotask(() => {
      void this.#revoke(this.#lost.splice(0), true);
      this.#arrange();
    });
  }

  #drop(consumer: PartitionConsumer): void {
    const name = nameOf(consumer.place);
    this.#last.set(name, consumer.last);
    if (this.#held.get(name) === consumer) this.#held.delete(name);
  }

  async #revoke(consumers: readonly PartitionConsumer[], lost: boolean): Promise<void> {
    const places = consumers.filter(({ isAssigned }) => isAssigned).map(({ place }) => place);
    if (places.length === 0) return;
    for (const consumer of consumers) consumer.isAssigned = false;
    try {
      const told = Promise.resolve(this.#options.onRevoked(places, lost));
      await within(told, revokeMsMax, 'onRevoked');
    } catch (error) {
      this.#options.onError(error, 'onRevoked');
    }
  }
}

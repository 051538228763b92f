/**
 * The broker port: what Millrace asks of Kafka, RabbitMQ, Redis Streams or its own log to carry
 * events to the processes that handle them. Small on purpose: publish a batch, subscribe a group,
 * topics, lag, health, close. What differs between brokers is data (`capabilities`), never a name
 * that somebody compares. `broker.conformance.ts` proves it for each driver.
 *
 * Invariants every driver keeps: `publish` resolves after the broker has acknowledged every event
 * as durably as it can, and events of one partition are stored in the order given; a delivery that
 * was not acknowledged is delivered again, to this member or another one; deliveries of one
 * partition come in order, and to one member of a group at a time; nothing is acknowledged but by
 * `acknowledge`.
 */
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { Event } from '../core/event.ts';

/** Where an event stands in the log that keeps it. */
export interface LogPlace {
  /** Of the database: events of another log's partition 3 are none of ours. */
  readonly logId: string;
  readonly partition: number;
  readonly offset: number;
}

export interface OutgoingEvent {
  readonly topic: string;
  /** Of the topic, from 0. Chosen by the caller with `partitionFor`, and never by a client. */
  readonly partition: number;
  readonly event: Event;
  /** JSON text of its payload. */
  readonly payloadJson: string;
  /** Null when there is no metadata. */
  readonly metadataJson: string | null;
  /** Null for an event that is in no log. */
  readonly place: LogPlace | null;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** One message as a member of a group gets it. */
export interface Delivery extends TopicPartition {
  /** The broker's own, ascending within the partition: Kafka's offset, a tag, an entry id. */
  readonly position: string;
  /** What came; null when it is no CloudEvent, and `problem` says why. */
  readonly event: ReceivedEvent | null;
  /** For people: what is wrong with it. */
  readonly problem: string | null;
  /** Of a message that cannot be read: its first 64 KiB. */
  readonly raw: Uint8Array | null;
  /** The broker knows that it was delivered before. False where it does not know. */
  readonly redelivered: boolean;
}

export interface SubscribeOptions {
  /** Members with the same name share the partitions. */
  readonly group: string;
  readonly topics: readonly string[];
  /** Where a group that has no position yet begins. */
  readonly from: 'start' | 'end';
  /** A stable name of this member: after a quick restart it has its partitions back at once. */
  readonly memberId?: string | undefined;
  /** Deliveries of one partition that are not acknowledged, at most. 1,000 by default. */
  readonly inFlightMax?: number | undefined;
  /**
   * Deliveries of one partition, in order, at least one. The next ones may come before these are
   * acknowledged. Must not throw; takes its time by pausing.
   */
  onDeliveries(partition: TopicPartition, deliveries: readonly Delivery[]): void;
  /** From now on deliveries of these may come. */
  onAssigned(partitions: readonly TopicPartition[]): void;
  /**
   * Others get these now. The driver waits for the promise (5 s at most): what is acknowledged
   * until then counts. `lost`: they are gone already, acknowledging has no effect.
   */
  onRevoked(partitions: readonly TopicPartition[], lost: boolean): Promise<void> | void;
  /** Survived: the driver goes on by itself. */
  onError(error: unknown, where: string): void;
}

export interface BrokerSubscription {
  /** What this member has now. */
  readonly assigned: readonly TopicPartition[];
  /**
   * Everything of the partition up to this one is done. May be told many at once, in any order;
   * a lower one than before changes nothing. Resolves when the broker knows. Rejects with
   * BROKER_UNAVAILABLE; of a partition that this member lost it resolves and does nothing.
   */
  acknowledge(
    deliveries: readonly (TopicPartition & { readonly position: string })[],
  ): Promise<void>;
  /** No deliveries of these until resumed; what was fetched already may still come. */
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  /** Leaves the group: partitions go to others at once. Waits for acknowledgements under way. */
  close(): Promise<void>;
}

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  /** Copies of each partition; the broker's default when left out. */
  readonly replicas?: number | undefined;
  /** How long messages are kept, milliseconds; the broker's default when left out. */
  readonly retentionMs?: number | undefined;
}

export interface TopicInfo {
  readonly topic: string;
  readonly partitions: number;
}

export interface PartitionLag extends TopicPartition {
  /** Messages that the group has not acknowledged. */
  readonly lag: number;
}

export interface BrokerHealth {
  readonly ok: boolean;
  /** Null when ok. */
  readonly problem: string | null;
  /** Round trip, milliseconds; null when there was none. */
  readonly latencyMs: number | null;
}

/** What differs between brokers, as data; the conformance suite skips by these and nothing else. */
export interface BrokerCapabilities {
  /** Topics are made by `createTopics`. False: there is one, which was there before. */
  readonly createsTopics: boolean;
  /** Messages stay after they were read: a new group may begin at the start. */
  readonly replays: boolean;
  /** A topic without any group keeps its messages. */
  readonly keepsWithoutGroup: boolean;
  /** The broker itself drops an event that was published twice with the same eventId. */
  readonly deduplicates: boolean;
  /** `memberId` gives a member its partitions back after a restart. */
  readonly staticMembership: boolean;
  /** Of one event as it travels, in bytes; null: the driver asks the broker at publish. */
  readonly eventBytesMax: number | null;
}

export interface Broker {
  /** For people: 'kafka', 'rabbitmq', 'redis', 'postgres'. Nothing branches on it. */
  readonly name: string;
  readonly capabilities: BrokerCapabilities;
  /**
   * Resolves when all are acknowledged, in order per (topic, partition) as given. May be called
   * again before it resolves: batches of one partition keep the order of their calls.
   * @throws MillraceError BROKER_UNAVAILABLE (retryable: some may be stored, publish all again),
   * BROKER_TOPIC_UNKNOWN, BROKER_EVENT_REFUSED with `details.index` of the event that can never be
   * stored, such as one that is too large: those before it may be stored, BROKER_DENIED
   */
  publish(events: readonly OutgoingEvent[]): Promise<void>;
  /**
   * Joins the group; resolves once the broker has accepted the member.
   * @throws MillraceError BROKER_TOPIC_UNKNOWN, BROKER_DENIED, BROKER_UNAVAILABLE
   */
  subscribe(options: SubscribeOptions): Promise<BrokerSubscription>;
  /**
   * Makes those that are missing; what is there is left as it is.
   * @throws MillraceError BROKER_TOPIC_MISMATCH when one has another number of partitions
   */
  createTopics(topics: readonly TopicSpec[]): Promise<void>;
  /** Those that exist of the names given, or all that can be seen. */
  topics(names?: readonly string[]): Promise<readonly TopicInfo[]>;
  deleteTopics(names: readonly string[]): Promise<void>;
  /** Of every partition of the topics. A group that the broker does not know lags by everything. */
  lag(group: string, topics: readonly string[]): Promise<readonly PartitionLag[]>;
  /** Asks the broker; never rejects. */
  health(): Promise<BrokerHealth>;
  /** Closes subscriptions, waits for publishes under way (10 s at most), ends connections. */
  close(): Promise<void>;
}

export interface BrokerTls {
  /** PEM: who signs the broker's certificate; the system's list when left out. */
  readonly ca?: string | undefined;
  /** PEM: our own, for mutual TLS. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly passphrase?: string | undefined;
  readonly serverName?: string | undefined;
}

/** A token for SASL OAUTHBEARER or AMQP; asked for again before it expires. */
export interface BrokerToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What every driver takes; the URL's scheme chooses the driver (connect.ts). */
export interface BrokerSettings {
  /** `kafka://a:9092,b:9092`, `amqps://user:secret@host`, `redis://host`, … */
  readonly url: string;
  /** CloudEvents `source` of what is published; `millrace` by default. */
  readonly source?: string | undefined;
  /** How the broker's own tools call this process; `millrace-<pid>` by default. */
  readonly clientId?: string | undefined;
  readonly tls?: BrokerTls | undefined;
  /** Over those of the URL. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: (() => Promise<BrokerToken>) | undefined;
  /** 10,000 by default. */
  readonly connectTimeoutMs?: number | undefined;
  /** A publish that is not acknowledged by then is BROKER_UNAVAILABLE; 30,000 by default. */
  readonly publishTimeoutMs?: number | undefined;
  /** Errors that were survived, such as a lost connection that came back. */
  readonly onError?: ((error: unknown, where: string) => void) | undefined;
}

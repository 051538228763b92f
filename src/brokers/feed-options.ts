/** What a feed is made with, and what it counts. */
import type { Broker } from '../ports/broker.ts';
import type { Store } from '../ports/store.ts';
import type { Heads } from '../runtime/heads.ts';
import type { Tail } from '../runtime/tail.ts';
import type { Refusal } from './refusals.ts';
import type { TopicNames } from './topics.ts';

export interface FeedOptions {
  readonly broker: Broker;
  readonly store: Pick<Store, 'logId' | 'partitions' | 'streams'>;
  readonly heads: Heads;
  readonly tail: Tail;
  readonly topics: TopicNames;
  readonly group: string;
  readonly memberId?: string | undefined;
  readonly relayGroup: string;
  /** Events of one partition in memory before the slowest group is left to the log. */
  readonly eventsMax: number;
  /** The same in characters of payload. */
  readonly charsMax: number;
  /** A gap that is older is read from the log. */
  readonly gapMs: number;
  /** Deliveries of a partition that no group here has are let go of after so long. */
  readonly unownedMs: number;
  /** How long groups wait for a broker that is away; null: for as long as it takes. */
  readonly patienceMs: number | null;
  /** Settled offsets of the streams here that have the partition. */
  positionsAt(partition: number): readonly number[];
  /** Others get these now: resolves once what is under way is settled and handed back. */
  onRevoked(partitions: readonly number[]): Promise<void>;
  /** What is assigned has changed. */
  onAssigned(): void;
  /** Durable when it resolves. */
  refuse(refusals: readonly Refusal[]): Promise<void>;
  /** Makes topics that are missing, if that is wanted. */
  ensureTopics(): Promise<readonly string[]>;
  onError(error: unknown, where: string): void;
}

export interface FeedCounts {
  readonly delivered: number;
  readonly duplicates: number;
  /** Offsets that the broker did not bring in time, left to the log. */
  readonly gaps: number;
  readonly refused: number;
  readonly acknowledged: number;
  /** Events parsed, out of those delivered. */
  readonly opened: number;
  /** Let go of before a slow group had come to them. */
  readonly evicted: number;
}

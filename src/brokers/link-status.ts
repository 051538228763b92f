/** How relay and feed are doing, as `GET /broker` and `millrace broker status` show it. */
import type { BrokerHealth } from '../ports/broker.ts';
import type { Store } from '../ports/store.ts';
import type { FeedCounts } from './feed-options.ts';
import type { BrokerLink } from './link.ts';
import { type RelayPartition, relayGroup } from './relay.ts';
import type { RelayCounts } from './relay-stream.ts';

/** Of one partition: what the log has and the broker has not. */
export interface RelayLag {
  readonly partition: number;
  readonly position: number;
  readonly head: number;
  readonly events: number;
  /** Age of the oldest of them; 0 when there is none. */
  readonly seconds: number;
}

export interface LinkStatus {
  readonly broker: string;
  readonly health: BrokerHealth;
  readonly logId: string;
  readonly topic: string;
  readonly group: string;
  readonly problems: readonly string[];
  /** Partitions relayed here, and what this process has relayed since it started. */
  readonly relay: RelayCounts & {
    readonly partitions: readonly RelayPartition[];
    readonly lag: readonly RelayLag[];
    readonly lastError: string | null;
  };
  readonly feed: FeedCounts & {
    readonly assigned: readonly number[];
    readonly paused: readonly number[];
    readonly topics: readonly string[];
    readonly held: number;
    readonly unacknowledged: number;
    /** Milliseconds; null while the broker is there. */
    readonly awayForMs: number | null;
  };
  /** Messages that were not let in by this process, by reason. */
  readonly refused: Readonly<Record<string, number>>;
}

export async function relayLag(store: Store): Promise<RelayLag[]> {
  const [positions, heads] = await Promise.all([
    store.streams.positions([relayGroup]),
    store.log.heads(),
  ]);
  const lags: RelayLag[] = [];
  for (const { partition, position } of positions) {
    // Read one after the other, the cursor may be a moment ahead of the head.
    const head = Math.max(heads[partition] ?? 0, position);
    const seconds = head > position ? await ageOf(store, partition, position) : 0;
    lags.push({ partition, position, head, events: head - position, seconds });
  }
  return lags.sort((a, b) => a.partition - b.partition);
}

async function ageOf(store: Store, partition: number, after: number): Promise<number> {
  const { events } = await store.log.read({ partition, after, limit: 1, types: null });
  const oldest = events[0];
  if (oldest === undefined) return 0;
  return Math.max(0, Date.now() - Date.parse(oldest.timestamp)) / 1000;
}

export async function readStatus(link: BrokerLink, logId: string): Promise<LinkStatus> {
  const { broker, feed, relay, settings, refusals } = link;
  const [health, lag] = await Promise.all([broker.health(), link.relayLag()]);
  const { events, unacknowledged } = feed.held;
  return {
    broker: broker.name,
    health,
    logId,
    topic: settings.topic,
    group: settings.group,
    problems: link.problems(),
    relay: { ...relay.counts, partitions: relay.partitions, lag, lastError: relay.lastError },
    feed: {
      ...feed.counts,
      assigned: feed.assigned,
      paused: feed.paused,
      topics: feed.topics,
      held: events,
      unacknowledged,
      awayForMs: feed.presence.awayForMs,
    },
    refused: refusals.counts,
  };
}

/**
 * One partition of the log on its way to the broker, by the owner of its lease: read after the
 * cursor, publish in order, settle the cursor once the broker has acknowledged. Publishing goes on
 * while the cursor of what went before is being settled; it never passes what was acknowledged.
 *
 *   open ─> read ─> publish ─┬─> read …          settle: the newest that is acknowledged,
 *    ^         ^             │                   one at a time, beside the publishing
 *    │         └── again <── away: wait, publish the same batch
 *    └── the store failed: forget, wait, open
 *
 * Invariant: a late owner changes nothing, because its settlements carry an epoch that is over;
 * what it published once more is known by its offset.
 */
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import { laneOf } from '../events/stream/entry.ts';
import { decideFailure, park } from '../events/stream/failure-policy.ts';
import type { Broker, OutgoingEvent } from '../ports/broker.ts';
import type { FailureRecord } from '../ports/failures.ts';
import type { Store } from '../ports/store.ts';
import type { SettleResult } from '../ports/streams.ts';
import { Bell, sleep } from '../runtime/bell.ts';
import type { EventSource } from '../runtime/source.ts';
import { RelayCursor } from './relay-cursor.ts';
import type { TopicNames } from './topics.ts';

export interface RelayStreamOptions {
  readonly store: Store;
  /** The log. */
  readonly source: EventSource;
  readonly broker: Broker;
  readonly topics: TopicNames;
  readonly group: string;
  readonly partition: number;
  readonly epoch: number;
  readonly batchMax: number;
  readonly bytesMax: number;
  readonly retryPollMs: number;
  readonly counts: RelayCounts;
  /** Rejects where a topic has another number of partitions than the log. */
  checkTopics(events: readonly OutgoingEvent[]): Promise<void>;
  /** Makes these topics, if that is wanted. */
  createTopics(topics: readonly string[]): Promise<void>;
  onAppended(events: readonly StoredEvent[]): void;
  onError(error: unknown): void;
}

/** Shared by the streams of one relay. */
export interface RelayCounts {
  relayed: number;
  batches: number;
  retries: number;
  refused: number;
  settlements: number;
}

export type RelayEnd = 'stopped' | 'lease-lost';

const types = { has: () => true };
const noRetry = { maxRetries: 0, initialDelayMs: 0, multiplier: 1, maxDelayMs: 0, jitter: 0 };
const redeliveryLimits = { keys: 64, perKey: 64 } as const;
const retryMsMax = 5_000;

interface Outcome {
  readonly sent: readonly StoredEvent[];
  readonly refused: readonly { readonly event: StoredEvent; readonly error: unknown }[];
  /** Behind a refused event of their key. */
  readonly held: readonly StoredEvent[];
}

export class RelayStream {
  readonly #options: RelayStreamOptions;
  readonly #bell = new Bell();
  readonly #blocked = new Set<string>();
  readonly #end = new AbortController();
  #cursor: RelayCursor;
  #nextDueAt = Number.POSITIVE_INFINITY;
  #stopping = false;
  /** Everything up to here is published, or set aside. */
  scanned = 0;
  /** Since when the batch at hand could not be published; null when all is well. */
  failingSince: number | null = null;

  constructor(options: RelayStreamOptions) {
    this.#options = options;
    this.#cursor = this.#createCursor(0, 0);
  }

  /** Settled: the broker has everything up to here. */
  get position(): number {
    return this.#cursor.position;
  }

  get blockedKeys(): number {
    return this.#blocked.size;
  }

  wake(): void {
    this.#bell.ring();
  }

  lookForRetries(): void {
    if (this.#blocked.size > 0) this.#nextDueAt = 0;
    this.#bell.ring();
  }

  /** Publishes what the log has now, then `run` resolves. An absent broker is not waited for. */
  stop(): void {
    this.#stopping = true;
    this.#bell.ring();
  }

  /** Ends now; what is under way is published again by the next owner. */
  giveUp(): void {
    this.stop();
    this.#end.abort();
  }

  async run(): Promise<RelayEnd> {
    let delayMs = 50;
    while (!this.#end.signal.aborted) {
      const before = this.position;
      try {
        await this.#open();
        await this.#loop();
        await this.#cursor.settled();
        break;
      } catch (error) {
        if (error instanceof MillraceError && error.code === 'LEASE_LOST') return 'lease-lost';
        this.#options.onError(error);
        if (this.#stopping) break;
        if (this.position > before) delayMs = 50;
        await sleep(delayMs * (0.5 + Math.random()), this.#end.signal);
        delayMs = Math.min(delayMs * 2, 2_000);
      }
    }
    return 'stopped';
  }

  async #open(): Promise<void> {
    const { store, group, partition } = this.#options;
    const { seq, position, blocked } = await store.streams.openCursor({ group, partition });
    this.#cursor = this.#createCursor(seq, position);
    this.scanned = position;
    this.#blocked.clear();
    for (const key of blocked) this.#blocked.add(laneOf(key));
    this.#nextDueAt = blocked.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  async #loop(): Promise<void> {
    while (!this.#end.signal.aborted) {
      this.#cursor.check();
      if (!this.#stopping) await this.#redeliver();
      const events = await this.#read();
      if (events !== null) await this.#relay(events);
      else if (this.#stopping) return;
      else await this.#bell.wait(this.#waitMs());
    }
  }

  /** The next batch, bounded by count and by size; null when the log has no more. */
  async #read(): Promise<readonly StoredEvent[] | null> {
    const { source, partition, batchMax } = this.#options;
    if (source.headOf(partition) <= this.scanned) return null;
    const request = { partition, after: this.scanned, limit: batchMax, types: null };
    const { events } = await source.read(request, types);
    return events.length === 0 ? null : events;
  }

  async #relay(events: readonly StoredEvent[]): Promise<void> {
    const waits = (event: StoredEvent) => this.#blocked.has(laneOf(event));
    const parked = this.#blocked.size === 0 ? [] : events.filter(waits);
    const free = parked.length === 0 ? events : events.filter((event) => !waits(event));
    const { refused, held } = await this.#send(free);
    const last = events.at(-1) as StoredEvent;
    this.scanned = last.offset;
    const outcomes = refused.map((one) => this.#bury(one.event, one.error, 1));
    const waiting = [...parked, ...held].sort((a, b) => a.offset - b.offset);
    await this.#cursor.advance({
      position: last.offset,
      failures: [...outcomes.map(({ failure }) => failure), ...waiting.map(park)],
      events: outcomes.flatMap(({ followUps }) => followUps),
      resolved: [],
    });
  }

  /** Dead letters that somebody retried or skipped, each key from its first event on. */
  async #redeliver(): Promise<void> {
    if (this.#blocked.size === 0 || performance.now() < this.#nextDueAt) return;
    const { store, group, partition, retryPollMs } = this.#options;
    await this.#cursor.settled(); // what was parked a moment ago must be among what is found
    const at = { group, partition };
    const due = await store.failures.due(at, redeliveryLimits);
    if (due.length === 0) {
      const ms = await store.failures.nextDueMs(at);
      this.#nextDueAt = performance.now() + Math.min(ms ?? retryPollMs, retryPollMs);
      return;
    }
    const { sent, refused } = await this.#send(due.map(({ event }) => event));
    const attemptsOf = new Map(due.map(({ event, attempts }) => [event.offset, attempts]));
    const outcomes = refused.map(({ event, error }) =>
      this.#bury(event, error, (attemptsOf.get(event.offset) ?? 0) + 1),
    );
    await this.#cursor.advance({
      position: this.scanned,
      failures: outcomes.map(({ failure }) => failure),
      events: outcomes.flatMap(({ followUps }) => followUps),
      resolved: sent.map(({ offset }) => offset),
    });
    await this.#cursor.settled();
    this.#nextDueAt = 0;
  }

  #bury(
    event: StoredEvent,
    error: unknown,
    attempts: number,
  ): { failure: FailureRecord; followUps: ReturnType<typeof decideFailure>['followUps'] } {
    const { group, counts } = this.#options;
    counts.refused += 1;
    this.#blocked.add(laneOf(event));
    return decideFailure({ event, group, attempts, error, policy: noRetry });
  }

  /** Publishes in order; one that is refused for good takes later ones of its key with it. */
  async #send(events: readonly StoredEvent[]): Promise<Outcome> {
    const { bytesMax } = this.#options;
    const sent: StoredEvent[] = [];
    const refused: { event: StoredEvent; error: unknown }[] = [];
    const held: StoredEvent[] = [];
    let rest = events;
    while (rest.length > 0) {
      const outgoing = this.#pack(rest, bytesMax);
      const refusal = await this.#publish(outgoing);
      if (refusal === null) {
        sent.push(...rest.slice(0, outgoing.length));
        rest = rest.slice(outgoing.length);
        continue;
      }
      // What comes before it may be stored or not: published again, by itself. A broker need not
      // name the first that it refuses, so there may be another one.
      const before = await this.#send(rest.slice(0, refusal.index));
      sent.push(...before.sent);
      refused.push(...before.refused);
      held.push(...before.held);
      const shut = new Set(before.refused.map(({ event }) => laneOf(event)));
      const bad = rest[refusal.index] as StoredEvent;
      if (shut.has(laneOf(bad))) held.push(bad);
      else refused.push({ event: bad, error: refusal.error });
      shut.add(laneOf(bad));
      const after = rest.slice(refusal.index + 1);
      held.push(...after.filter((event) => shut.has(laneOf(event))));
      rest = after.filter((event) => !shut.has(laneOf(event)));
    }
    return { sent, refused, held };
  }

  #pack(events: readonly StoredEvent[], bytesMax: number): OutgoingEvent[] {
    const { store, topics, partition } = this.#options;
    const outgoing: OutgoingEvent[] = [];
    let bytes = 0;
    for (const event of events) {
      const { payload, metadata, tenantId, offset } = event;
      const payloadJson = JSON.stringify(payload);
      bytes += payloadJson.length + 300; // attributes and framing, about
      if (bytes > bytesMax && outgoing.length > 0) break;
      outgoing.push({
        topic: topics.topicOf(tenantId),
        partition,
        event,
        payloadJson,
        metadataJson: isEmpty(metadata) ? null : JSON.stringify(metadata),
        place: { logId: store.logId, partition, offset },
      });
    }
    return outgoing;
  }

  /** Until the broker has it all. Answers with what it refuses for good; throws at the end only. */
  async #publish(
    events: readonly OutgoingEvent[],
  ): Promise<{ readonly index: number; readonly error: unknown } | null> {
    const { broker, counts, onError } = this.#options;
    let made = false;
    for (let delayMs = 50; ; delayMs = Math.min(delayMs * 2, retryMsMax)) {
      try {
        await this.#untilEnd(this.#options.checkTopics(events));
        await this.#untilEnd(broker.publish(events));
        this.failingSince = null;
        counts.relayed += events.length;
        counts.batches += 1;
        return null;
      } catch (error) {
        if (this.#end.signal.aborted) throw error;
        const index = refusedIndex(error, events.length);
        if (index !== null) return { index, error };
        if (isTopicMissing(error) && !made) {
          // Of a first start, or of a new tenant: news only if it is missing still.
          await this.#makeTopics(events);
          made = true;
          continue;
        }
        this.failingSince ??= performance.now();
        counts.retries += 1;
        onError(error);
        if (this.#stopping) throw error;
        made = false;
        await this.#pause(delayMs * (0.5 + Math.random()));
      }
    }
  }

  /** Of a tenant that is new, or one that somebody deleted. */
  async #makeTopics(events: readonly OutgoingEvent[]): Promise<void> {
    const topics = [...new Set(events.map(({ topic }) => topic))];
    await this.#options.createTopics(topics).catch((problem) => this.#options.onError(problem));
  }

  /** Sleeps, but not beyond a stop. */
  async #pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!this.#stopping && performance.now() < until) {
      await sleep(Math.max(1, Math.min(100, until - performance.now())), this.#end.signal);
    }
    if (this.#stopping) throw new MillraceError('SHUTTING_DOWN', 'The broker is away at the end.');
  }

  #untilEnd<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#end;
    return new Promise((resolve, reject) => {
      const end = () => reject(new MillraceError('SHUTTING_DOWN', 'This relay is stopped.'));
      if (signal.aborted) end();
      signal.addEventListener('abort', end, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
    });
  }

  #createCursor(seq: number, position: number): RelayCursor {
    const { store, group, partition, epoch, counts, onAppended } = this.#options;
    return new RelayCursor({
      streams: store.streams,
      group,
      partition,
      epoch,
      seq,
      position,
      onSettled: (result) => {
        counts.settlements += 1;
        this.#learn(result);
        if (result.appended.length > 0) onAppended(result.appended);
      },
      onBroken: () => this.#bell.ring(),
    });
  }

  #learn({ keys }: SettleResult): void {
    for (const key of keys) {
      if (key.blocked) this.#blocked.add(laneOf(key));
      else this.#blocked.delete(laneOf(key));
    }
    if (keys.length > 0) this.#nextDueAt = Math.min(this.#nextDueAt, performance.now());
  }

  #waitMs(): number {
    const retry = this.#blocked.size > 0 ? this.#nextDueAt - performance.now() : 10_000;
    return Math.max(5, Math.min(10_000, retry));
  }
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

function isTopicMissing(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'BROKER_TOPIC_UNKNOWN';
}

function refusedIndex(error: unknown, count: number): number | null {
  if (!(error instanceof MillraceError) || error.code !== 'BROKER_EVENT_REFUSED') return null;
  const index = error.details?.index;
  if (typeof index === 'number' && index >= 0 && index < count) return index;
  return count === 1 ? 0 : null;
}

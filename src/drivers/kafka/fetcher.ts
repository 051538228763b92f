/**
 * Fetches what a member is assigned, by a loop per leader, and hands it on within limits: of a
 * partition at most `inFlightMax` deliveries are unacknowledged, what is more waits as bytes, and
 * when enough waits nothing more is fetched. While one answer is decoded the next is on its way.
 *
 * The client's own stream was measured and left: it took 1.8 times as long and more, and delivers
 * message by message through one Node stream, so that a paused partition stops the others.
 */
import type { ConnectionPool } from '@platformatic/kafka';
import type { Delivery, TopicPartition } from '../../ports/broker.ts';
import type { OffsetsAnswer } from './answers.ts';
import { BatchReader } from './batch-reader.ts';
import type { Cluster, TopicLayout } from './cluster.ts';
import { code, isMetadataOld, protocolError } from './codes.ts';
import { type FetchedPart, type FetchPart, fetchRecords } from './fetch-request.ts';
import { backoffMs } from './patience.ts';

export interface FetcherOptions {
  readonly cluster: Cluster;
  readonly inFlightMax: number;
  onDeliveries(partition: TopicPartition, deliveries: readonly Delivery[]): void;
  /** The broker's log is shorter than it was: it goes on with `offset`, a lower one than before. */
  onCut(partition: TopicPartition, offset: number): void;
  onError(error: unknown, where: string): void;
}

/** Of one partition in one answer; doubled while a single batch is larger. */
const partitionBytes = 524_288;
const answerBytesMax = 8_388_608;
/** Bytes that wait for their turn, of all partitions: above it nothing is fetched. */
const waitingBytesMax = 33_554_432;
/** Deliveries that are handed over at once: others get their turn in between. */
const deliveriesMax = 1000;
const idleWaitMs = 500;
/** While a partition may not be asked for: it may want to be in the next request soon. */
const shortWaitMs = 30;

const idOfNone = '00000000-0000-0000-0000-000000000000';

export class FetchedPartition implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  reader: BatchReader;
  isPaused = false;
  /** No more deliveries: it is being given back. */
  isStopped = false;
  bytesMax = partitionBytes;
  /** Of the topic that the offset is of; null until it is known. */
  topicId: string | null = null;
  /** Not asked for before this time of performance.now(). */
  notBefore = 0;
  attempt = 0;
  /** Offsets that were delivered and not acknowledged, ascending, from `#first` on. */
  #delivered: number[] = [];
  #first = 0;
  /** Offsets of before mean nothing now: only what was delivered since can be acknowledged. */
  readonly #isCut: boolean;
  #last = -1;

  constructor(topic: string, partition: number, offset: number, isCut = false) {
    this.topic = topic;
    this.partition = partition;
    this.reader = new BatchReader(topic, partition, offset);
    this.#isCut = isCut;
  }

  get inFlight(): number {
    return this.#delivered.length - this.#first;
  }

  /** Fetches again from `offset` on; what was delivered before it waits for its acknowledgement. */
  fetchAgain(offset: number): void {
    this.reader = new BatchReader(this.topic, this.partition, offset);
  }

  deliver(deliveries: readonly Delivery[]): void {
    for (const { position } of deliveries) this.#delivered.push(Number(position));
    this.#last = this.#delivered.at(-1) ?? this.#last;
  }

  /**
   * @returns from where a group would go on: past gaps when nothing else is known; null when the
   * offset is of a log that is gone
   */
  acknowledge(offset: number): number | null {
    if (this.#isCut && offset > this.#last) return null;
    while (this.inFlight > 0 && (this.#delivered[this.#first] as number) <= offset)
      this.#first += 1;
    if (this.#first > 1024 && this.#first * 2 > this.#delivered.length) {
      this.#delivered = this.#delivered.slice(this.#first);
      this.#first = 0;
    }
    // Control records and compacted offsets at the end are never delivered: they count as done.
    const isAll = this.inFlight === 0 && this.reader.isEmpty;
    return isAll ? Math.max(offset + 1, this.reader.fetchOffset) : offset + 1;
  }
}

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #cluster: Cluster;
  readonly #pool: ConnectionPool;
  readonly #partitions = new Map<string, FetchedPartition>();
  /** Leaders with a request under way. */
  readonly #busy = new Set<number>();
  #isDue = false;
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #isClosed = false;
  /** Partitions with deliveries to make, one turn each. */
  readonly #turns = new Set<FetchedPartition>();
  #isDelivering = false;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
    this.#pool = options.cluster.openPool();
  }

  get(topic: string, partition: number): FetchedPartition | undefined {
    return this.#partitions.get(`${topic} ${partition}`);
  }

  get all(): readonly FetchedPartition[] {
    return [...this.#partitions.values()];
  }

  add(topic: string, partition: number, offset: number): void {
    const added = new FetchedPartition(topic, partition, offset);
    this.#partitions.set(`${topic} ${partition}`, added);
    this.wake();
  }

  remove(topic: string, partition: number): void {
    const removed = this.get(topic, partition);
    if (removed === undefined) return;
    removed.isStopped = true;
    this.#turns.delete(removed);
    this.#partitions.delete(`${topic} ${partition}`);
  }

  /** Something changed: a partition may be delivered or fetched that could not be before. */
  turn(partition: FetchedPartition): void {
    if (!partition.reader.isEmpty) this.#deliverSoon(partition);
    else this.wake();
  }

  wake(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#fetchAll();
    });
  }

  #wakeAt(time: number): void {
    if (this.#isClosed || time >= this.#timerAt) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAt = time;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#timerAt = Number.POSITIVE_INFINITY;
        this.wake();
      },
      Math.max(1, time - performance.now()),
    );
  }

  #fetchAll(): void {
    if (this.#isClosed) return;
    const now = performance.now();
    const byLeader = new Map<number, FetchedPartition[]>();
    let waiting = 0;
    for (const { reader } of this.#partitions.values()) waiting += reader.waitingBytes;
    let isWhole = true;
    for (const one of this.#partitions.values()) {
      if (one.isStopped) continue;
      if (one.notBefore > now) {
        this.#wakeAt(one.notBefore);
        isWhole = false;
      } else if (!this.#mayFetch(one, waiting)) {
        isWhole = false;
      } else {
        const leader = this.#leaderOf(one);
        if (leader === null) continue;
        if (this.#isReplaced(one)) {
          void this.#reset(one, -1, true);
          continue;
        }
        const those = byLeader.get(leader);
        if (those === undefined) byLeader.set(leader, [one]);
        else those.push(one);
      }
    }
    for (const [leader, those] of byLeader) {
      if (!this.#busy.has(leader))
        void this.#fetch(leader, those, isWhole ? idleWaitMs : shortWaitMs);
    }
  }

  /** One answer ahead of the deliveries, no more. */
  #mayFetch(one: FetchedPartition, waiting: number): boolean {
    if (one.isPaused) return false;
    if (one.reader.isEmpty) return one.inFlight < this.#options.inFlightMax;
    return one.reader.waitingBytes < partitionBytes / 4 && waiting < waitingBytesMax;
  }

  #leaderOf(one: FetchedPartition): number | null {
    const leader = this.#cluster.knownLayout(one.topic)?.leaders[one.partition] ?? -1;
    if (leader !== -1 && this.#cluster.node(leader) !== undefined) return leader;
    this.#postpone(one, null);
    const { attempt } = one;
    this.#cluster.layout(one.topic, true).then(
      () => this.wake(),
      (error: unknown) => this.#tellSometimes(error, attempt),
    );
    return null;
  }

  /** Its topic was deleted and made anew: the offset would skip events of the new one. */
  #isReplaced(one: FetchedPartition): boolean {
    const { id, name } = this.#cluster.knownLayout(one.topic) as TopicLayout;
    // Brokers before 2.8 have no ids, and while they are brought up to date some have.
    if (id === name || id === idOfNone) return false;
    one.topicId ??= id;
    return one.topicId !== id;
  }

  #postpone(one: FetchedPartition, error: unknown): void {
    one.notBefore = performance.now() + backoffMs(one.attempt + 1);
    if (error !== null) this.#tellSometimes(error, one.attempt);
    one.attempt += 1;
    this.#wakeAt(one.notBefore);
  }

  /** Once a failure: the first time, then about every minute. */
  #tellSometimes(error: unknown, attempt: number): void {
    if (this.#isClosed || attempt % 32 !== 1) return;
    this.#options.onError(this.#cluster.failure(error, 'deliver'), 'fetch');
  }

  async #fetch(leader: number, those: readonly FetchedPartition[], waitMs: number): Promise<void> {
    const node = this.#cluster.node(leader);
    const asked: FetchPart[] = [];
    for (const { topic, partition, reader, bytesMax } of rotated(those)) {
      const layout = this.#cluster.knownLayout(topic) as TopicLayout;
      asked.push({ layout, partition, offset: reader.fetchOffset, bytesMax });
    }
    this.#busy.add(leader);
    try {
      if (node === undefined) throw new Error('the leader is not known any more');
      const connection = await this.#cluster.connection(this.#pool, node);
      const options = { waitMs, bytesMax: answerBytesMax };
      const answer = await fetchRecords(this.#cluster, connection, asked, options);
      if (answer.errorCode !== code.none) throw protocolError(answer.errorCode);
      const offsets = new Map(
        asked.map(({ layout, partition, offset }) => [`${layout.name} ${partition}`, offset]),
      );
      for (const part of answer.parts) {
        const key = `${part.topic} ${part.partition}`;
        const one = this.#partitions.get(key);
        // Meanwhile it may have gone and come back, from another offset.
        if (one !== undefined && one.reader.fetchOffset === offsets.get(key)) this.#take(one, part);
      }
    } catch (error) {
      if (this.#isClosed) return;
      for (const one of those) {
        this.#cluster.forgetLayout(one.topic);
        this.#postpone(one, error);
      }
    } finally {
      this.#busy.delete(leader);
      this.wake();
    }
  }

  #take(one: FetchedPartition, part: FetchedPart): void {
    if (part.errorCode === code.offsetOutOfRange) {
      void this.#reset(one, part.logStart);
    } else if (part.errorCode !== code.none) {
      if (isMetadataOld(part.errorCode)) this.#cluster.forgetLayout(one.topic);
      this.#postpone(one, protocolError(part.errorCode));
    } else {
      one.attempt = 0;
      if (part.records.length === 0) return;
      try {
        if (one.reader.push(part.records, part.aborted)) {
          one.bytesMax = partitionBytes;
          this.#deliverSoon(one);
        } else {
          one.bytesMax = Math.min(one.bytesMax * 2, 1_073_741_824);
        }
      } catch (error) {
        // Of this partition alone: the others in the answer are good.
        this.#postpone(one, error);
      }
    }
  }

  /**
   * The offset is gone: deleted by retention, or the log is shorter than it was, for the topic was
   * made anew or a leader lost its end. Either way it goes on with the oldest there is: at a new
   * end there may be events already that nobody saw. People are told.
   */
  async #reset(one: FetchedPartition, logStart: number, isReplaced = false): Promise<void> {
    const lost = one.reader.fetchOffset;
    one.notBefore = performance.now() + 60_000;
    try {
      const start = logStart >= 0 ? logStart : await this.offsetOf(one, 'start');
      if (!isReplaced && lost >= start && lost <= (await this.offsetOf(one, 'end'))) {
        throw protocolError(code.offsetOutOfRange);
      }
      if (this.get(one.topic, one.partition) !== one) return;
      if (lost < start && !isReplaced) {
        one.reader.fetchOffset = start;
        one.notBefore = 0;
      } else {
        this.#cutTo(one, start);
      }
      const text = `offset ${lost} of partition ${one.partition} of ${one.topic} is gone`;
      this.#options.onError(new Error(`${text}; it goes on with ${start}`), 'fetch');
      this.wake();
    } catch (error) {
      this.#postpone(one, error);
    }
  }

  /** Begins anew at a lower offset: nothing of before, delivered or not, counts any more. */
  #cutTo(one: FetchedPartition, offset: number): void {
    const { topic, partition, isPaused, isStopped } = one;
    this.remove(topic, partition);
    const anew = new FetchedPartition(topic, partition, offset, true);
    anew.isPaused = isPaused;
    anew.isStopped = isStopped;
    this.#partitions.set(`${topic} ${partition}`, anew);
    this.#options.onCut({ topic, partition }, offset);
  }

  async offsetOf({ topic, partition }: TopicPartition, which: 'start' | 'end'): Promise<number> {
    const layout = await this.#cluster.layout(topic);
    const leader = this.#cluster.node(layout.leaders[partition] ?? -1);
    if (leader === undefined) {
      // What is known of it may be a minute old, and the partition may be younger.
      this.#cluster.forgetLayout(topic);
      throw new Error(`partition ${partition} has no leader now`);
    }
    const timestamp = which === 'start' ? -2n : -1n;
    const answer = await this.#cluster.call<OffsetsAnswer>('ListOffsets', leader, [
      -1,
      1,
      [
        {
          name: topic,
          partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }],
        },
      ],
    ]);
    const found = answer.topics[0]?.partitions[0];
    if (found === undefined || found.errorCode !== code.none) {
      this.#cluster.forgetLayout(topic);
      throw protocolError(found?.errorCode ?? code.notLeaderOrFollower);
    }
    return Number(found.offset);
  }

  #deliverSoon(one: FetchedPartition): void {
    this.#turns.add(one);
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    setImmediate(() => this.#deliver());
  }

  /** One partition a turn: requests, answers and heartbeats get theirs in between. */
  #deliver(): void {
    this.#isDelivering = false;
    const [one] = this.#turns;
    if (one === undefined || this.#isClosed) return;
    this.#turns.delete(one);
    if (!one.isPaused && !one.isStopped) this.#deliverOf(one);
    if (this.#turns.size > 0) {
      this.#isDelivering = true;
      setImmediate(() => this.#deliver());
    }
  }

  #deliverOf(one: FetchedPartition): void {
    const room = this.#options.inFlightMax - one.inFlight;
    if (room <= 0) return;
    const { position } = one.reader;
    let deliveries: Delivery[];
    try {
      deliveries = one.reader.take(Math.min(room, deliveriesMax));
    } catch (error) {
      // Corrupt bytes, or a compression we do not have. Perhaps another copy is better.
      this.#options.onError(this.#cluster.failure(error, 'send what can be read'), 'decode');
      one.fetchAgain(position);
      one.notBefore = performance.now() + 5000;
      this.wake();
      return;
    }
    if (deliveries.length > 0) {
      one.deliver(deliveries);
      try {
        this.#options.onDeliveries({ topic: one.topic, partition: one.partition }, deliveries);
      } catch (error) {
        this.#options.onError(error, 'onDeliveries');
      }
    }
    if (!one.reader.isEmpty && one.inFlight < this.#options.inFlightMax) this.#turns.add(one);
    this.wake();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#partitions.clear();
    this.#turns.clear();
    await this.#cluster.closePool(this.#pool);
  }
}

/** The broker fills an answer from the front: another partition is first each time. */
function rotated<T>(all: readonly T[]): readonly T[] {
  const from = Math.floor(Math.random() * all.length);
  return [...all.slice(from), ...all.slice(0, from)];
}

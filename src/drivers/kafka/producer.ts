/**
 * Publishes: events go to the queue of their partition as bytes, and every leader gets what waits
 * for it in one request. Each partition has one batch on the way, so its order outlives retries and
 * new producer ids; all partitions go side by side, and while one batch travels the next one grows.
 *
 * Idempotent as Kafka means it: a producer id and sequence numbers per partition, so a batch whose
 * answer was lost is stored once. When the broker no longer knows the id, the partition takes
 * another one by itself. That may store a batch twice; consumers drop it by eventId.
 */
import type { Connection } from '@platformatic/kafka';
import { MillraceError } from '../../core/errors.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';
import type { ProduceAnswer, ProducedPartition, ProducerIdAnswer } from './answers.ts';
import { type Cluster, type Node, unknownTopic } from './cluster.ts';
import { code, codeOf, isMetadataOld, isProducerLost, protocolError } from './codes.ts';
import type { Compression } from './driver-options.ts';
import { backoffMs, settledWithin } from './patience.ts';
import { heldBack, ProduceQueue, type PublishCall, type QueueLimits } from './produce-queue.ts';
import { type ProducePart, produce } from './produce-request.ts';

export interface ProducerOptions {
  readonly cluster: Cluster;
  readonly source: string;
  readonly compression: Compression;
  readonly publishTimeoutMs: number;
  onError(error: unknown, where: string): void;
}

/** Of one request: a leader may lead hundreds of partitions. */
const requestBytesMax = 8_388_608;
/** What a request needs beside its batches, with room to spare. */
const framingBytes = 4096;
/** Requests to one leader that wait for their answers. */
const requestsMax = 4;

/** Encoded and not acknowledged: above it, later calls wait to be encoded. */
const waitingBytesMax = 67_108_864;

interface Line {
  readonly call: PublishCall;
  readonly events: readonly OutgoingEvent[];
}

interface Leader {
  readonly node: Node;
  requests: number;
}

export class Producer {
  readonly #options: ProducerOptions;
  readonly #cluster: Cluster;
  readonly #pool;
  readonly #limits: QueueLimits;
  /** Of one request; null: the broker says what is too large. */
  readonly #bytesMax: number | null;
  readonly #queues = new Map<string, Map<number, ProduceQueue>>();
  readonly #leaders = new Map<string, Leader>();
  readonly #calls = new Set<Promise<void>>();
  readonly #line: Line[] = [];
  #ready = new Set<ProduceQueue>();
  #isDue = false;
  #toldAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;
  #identity: Promise<{ readonly id: bigint; readonly epoch: number }> | null = null;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
    this.#pool = options.cluster.openPool();
    // Half of what brokers take by default (1 MB), so that one large event more still fits.
    this.#limits = { source: options.source, batchBytesMax: 524_288, waitingBytes: 0 };
    // Event Hubs ends the connection over a request that is larger, whatever is in it.
    const { eventBytesMax } = options.cluster.settings.preset;
    this.#bytesMax = eventBytesMax === null ? null : eventBytesMax - framingBytes;
  }

  publish(events: readonly OutgoingEvent[]): Promise<void> {
    if (events.length === 0) return Promise.resolve();
    if (this.#isClosed) return Promise.reject(closedError());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = performance.now() + this.#options.publishTimeoutMs;
    const call: PublishCall = { deadline, open: events.length, resolve, reject };
    this.#line.push({ call, events });
    this.#admit();
    this.#calls.add(promise);
    const done = () => this.#calls.delete(promise);
    promise.then(done, done);
    return promise;
  }

  /** Lets calls in, in their order, while there is room. */
  #admit(): void {
    while (this.#line.length > 0 && this.#limits.waitingBytes < waitingBytesMax) {
      const { call, events } = this.#line.shift() as Line;
      events.forEach((out, index) => {
        const queue = this.#queue(out.topic, out.partition);
        queue.add(call, index, out);
        if (!queue.isBusy) this.#ready.add(queue);
      });
    }
    this.#flushSoon();
  }

  #queue(topic: string, partition: number): ProduceQueue {
    let ofTopic = this.#queues.get(topic);
    if (ofTopic === undefined) {
      ofTopic = new Map();
      this.#queues.set(topic, ofTopic);
    }
    let queue = ofTopic.get(partition);
    if (queue === undefined) {
      queue = new ProduceQueue(topic, partition, this.#limits);
      ofTopic.set(partition, queue);
    }
    return queue;
  }

  /** Everything that is published in one turn of the loop shares requests. */
  #flushSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const ready = this.#ready;
    this.#ready = new Set();
    const byLeader = new Map<Leader, ProduceQueue[]>();
    for (const queue of ready) {
      if (queue.isBusy) continue;
      while (this.#bytesMax !== null && queue.nextBytes > this.#bytesMax) {
        this.#turnAway(queue, queue.tooLarge());
        this.#admit();
      }
      if (queue.isEmpty) continue;
      const leader = this.#leaderOf(queue);
      if (leader === null || queue.producer === null) {
        void this.#prepare(queue);
      } else if (leader.requests >= requestsMax) {
        this.#ready.add(queue);
      } else {
        const those = byLeader.get(leader);
        if (those === undefined) byLeader.set(leader, [queue]);
        else those.push(queue);
      }
    }
    for (const [leader, queues] of byLeader) void this.#send(leader, queues);
  }

  #leaderOf({ topic, partition }: ProduceQueue): Leader | null {
    const id = this.#cluster.knownLayout(topic)?.leaders[partition] ?? -1;
    const node = id === -1 ? undefined : this.#cluster.node(id);
    if (node === undefined) return null;
    const address = `${node.host}:${node.port}`;
    let leader = this.#leaders.get(address);
    if (leader === undefined) {
      leader = { node, requests: 0 };
      this.#leaders.set(address, leader);
    }
    return leader;
  }

  /** Finds out what a queue lacks before it can be sent: its leader, a producer id. */
  async #prepare(queue: ProduceQueue): Promise<void> {
    queue.isBusy = true;
    try {
      const layout = await this.#cluster.layout(queue.topic);
      const isKnown = queue.partition < layout.leaders.length;
      const { leaders } = isKnown ? layout : await this.#cluster.layout(queue.topic, true);
      const leader = leaders[queue.partition];
      if (leader === undefined) throw noPartition(queue, leaders.length);
      if (leader === -1 || this.#cluster.node(leader) === undefined) {
        this.#cluster.forgetLayout(queue.topic);
        throw new Error(`partition ${queue.partition} of ${queue.topic} has no leader now`);
      }
      queue.producer ??= await this.#producerId();
      this.#release(queue);
    } catch (error) {
      this.#retryOrFail(queue, error, 'publish');
    }
  }

  /** One for all partitions; a partition that lost it takes a new one for itself. */
  #producerId(): Promise<{ readonly id: bigint; readonly epoch: number }> {
    if (this.#identity !== null) return this.#identity;
    const asked = this.#cluster
      .call<ProducerIdAnswer>('InitProducerId', null, [null, 60_000, -1n, -1], {
        pool: this.#pool,
      })
      .then(({ errorCode, producerId, producerEpoch }) => {
        if (errorCode !== code.none) throw protocolError(errorCode);
        return { id: producerId, epoch: producerEpoch };
      });
    this.#identity = asked;
    asked.catch(() => {
      if (this.#identity === asked) this.#identity = null;
    });
    return asked;
  }

  async #send(leader: Leader, queues: readonly ProduceQueue[]): Promise<void> {
    const sent: ProduceQueue[] = [];
    const parts: ProducePart[] = [];
    const bytesMax = Math.min(requestBytesMax, this.#bytesMax ?? requestBytesMax);
    let bytes = 0;
    for (const queue of queues) {
      const fits = parts.length === 0 || bytes + queue.nextBytes <= bytesMax;
      const first = fits ? queue.first() : null;
      if (first === null) {
        this.#ready.add(queue);
        continue;
      }
      const batch = first.writer.seal(first.stamp, this.#options.compression);
      bytes += batch.length;
      queue.isBusy = true;
      sent.push(queue);
      parts.push({ topic: queue.topic, partition: queue.partition, batch });
    }
    leader.requests += 1;
    try {
      const connection = await this.#cluster.connection(this.#pool, leader.node);
      this.#settle(sent, await this.#ask(connection, parts));
    } catch (error) {
      for (const queue of sent) {
        // Perhaps another node leads by now.
        this.#cluster.forgetLayout(queue.topic);
        this.#retryOrFail(queue, error, 'publish');
      }
    } finally {
      leader.requests -= 1;
      if (this.#ready.size > 0) this.#flushSoon();
    }
  }

  #ask(connection: Connection, parts: readonly ProducePart[]): Promise<ProduceAnswer> {
    // Three tries fit into the time that a publish has.
    const third = this.#options.publishTimeoutMs / 3;
    const timeoutMs = Math.max(1000, Math.min(10_000, third));
    return produce(this.#cluster, connection, parts, { timeoutMs });
  }

  #settle(sent: readonly ProduceQueue[], answer: ProduceAnswer): void {
    const results = new Map<string, ProducedPartition>();
    for (const { name, partitionResponses } of answer.responses) {
      for (const result of partitionResponses) results.set(`${name} ${result.index}`, result);
    }
    for (const queue of sent) {
      const result = results.get(`${queue.topic} ${queue.partition}`);
      if (result === undefined) {
        this.#retryOrFail(queue, new Error('the answer leaves a partition out'), 'publish');
      } else {
        this.#settleOne(queue, result);
      }
    }
  }

  #settleOne(queue: ProduceQueue, { errorCode, recordErrors, errorMessage }: ProducedPartition) {
    if (errorCode === code.none || errorCode === code.duplicateSequence) {
      queue.stored();
      return this.#release(queue);
    }
    if (errorCode === code.messageTooLarge || errorCode === code.recordListTooLarge) {
      this.#turnAway(queue, queue.tooLarge());
      return this.#release(queue);
    }
    // An invalid timestamp is none of the event's: it is our clock or the broker's that is wrong.
    if (errorCode === code.invalidRecord) {
      const reason = errorMessage ?? 'it is no valid record.';
      this.#turnAway(queue, queue.refuse(recordErrors?.[0]?.batchIndex, reason));
      return this.#release(queue);
    }
    const error = protocolError(errorCode, errorMessage);
    if (isProducerLost(errorCode)) {
      this.#identity = null;
      queue.forgetProducer();
    }
    if (isMetadataOld(errorCode)) this.#cluster.forgetLayout(queue.topic);
    return this.#retryOrFail(queue, error, 'publish');
  }

  /** The queue may go on with its next batch. */
  #release(queue: ProduceQueue): void {
    queue.isBusy = false;
    if (!queue.isEmpty) this.#ready.add(queue);
    this.#admit();
  }

  #retryOrFail(queue: ProduceQueue, thrown: unknown, where: string): void {
    const error = this.#cluster.failure(thrown, 'store events');
    const wait = backoffMs(queue.attempt);
    const isLate = performance.now() + wait > queue.deadline || this.#cluster.closed.aborted;
    if (!error.retryable || isLate) {
      // Numbers begin at 0 again with another id, never with the one that was used.
      if (queue.fail(error)) this.#identity = null;
      this.#giveUpLine(queue, error);
      this.#release(queue);
      return;
    }
    // Not the first time: a new topic's leader needs a moment, and that is no news. Nor is a broker
    // that has just started: in the end the call says so.
    const isLoading = codeOf(thrown) === code.coordinatorLoadInProgress;
    if (queue.attempt === 1 && !isLoading) this.#tell(error, where);
    queue.attempt += 1;
    setTimeout(() => this.#release(queue), wait);
  }

  #turnAway(queue: ProduceQueue, isRefused: boolean): void {
    if (isRefused) this.#giveUpLine(queue, heldBack(queue));
  }

  /** Calls that wait to be let in must not overtake what their partition just gave up. */
  #giveUpLine({ topic, partition }: ProduceQueue, error: MillraceError): void {
    const isOf = ({ events }: Line) =>
      events.some((one) => one.topic === topic && one.partition === partition);
    const given = this.#line.filter(isOf);
    if (given.length === 0) return;
    this.#line.splice(0, this.#line.length, ...this.#line.filter((line) => !isOf(line)));
    for (const { call } of given) call.reject(error);
  }

  /** Hundreds of partitions fail together: one of them speaks for all. */
  #tell(error: MillraceError, where: string): void {
    const now = performance.now();
    if (now - this.#toldAt < 1000) return;
    this.#toldAt = now;
    this.#options.onError(error, where);
  }

  /** Takes no more, and waits for what is under way. */
  async close(withinMs: number): Promise<void> {
    this.#isClosed = true;
    await settledWithin(Promise.allSettled(this.#calls), withinMs);
    for (const { call } of this.#line.splice(0)) call.reject(closedError());
    for (const ofTopic of this.#queues.values()) {
      for (const queue of ofTopic.values()) queue.fail(closedError());
    }
    await this.#cluster.closePool(this.#pool);
  }
}

function noPartition({ topic, partition }: ProduceQueue, partitions: number): MillraceError {
  const { fix, details } = unknownTopic(topic);
  const message = `Topic ${topic} has ${partitions} partitions, none of the number ${partition}.`;
  return new MillraceError('BROKER_TOPIC_UNKNOWN', message, { fix, details: details ?? {} });
}

function closedError(): MillraceError {
  return new MillraceError('BROKER_UNAVAILABLE', 'The connection to Kafka was closed.', {
    fix: 'Publish over a broker that is open; the events may be stored or not.',
  });
}

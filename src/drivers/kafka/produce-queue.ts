/**
 * What waits to be published to one partition, in order, as batches that are encoded already.
 *
 * Invariant: batches leave in the order in which their events were given, one at a time; a batch
 * that fails for now stays the first one, so nothing overtakes it. A batch that was sent keeps its
 * sequence number until its fate is known: the broker stores it once, however often it comes.
 */
import { MillraceError } from '../../core/errors.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';
import { BatchWriter, headerBytes, type ProducerStamp } from './batch-writer.ts';

/** One call of `publish`. */
export interface PublishCall {
  /** Of performance.now(). */
  readonly deadline: number;
  /** Events that are not acknowledged. */
  open: number;
  resolve(): void;
  reject(error: MillraceError): void;
}

interface Entry {
  readonly call: PublishCall;
  readonly index: number;
  readonly out: OutgoingEvent;
}

interface Batch {
  readonly writer: BatchWriter;
  readonly entries: readonly Entry[];
  /** Set when it was sent: it must not change any more. */
  stamp: ProducerStamp | null;
}

interface OpenBatch extends Batch {
  readonly entries: Entry[];
}

export interface QueueLimits {
  readonly source: string;
  /** A batch is closed above it. Half of what brokers take by default. */
  batchBytesMax: number;
  /** Of all queues: bytes that are not acknowledged yet. */
  waitingBytes: number;
}

export class ProduceQueue {
  readonly topic: string;
  readonly partition: number;
  /** Its batch is on the way, or waits for another try. */
  isBusy = false;
  attempt = 0;
  /** Null: a producer id is needed before the next batch. */
  producer: { readonly id: bigint; readonly epoch: number } | null = null;
  #sequence = 0;
  #batches: Batch[] = [];
  #open: OpenBatch | null = null;
  readonly #limits: QueueLimits;

  constructor(topic: string, partition: number, limits: QueueLimits) {
    this.topic = topic;
    this.partition = partition;
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** Of the batch that is next, not compressed. */
  get nextBytes(): number {
    return this.#batches[0]?.writer.bytes ?? 0;
  }

  add(call: PublishCall, index: number, out: OutgoingEvent): void {
    let open = this.#open;
    if (open === null || !this.#fits(open, out.payloadJson)) {
      open = { writer: new BatchWriter(this.#limits.source), entries: [], stamp: null };
      this.#open = open;
      this.#batches.push(open);
    }
    this.#limits.waitingBytes += open.writer.add(out);
    open.entries.push({ call, index, out });
    if (open.writer.bytes >= this.#limits.batchBytesMax) this.#open = null;
  }

  /** A large event gets a batch of its own: together they might be more than a broker takes. */
  #fits({ writer }: OpenBatch, text: string): boolean {
    const room = this.#limits.batchBytesMax - writer.bytes;
    return text.length * 3 <= room || Buffer.byteLength(text) <= room;
  }

  /** The batch that is next, with its number. Needs `producer`. */
  first(): { readonly writer: BatchWriter; readonly stamp: ProducerStamp } | null {
    const batch = this.#batches[0];
    if (batch === undefined || this.producer === null) return null;
    if (batch === this.#open) this.#open = null;
    if (batch.stamp === null) {
      const { id, epoch } = this.producer;
      batch.stamp = { producerId: id, producerEpoch: epoch, sequence: this.#sequence };
      // Numbers are positive 32-bit and begin at 0 again.
      this.#sequence = (this.#sequence + batch.entries.length) & 0x7fff_ffff;
    }
    return { writer: batch.writer, stamp: batch.stamp };
  }

  /** When its oldest event is given up; Infinity when there is none. */
  get deadline(): number {
    return this.#batches[0]?.entries[0]?.call.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** The first batch is stored. */
  stored(): void {
    this.attempt = 0;
    const batch = this.#batches.shift();
    if (batch === undefined) return;
    this.#drop(batch);
    for (const { call } of batch.entries) {
      call.open -= 1;
      if (call.open === 0) call.resolve();
    }
  }

  /** The producer is lost: all that waits is numbered anew, in the same order. */
  forgetProducer(): void {
    this.producer = null;
    this.#sequence = 0;
    for (const batch of this.#batches) batch.stamp = null;
  }

  /**
   * The broker refuses one record of the first batch, and with it stores none of the batch.
   * @param record undefined: it does not say which one, so halves are tried until one is alone
   * @returns true when an event was turned away, and all behind it
   */
  refuse(record: number | undefined, reason: string): boolean {
    const batch = this.#batches[0];
    if (batch === undefined) return false;
    const place = batch.entries.length === 1 ? 0 : (record ?? -1);
    const entry = batch.entries[place];
    if (entry === undefined) {
      this.#halve(batch);
      return false;
    }
    const { call, index, out } = entry;
    call.reject(
      new MillraceError(
        'BROKER_EVENT_REFUSED',
        `Kafka refuses event ${out.event.eventId} for ${this.topic}: ${reason}`,
        { details: { index, topic: this.topic, partition: this.partition } },
      ),
    );
    this.#keepOrder(place, call);
    return true;
  }

  /**
   * The first batch is too large. With one event in it that event is refused; otherwise it is sent
   * again in halves, and batches are smaller from now on.
   * @returns as `refuse`
   */
  tooLarge(): boolean {
    const batch = this.#batches[0];
    if (batch === undefined) return false;
    if (batch.entries.length === 1) {
      return this.refuse(0, `with ${batch.writer.bytes} bytes it is larger than it may be.`);
    }
    this.#limits.batchBytesMax = Math.max(
      16_384,
      Math.min(this.#limits.batchBytesMax, batch.writer.bytes >> 1),
    );
    this.#halve(batch);
    return false;
  }

  #halve(batch: Batch): void {
    const middle = batch.entries.length >> 1;
    const halves = [batch.entries.slice(0, middle), batch.entries.slice(middle)];
    this.#drop(batch);
    if (batch === this.#open) this.#open = null;
    this.#batches.splice(0, 1, ...halves.map((entries) => this.#encode(entries)));
    this.#renumber(batch);
  }

  /** What was refused used up no number: the broker expects the same one again. */
  #renumber(refused: Batch): void {
    if (refused.stamp === null) return;
    this.#sequence = refused.stamp.sequence;
    for (const batch of this.#batches) batch.stamp = null;
  }

  #drop({ writer }: Batch): void {
    this.#limits.waitingBytes -= writer.bytes - headerBytes;
    writer.release();
  }

  #encode(entries: readonly Entry[]): Batch {
    const writer = new BatchWriter(this.#limits.source);
    for (const { out } of entries) this.#limits.waitingBytes += writer.add(out);
    return { writer, entries, stamp: null };
  }

  /**
   * After a refusal: events before it are sent again, those behind it are not, for they would
   * overtake what its caller will publish in its place. Their callers are told to try again.
   */
  #keepOrder(record: number, refusedCall: PublishCall): void {
    const batch = this.#batches[0] as Batch;
    const before = batch.entries.slice(0, record);
    const behind = [
      ...batch.entries.slice(record + 1),
      ...this.#batches.slice(1).flatMap(({ entries }) => entries),
    ];
    for (const each of this.#batches) this.#drop(each);
    this.#open = null;
    this.#batches = before.length === 0 ? [] : [this.#encode(before)];
    this.#renumber(batch);
    const error = heldBack(this);
    for (const { call } of behind) if (call !== refusedCall) call.reject(error);
  }

  /**
   * Gives up everything that waits.
   * @returns true when one of it may be stored: then the next number is unknown, and the producer
   * is forgotten
   */
  fail(error: MillraceError): boolean {
    const batches = this.#batches;
    this.#batches = [];
    this.#open = null;
    this.attempt = 0;
    const mayBeStored = batches.some(({ stamp }) => stamp !== null);
    if (mayBeStored) this.forgetProducer();
    for (const batch of batches) {
      this.#drop(batch);
      for (const { call } of batch.entries) call.reject(error);
    }
    return mayBeStored;
  }
}

/** For who stood behind an event that was refused. */
export function heldBack({ topic, partition }: ProduceQueue): MillraceError {
  return new MillraceError(
    'BROKER_UNAVAILABLE',
    `An event before these was refused for partition ${partition} of ${topic}.`,
    { fix: 'Publish them again: they were held back to keep the order.' },
  );
}

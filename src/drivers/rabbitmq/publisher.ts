/**
 * Publishing: one channel with confirms, many messages under way, everything in the order of the
 * calls. A message that is not confirmed ends the channel with everything behind it, so nothing is
 * stored after what was not; whoever called publishes again.
 *
 * Invariant: a batch resolves when each of its messages is confirmed; after a failure of the
 * channel no message of a batch that was called before is sent any more.
 */
import type { Channel } from 'rabbitmq-client';
import { MillraceError } from '../../core/errors.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';
import { codeOf, isMissing, messageOf, translate, unavailable, unknownTopic } from './failures.ts';
import type { Link } from './link.ts';
import { type Encoded, encode, headersFit } from './messages.ts';
import type { Topics } from './topics.ts';

/** Messages and bytes under way. */
const unconfirmedMax = 8_192;
const bytesMax = 67_108_864;
/** Bodies up to here are bounded by their number. */
const smallBytes = 8_192;

export interface PublisherOptions {
  readonly link: Link;
  readonly topics: Topics;
  readonly source: string;
  readonly timeoutMs: number;
}

interface Batch {
  readonly events: readonly OutgoingEvent[];
  readonly settle: (error: MillraceError | null) => void;
  sent: number;
  confirmed: number;
  over: boolean;
}

/** A channel and what is under way on it. */
interface Lane {
  readonly channel: Channel;
  readonly onFailure: (error: unknown) => void;
  unconfirmed: number;
  bytes: number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  /** Called and not wholly sent, in order. */
  readonly #queue: Batch[] = [];
  /** Sent wholly or in part, and not wholly confirmed, in order. */
  readonly #underWay = new Set<Batch>();
  #lane: Lane | null = null;
  #pumping = false;
  /** Called when the pump may go on. */
  #wake: (() => void) | null = null;
  /** What the server once said that it takes, in bytes of body. */
  #bodyBytesMax = Number.POSITIVE_INFINITY;
  /** The connection is about to be made anew. */
  #leaving = false;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    options.link.listen({
      onOpen: () => this.#stay(),
      onLost: (error) => {
        this.#stay();
        if (this.#lane !== null) this.#broken(this.#lane, error);
      },
      onLeaving: () => this.#leave(),
    });
  }

  publish(events: readonly OutgoingEvent[]): Promise<void> {
    if (events.length === 0) return Promise.resolve();
    if (this.#closed) return Promise.reject(unavailable('the broker is closed'));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#late(batch), this.#options.timeoutMs);
    const batch: Batch = {
      events,
      sent: 0,
      confirmed: 0,
      over: false,
      settle: (error) => {
        if (batch.over) return;
        batch.over = true;
        clearTimeout(timer);
        this.#underWay.delete(batch);
        if (error === null) resolve();
        else reject(error);
      },
    };
    this.#queue.push(batch);
    if (!this.#pumping) void this.#pump();
    return promise;
  }

  /** Waits for what is under way; what is not confirmed by then is given up. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    const idle = () => this.#underWay.size === 0 && this.#queue.length === 0;
    await this.#until(idle, timeoutMs);
    this.#failAll(unavailable('the broker was closed'));
    void this.#lane?.channel.close();
    this.#lane = null;
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      try {
        await this.#checkPlaces(batch.events);
        const lane = await this.#open();
        if (!batch.over) await this.#send(batch, lane);
      } catch (error) {
        const failure = translate(error, 'publishing');
        // What comes after must not be stored before what failed and will be published again.
        if (failure.retryable) this.#failAll(failure);
        else batch.settle(failure);
      }
      if (this.#queue[0] === batch) this.#queue.shift();
    }
    this.#pumping = false;
  }

  /** @throws MillraceError BROKER_TOPIC_UNKNOWN, BROKER_EVENT_REFUSED */
  async #checkPlaces(events: readonly OutgoingEvent[]): Promise<void> {
    const { topics } = this.#options;
    let [last, partitions] = ['', 0];
    for (const [index, { topic, partition }] of events.entries()) {
      if (topic !== last) {
        partitions = topics.known(topic) ?? (await topics.partitions(topic));
        last = topic;
      }
      if (Number.isInteger(partition) && partition >= 0 && partition < partitions) continue;
      throw refused(index, `'${topic}' has ${partitions} partitions and no number ${partition}`);
    }
  }

  async #open(): Promise<Lane> {
    await this.#room();
    if (this.#lane !== null) return this.#lane;
    const channel = await this.#options.link.channel();
    await channel.confirmSelect();
    const lane: Lane = {
      channel,
      onFailure: (error) => this.#broken(lane, error),
      unconfirmed: 0,
      bytes: 0,
    };
    // Messages under way know the reason, and tell it first.
    const closed = () => this.#broken(lane, unavailable('the channel was closed'));
    channel.on('close', () => setImmediate(closed));
    this.#lane = lane;
    return lane;
  }

  async #send(batch: Batch, lane: Lane): Promise<void> {
    const { link, source } = this.#options;
    const { events } = batch;
    this.#underWay.add(batch);
    const confirmed = () => this.#confirmed(lane, batch, 0);
    link.gather();
    while (batch.sent < events.length) {
      if (this.#mustWait()) {
        await this.#room();
        link.gather();
      }
      if (batch.over) return;
      if (this.#lane !== lane) return this.#send(batch, await this.#open());
      const index = batch.sent;
      const message = encode(events[index] as OutgoingEvent, source);
      const problem = this.#problemOf(message, link.frameBytes);
      if (problem !== null) throw refused(index, problem);
      const { envelope, body } = message;
      batch.sent += 1;
      lane.unconfirmed += 1;
      const bytes = body.length > smallBytes ? body.length : 0;
      lane.bytes += bytes;
      const onConfirm = bytes === 0 ? confirmed : () => this.#confirmed(lane, batch, bytes);
      lane.channel.basicPublish(envelope, body).then(onConfirm, lane.onFailure);
    }
  }

  #problemOf(message: Encoded, frameBytes: number): string | null {
    const bytes = message.body.length;
    if (bytes > this.#bodyBytesMax) {
      return `its payload takes ${bytes} bytes; the server takes ${this.#bodyBytesMax}`;
    }
    if (headersFit(message, frameBytes)) return null;
    return `its headers do not fit into a frame of ${frameBytes} bytes: less metadata, please`;
  }

  #confirmed(lane: Lane, batch: Batch, bytes: number): void {
    lane.unconfirmed -= 1;
    lane.bytes -= bytes;
    batch.confirmed += 1;
    if (batch.confirmed === batch.events.length) batch.settle(null);
    if (this.#wake !== null && !this.#mustWait()) this.#wake();
  }

  #mustWait(): boolean {
    const lane = this.#lane;
    if (this.#leaving) return true;
    return lane !== null && (lane.unconfirmed >= unconfirmedMax || lane.bytes >= bytesMax);
  }

  async #room(): Promise<void> {
    while (this.#mustWait()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  /** The first failure of a channel says why; everything under way on it failed with it. */
  #broken(lane: Lane, error: unknown): void {
    if (this.#lane !== lane) return;
    this.#lane = null;
    void lane.channel.close();
    this.#blame(error);
    this.#failAll(unavailable('a channel failed with what was under way', error));
    this.#wake?.();
  }

  /** Finds the batch whose event made the server close the channel. The rest is retryable. */
  #blame(error: unknown): void {
    const tooLarge = /message size \d+.*?max(?:imum)? size (\d+)/i.exec(messageOf(error));
    if (codeOf(error) === 'PRECONDITION_FAILED' && tooLarge !== null) {
      this.#bodyBytesMax = Number(tooLarge[1]);
      for (const batch of this.#underWay) {
        const index = batch.events.findIndex(
          ({ payloadJson }, i) =>
            i >= batch.confirmed && Buffer.byteLength(payloadJson) > this.#bodyBytesMax,
        );
        if (index < 0 || index >= batch.sent) continue;
        batch.settle(refused(index, messageOf(error)));
        return;
      }
    }
    const topic = /exchange '([^']*)'/.exec(messageOf(error))?.[1];
    if (topic === undefined) return;
    const missing = isMissing(error);
    if (!missing && codeOf(error) !== 'ACCESS_REFUSED') return;
    if (missing) this.#options.topics.forget(topic);
    const failure = missing ? unknownTopic(topic) : translate(error, `publishing to '${topic}'`);
    for (const batch of [...this.#underWay]) {
      if (batch.events.some((event) => event.topic === topic)) batch.settle(failure);
    }
  }

  /** What may still be in a buffer must not be stored after it was published again. */
  #late(batch: Batch): void {
    const { link, timeoutMs } = this.#options;
    const failure = unavailable(`no confirmation within ${timeoutMs} ms`);
    const waits = batch.sent === 0;
    batch.settle(failure);
    if (!waits) link.drop(failure);
  }

  #failAll(error: MillraceError): void {
    for (const batch of [...this.#underWay, ...this.#queue]) batch.settle(error);
  }

  async #leave(): Promise<void> {
    this.#leaving = true;
    await this.#until(() => !this.#lane?.unconfirmed, this.#options.timeoutMs);
    void this.#lane?.channel.close();
    this.#lane = null;
  }

  #stay(): void {
    this.#leaving = false;
    this.#wake?.();
  }

  async #until(check: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!check() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function refused(index: number, problem: string): MillraceError {
  return new MillraceError('BROKER_EVENT_REFUSED', `RabbitMQ: event ${index}: ${problem}.`, {
    details: { index },
    fix: "Make the event smaller, or raise the server's max_message_size; then publish it again.",
  });
}

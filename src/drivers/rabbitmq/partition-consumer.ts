/**
 * The deliveries of one partition: a channel of its own, so that "everything up to here" of an
 * acknowledgement means this partition, and closing it gives back what was not acknowledged, in
 * order and at once, before the next consumer gets anything.
 *
 * Messages wait here while the partition is paused or too many are in flight. Positions ascend over
 * all consumers that one subscription has of a partition: `base` plus the channel's delivery tag.
 */
import type { AsyncMessage, Channel } from 'rabbitmq-client';
import type { Delivery, TopicPartition } from '../../ports/broker.ts';
import { translate, unavailable } from './failures.ts';
import type { Link } from './link.ts';
import { decode, leaveUnparsed } from './messages.ts';

/**
 * The same for all members, whatever they hold in flight. What a consumer that is gone had not
 * acknowledged goes to the next one before anything else, but a second return goes behind what is
 * left of the first: a member that takes fewer than the one before, and is gone as well, would
 * leave them in the wrong order. So everybody takes as many.
 */
export const prefetch = 1_000;

export interface PartitionConsumerOptions {
  readonly link: Link;
  readonly place: TopicPartition;
  readonly queue: string;
  /** The last position of an earlier consumer of this partition. */
  readonly base: number;
  readonly inFlightMax: number;
  readonly mayWait: boolean;
  onDeliveries(place: TopicPartition, deliveries: readonly Delivery[]): void;
  onError(error: unknown, where: string): void;
  /** The server ended it, or the connection is gone. At most once, and not after `close`. */
  onLost(consumer: PartitionConsumer): void;
}

export class PartitionConsumer {
  readonly place: TopicPartition;
  /** The subscriber was told that it has it, and not that it has it no more. */
  isAssigned = false;
  readonly #options: PartitionConsumerOptions;
  readonly #channel: Channel;
  #waiting: AsyncMessage[] = [];
  /** Delivery tags: received, given to the subscriber, told to be done, known to be done. */
  #received = 0;
  #given = 0;
  #told = 0;
  #known = 0;
  #state: 'new' | 'started' | 'stopped' | 'over' = 'new';
  #paused = false;
  #flushing = false;
  #round: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  private constructor(options: PartitionConsumerOptions, channel: Channel) {
    this.#options = options;
    this.#channel = channel;
    this.place = options.place;
  }

  /**
   * Consumes; nothing is given to the subscriber before `start`. Null: somebody else consumes it,
   * and `mayWait` does not allow to stand in line at the server.
   */
  static async open(options: PartitionConsumerOptions): Promise<PartitionConsumer | null> {
    const channel = await options.link.channel();
    leaveUnparsed(channel);
    const consumer = new PartitionConsumer(options, channel);
    const lost = () => consumer.#lose();
    channel.on('close', lost);
    channel.on('basic.cancel', () => void channel.close());
    try {
      const { queue, mayWait } = options;
      const { consumerCount } = await channel.queueDeclare({ queue, passive: true });
      if (consumerCount > 0 && !mayWait) {
        consumer.#state = 'over';
        void channel.close();
        return null;
      }
      await channel.basicQos({ prefetchCount: prefetch });
      await channel.basicConsume({ queue }, (message) => consumer.#receive(message));
      return consumer;
    } catch (error) {
      consumer.#state = 'over';
      void channel.close();
      throw translate(error, `consuming '${options.queue}'`);
    }
  }

  /** The largest position there was. */
  get last(): number {
    return this.#options.base + this.#received;
  }

  /** Deliveries that the server waits for, those that wait here among them. */
  get unacknowledged(): number {
    return this.#received - this.#known;
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  start(isPaused: boolean): void {
    if (this.#state === 'new') this.#state = 'started';
    this.#paused = isPaused;
    this.#give();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#give();
  }

  /** No more deliveries; acknowledging goes on. */
  stop(): void {
    if (this.#state !== 'over') this.#state = 'stopped';
    this.#waiting = [];
  }

  /** @throws MillraceError BROKER_UNAVAILABLE */
  async acknowledge(position: string): Promise<void> {
    const tag = Number(position) - this.#options.base;
    // Of an earlier consumer: the partition was lost since.
    if (!(tag > 0 && tag <= this.#given)) return;
    if (tag > this.#told) {
      this.#told = tag;
      this.#give();
    }
    if (tag <= this.#known) return;
    await this.#covered();
  }

  /** Gives back what was not acknowledged. Acknowledgements under way are finished first. */
  async close(): Promise<void> {
    this.stop();
    if (this.#told > this.#known) await this.#covered().catch(() => {});
    this.#state = 'over';
    await this.#channel.close();
  }

  /** A round that begins now or later covers everything told until it begins. */
  #covered(): Promise<void> {
    if (this.#round === null) {
      this.#round = this.#acknowledgeTold().finally(() => {
        this.#round = null;
      });
      return this.#round;
    }
    this.#next ??= this.#round
      .catch(() => {})
      .then(() => {
        this.#next = null;
        return this.#covered();
      });
    return this.#next;
  }

  /**
   * An acknowledgement has no answer, but the server does one thing of a channel after the other:
   * its answer to the next thing says that this one was done.
   */
  async #acknowledgeTold(): Promise<void> {
    const tag = this.#told;
    // The round before this one covered it. The server ends a channel that acknowledges twice.
    if (tag <= this.#known) return;
    if (this.isOver) throw unavailable('the partition was lost while acknowledging');
    try {
      this.#channel.basicAck({ deliveryTag: tag, multiple: true });
      await this.#channel.basicQos({ prefetchCount: prefetch });
    } catch (error) {
      throw unavailable('the channel was lost while acknowledging', error);
    }
    this.#known = Math.max(this.#known, tag);
  }

  #receive(message: AsyncMessage): void {
    if (this.isOver) return;
    this.#received = message.deliveryTag;
    if (this.#state === 'stopped') return;
    this.#waiting.push(message);
    if (this.#flushing) return;
    this.#flushing = true;
    // The client hands messages over one by one: those that came together go on together.
    setImmediate(() => {
      this.#flushing = false;
      this.#give();
    });
  }

  #give(): void {
    if (this.#state !== 'started' || this.#paused || this.#waiting.length === 0) return;
    const room = this.#options.inFlightMax - (this.#given - this.#told);
    if (room <= 0) return;
    const messages = this.#waiting.slice(0, room);
    this.#waiting = this.#waiting.length > room ? this.#waiting.slice(room) : [];
    this.#given = (messages.at(-1) as AsyncMessage).deliveryTag;
    const deliveries = messages.map((message) => this.#deliveryOf(message));
    try {
      this.#options.onDeliveries(this.place, deliveries);
    } catch (error) {
      this.#options.onError(error, 'onDeliveries');
    }
  }

  #deliveryOf(message: AsyncMessage): Delivery {
    const { topic, partition } = this.place;
    const { event, problem, raw } = decode(message);
    const position = String(this.#options.base + message.deliveryTag);
    const { redelivered } = message;
    return { topic, partition, position, event, problem, raw, redelivered };
  }

  #lose(): void {
    if (this.isOver) return;
    this.stop();
    this.#state = 'over';
    this.#options.onLost(this);
  }
}

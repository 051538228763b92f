/**
 * Hears of step messages in the queues of its namespaces, and makes events of that: one bounded
 * channel a namespace. The connection for notices is the process's own, kept up by the engine.
 *
 * An event that finds its channel full is dropped and never lost: the queue is remembered, and is
 * looked at as soon as there is room (`missed`).
 */
import type { WorkerListenerConfig } from '../../configuration/configuration.ts';
import type { WakeSource } from '../../runtime/heads.ts';
import { BoundedChannel } from './bounded-channel.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import { queueOf, type WorkerNotification } from './worker-queue-event.ts';

export interface WorkerQueueListenerOptions {
  readonly supportedNamespaces: readonly string[];
  readonly config: WorkerListenerConfig;
  /** Notifications of one namespace that wait at most. */
  readonly bufferSize: number;
  /** Share of it from which on events are shed. */
  readonly loadSheddingThreshold: number;
  readonly counters: WorkerCounters;
}

type EventNotification = Extract<WorkerNotification, { type: 'Event' }>;

export class WorkerQueueListener {
  readonly supportedNamespaces: readonly string[];
  readonly #options: WorkerQueueListenerOptions;
  readonly #namespaceOf: ReadonlyMap<string, string>;
  #channels = new Map<string, BoundedChannel<EventNotification>>();
  /** Of each queue: the event that waits and takes others in. */
  readonly #waiting = new Map<string, { lanes: Set<number>; everything: boolean }>();
  readonly #missed = new Set<string>();
  #listening = false;

  constructor(options: WorkerQueueListenerOptions) {
    this.#options = options;
    this.supportedNamespaces = options.supportedNamespaces;
    this.#namespaceOf = new Map(options.supportedNamespaces.map((name) => [queueOf(name), name]));
  }

  get isListening(): boolean {
    return this.#listening;
  }

  start(): void {
    if (this.#listening) return;
    this.#listening = true;
    const { bufferSize } = this.#options;
    this.#channels = new Map(
      [...this.#namespaceOf.keys()].map((queue) => [queue, new BoundedChannel(bufferSize)]),
    );
  }

  /** What waits is dropped; its messages are in their queues. */
  stop(): void {
    this.#listening = false;
    for (const channel of this.#channels.values()) channel.close();
    this.#waiting.clear();
    this.#missed.clear();
  }

  /** The events of one queue until the listener stops. */
  async *notifications(queueName: string): AsyncGenerator<WorkerNotification> {
    const channel = this.#channels.get(queueName);
    if (channel === undefined) return;
    for (;;) {
      const notification = await channel.take();
      if (notification === null) return;
      const merged = this.#waiting.get(queueName);
      this.#waiting.delete(queueName);
      if (merged === undefined) yield notification;
      else yield withLanes(notification, merged.everything ? [] : [...merged.lanes]);
    }
  }

  /** Messages wait in the queue, in these lanes or (none named) in any. */
  hear(queueName: string, path: WakeSource, lanes: readonly number[]): void {
    const channel = this.#channels.get(queueName);
    const namespace = this.#namespaceOf.get(queueName);
    if (!this.#listening || channel === undefined || namespace === undefined) return;
    const { config, counters, loadSheddingThreshold } = this.#options;
    counters.received[path] += 1;
    if (config.batchProcessing && this.#merge(queueName, lanes)) {
      counters.eventsMerged += 1;
      return;
    }
    const full = channel.size >= channel.capacity;
    if (full || channel.fill >= loadSheddingThreshold) {
      if (full) counters.eventsDropped += 1;
      else counters.eventsShed += 1;
      this.#missed.add(queueName);
      return;
    }
    const message = { queueName, namespace, path, lanes, receivedAt: Date.now() };
    channel.push({ type: 'Event', event: { type: 'StepMessage', message } });
    if (config.batchProcessing) {
      const everything = lanes.length === 0;
      this.#waiting.set(queueName, { lanes: new Set(lanes), everything });
    }
  }

  /** An event of this queue could not be taken: it is to be looked at later. */
  miss(queueName: string): void {
    this.#missed.add(queueName);
  }

  /** True once for each queue with missed events, when its channel has room again. */
  takeMissed(queueName: string): boolean {
    const channel = this.#channels.get(queueName);
    if (channel === undefined || channel.fill >= this.#options.loadSheddingThreshold) return false;
    return this.#missed.delete(queueName);
  }

  #merge(queueName: string, lanes: readonly number[]): boolean {
    const waiting = this.#waiting.get(queueName);
    if (waiting === undefined) return false;
    if (lanes.length === 0) waiting.everything = true;
    for (const lane of lanes) waiting.lanes.add(lane);
    return true;
  }
}

function withLanes({ event }: EventNotification, lanes: readonly number[]): EventNotification {
  return { type: 'Event', event: { ...event, message: { ...event.message, lanes } } };
}

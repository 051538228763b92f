/**
 * Publishing. Each partition has one batch on its way: what is published meanwhile waits and goes
 * together in the next. So a batch that the server refused is followed by none that was published
 * after it: those that waited behind it are refused with it, and the order of calls is the order
 * of entries whatever happens. While one partition waits, others are written; with appendfsync
 * always one fsync serves all that came in one round of the server.
 */
import { MillraceError } from '../../../core/errors.ts';
import type { OutgoingEvent } from '../../../ports/broker.ts';
import type { Redis } from '../connection.ts';
import { unavailable, unknownTopic } from './failures.ts';
import { type Fields, fieldsOf } from './fields.ts';
import { baseOf } from './names.ts';
import { scripts } from './scripts.ts';

/** A script of as many takes the server a few milliseconds, in which it answers nobody else. */
const batchMax = 500;
const batchCharsMax = 1_048_576;
/** Larger ones would keep the server and its replicas busy for long. */
export const eventBytesMax = 8_388_608;
/** Attributes and framing of an event, without payload and metadata, at most. */
const attributeBytesMax = 16_384;
const trimEveryMs = 10_000;

interface Call {
  /** Lanes that have not acknowledged all of it. */
  readonly lanes: Set<Lane>;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

interface Part {
  readonly call: Call;
  readonly events: readonly OutgoingEvent[];
  /** Where the next batch goes on. */
  from: number;
}

interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly parts: Part[];
  /** Calls with events in the batch that is on its way. */
  sending: ReadonlySet<Call>;
  busy: boolean;
  trimmedAt: number;
}

export interface PublisherOptions {
  readonly redis: Redis;
  readonly source: string;
  readonly timeoutMs: number;
  readonly onError: (error: unknown, where: string) => void;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #calls = new Set<Promise<void>>();
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  async publish(events: readonly OutgoingEvent[]): Promise<void> {
    if (this.#closed) throw unavailable('This client was closed.');
    if (events.length === 0) return;
    checkSizes(events);
    const acknowledged = this.#begin(events);
    this.#calls.add(acknowledged);
    try {
      await acknowledged;
    } finally {
      this.#calls.delete(acknowledged);
    }
  }

  /** Waits for what is under way, as long as it is told. */
  async close(patienceMs: number): Promise<void> {
    this.#closed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const impatience = setTimeout(resolve, patienceMs);
    await Promise.race([Promise.allSettled([...this.#calls]), promise]);
    clearTimeout(impatience);
  }

  #begin(events: readonly OutgoingEvent[]): Promise<void> {
    const { timeoutMs } = this.#options;
    const groups = new Map<Lane, OutgoingEvent[]>();
    for (const event of events) {
      const lane = this.#lane(event);
      const group = groups.get(lane);
      if (group) group.push(event);
      else groups.set(lane, [event]);
    }
    return new Promise((resolve, reject) => {
      const late = () => fail(call, unavailable(`Redis did not acknowledge in ${timeoutMs} ms.`));
      const timer = setTimeout(late, timeoutMs);
      const call: Call = {
        lanes: new Set(groups.keys()),
        done() {
          clearTimeout(timer);
          resolve();
        },
        fail(error) {
          clearTimeout(timer);
          reject(error as Error);
        },
      };
      for (const [lane, own] of groups) {
        lane.parts.push({ call, events: own, from: 0 });
        if (!lane.busy) void this.#work(lane);
      }
    });
  }

  #lane({ topic, partition }: OutgoingEvent): Lane {
    const name = `${partition} ${topic}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      const trimmedAt = performance.now();
      lane = { topic, partition, parts: [], sending: new Set(), busy: false, trimmedAt };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** Never rejects. */
  async #work(lane: Lane): Promise<void> {
    lane.busy = true;
    while (lane.parts.length > 0) {
      // One turn later: what one caller publishes in a row goes in one batch.
      await null;
      const batch = takeBatch(lane, this.#options.source);
      lane.sending = batch.calls;
      try {
        await this.#send(lane, batch.fields);
        for (const call of batch.ended) {
          call.lanes.delete(lane);
          if (call.lanes.size === 0) call.done();
        }
      } catch (error) {
        for (const call of batch.calls) fail(call, error);
      }
      lane.sending = none;
    }
    lane.busy = false;
    if (performance.now() - lane.trimmedAt > trimEveryMs) this.#trim(lane);
  }

  async #send({ topic, partition }: Lane, batch: readonly Fields[]): Promise<void> {
    const { redis } = this.#options;
    const numbers = new Map<string, string>();
    const values: string[] = [];
    for (const { shape, values: own } of batch) {
      let number = numbers.get(shape);
      if (number === undefined) {
        number = String(numbers.size + 1);
        numbers.set(shape, number);
      }
      values.push(number);
      for (const value of own) values.push(value);
    }
    const args = [String(partition), String(numbers.size), ...numbers.keys()].concat(values);
    const stored = await redis.run<number | null>(scripts.publish, baseOf(topic), args);
    if (stored === null) throw unknownTopic(topic, partition);
  }

  /** Members trim what they acknowledge; by age a topic is trimmed by those who fill it as well. */
  #trim(lane: Lane): void {
    lane.trimmedAt = performance.now();
    const { redis, onError } = this.#options;
    redis
      .run(scripts.trim, baseOf(lane.topic), [lane.partition])
      .catch((error) => onError(error, `trimming ${lane.topic}`));
  }
}

const none: ReadonlySet<Call> = new Set();

/** Refuses a call, and all that wait behind an event of it: they must not overtake it. */
function fail(call: Call, error: unknown): void {
  const lanes = [...call.lanes];
  call.lanes.clear();
  call.fail(error);
  for (const lane of lanes) {
    const own = lane.parts.findIndex((part) => part.call === call);
    const from = own === -1 && lane.sending.has(call) ? 0 : own;
    if (from === -1) continue;
    for (const part of lane.parts.splice(from)) if (part.call !== call) fail(part.call, error);
  }
}

interface Batch {
  readonly fields: readonly Fields[];
  readonly calls: ReadonlySet<Call>;
  /** Calls whose last event of this partition is in it. */
  readonly ended: readonly Call[];
}

function takeBatch(lane: Lane, source: string): Batch {
  const fields: Fields[] = [];
  const calls = new Set<Call>();
  const ended: Call[] = [];
  let chars = 0;
  while (lane.parts.length > 0 && fields.length < batchMax) {
    const part = lane.parts[0] as Part;
    const event = part.events[part.from] as OutgoingEvent;
    chars += event.payloadJson.length + (event.metadataJson?.length ?? 0);
    if (chars > batchCharsMax && fields.length > 0) break;
    fields.push(fieldsOf(event, source));
    calls.add(part.call);
    part.from += 1;
    if (part.from < part.events.length) continue;
    ended.push(part.call);
    lane.parts.shift();
  }
  return { fields, calls, ended };
}

function checkSizes(events: readonly OutgoingEvent[]): void {
  for (const [index, { payloadJson, metadataJson }] of events.entries()) {
    const chars = payloadJson.length + (metadataJson?.length ?? 0);
    if (chars * 3 + attributeBytesMax <= eventBytesMax) continue;
    const bytes = Buffer.byteLength(payloadJson) + Buffer.byteLength(metadataJson ?? '');
    if (bytes + attributeBytesMax <= eventBytesMax) continue;
    throw new MillraceError(
      'BROKER_EVENT_REFUSED',
      `Event ${index} of the batch has ${bytes} bytes; ${eventBytesMax} is the most in a stream.`,
      { fix: 'Store the large part elsewhere and put a reference to it.', details: { index } },
    );
  }
}

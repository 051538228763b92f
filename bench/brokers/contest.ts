/**
 * What is measured of a broker: our driver and the bare client, side by side on one server, with
 * the same bytes, the same batches and the same settings. Rounds alternate who begins, so that
 * what the machine does meanwhile hits both; figures are medians of the rounds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, type BrokerSubscription, newEventId, type OutgoingEvent } from 'millrace';
import { median, round, thousands } from '../statistics.ts';

export const partitions = 8;
/** Events in one call, of all partitions in turn. */
export const batchSize = 1_000;
/** Calls that are not acknowledged. */
const callsUnderWay = 8;
/** Deliveries of a partition that are not acknowledged; RabbitMQ's prefetch. */
export const inFlightMax = 1_000;
/** A consumer acknowledges after so many, where the client leaves it to us. */
export const acknowledgeEvery = 100;

/** One client of the server. */
export interface Side {
  /** Resolves when the server has acknowledged the batch. */
  publish(): Promise<unknown>;
  /** Consumes and acknowledges so many that are there already; answers how many per second. */
  consume(count: number): Promise<number>;
}

export interface Contest {
  readonly name: string;
  readonly ours: Side;
  readonly bare: Side;
  /** Between stretches of publishing: what was published goes away, where it is in the way. */
  clear(): Promise<void>;
  /** Makes so many be there for the next to consume them. */
  fill(count: number): Promise<void>;
  /** One idle event from publish to delivery through our driver, milliseconds. */
  latencyMs(): Promise<number>;
  close(): Promise<void>;
}

export interface Settings {
  readonly rounds: number;
  /** Of publishing, per side and round. */
  readonly seconds: number;
  log(line: string): void;
}

export interface ContestFigures {
  readonly publishPerSecond: number;
  readonly barePublishPerSecond: number;
  readonly publishRatio: number;
  readonly consumePerSecond: number;
  readonly bareConsumePerSecond: number;
  readonly consumeRatio: number;
  readonly latencyMsP50: number;
}

const latencySamples = 30;

export async function measure(contest: Contest, settings: Settings): Promise<ContestFigures> {
  const { rounds, seconds, log } = settings;
  const rates = { ours: [] as number[], bare: [] as number[] };
  const reads = { ours: [] as number[], bare: [] as number[] };
  const order = (n: number) =>
    n % 2 === 0 ? (['ours', 'bare'] as const) : (['bare', 'ours'] as const);
  // Connections, code and caches are warm when it counts.
  for (const side of order(0)) await publishFor(contest, side, Math.min(1, seconds));
  for (let n = 0; n < rounds; n += 1) {
    for (const side of order(n)) {
      rates[side].push(await publishFor(contest, side, seconds));
    }
    log(`${contest.name}: published ${said(rates)} per second`);
  }
  // As many as take about as long as publishing did, and enough for slow starts not to count.
  const perBatch = Math.min(median(rates.ours), median(rates.bare)) * seconds;
  const count = Math.max(20, Math.round(perBatch / batchSize)) * batchSize;
  for (let n = -1; n < rounds; n += 1) {
    for (const side of order(n + 2)) {
      await contest.fill(count);
      const rate = await contest[side].consume(count);
      if (n >= 0) reads[side].push(rate);
    }
    if (n >= 0) log(`${contest.name}: consumed ${said(reads)} per second`);
  }
  const latencies: number[] = [];
  for (let n = 0; n < latencySamples; n += 1) {
    latencies.push(await contest.latencyMs());
    await sleep(10); // idle again
  }
  return {
    publishPerSecond: Math.round(median(rates.ours)),
    barePublishPerSecond: Math.round(median(rates.bare)),
    publishRatio: ratio(rates),
    consumePerSecond: Math.round(median(reads.ours)),
    bareConsumePerSecond: Math.round(median(reads.bare)),
    consumeRatio: ratio(reads),
    latencyMsP50: round(median(latencies)),
  };
}

interface Rates {
  readonly ours: readonly number[];
  readonly bare: readonly number[];
}

/** Of the rounds' ratios: both sides of a round saw the same machine. */
function ratio({ ours, bare }: Rates): number {
  return round(median(ours.map((rate, n) => rate / (bare[n] as number))), 3);
}

function said({ ours, bare }: Rates): string {
  return `${thousands(ours.at(-1) ?? 0)} (bare ${thousands(bare.at(-1) ?? 0)})`;
}

async function publishFor(
  contest: Contest,
  name: 'ours' | 'bare',
  seconds: number,
): Promise<number> {
  const side = contest[name];
  const startedAt = performance.now();
  const end = startedAt + seconds * 1_000;
  let batches = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await side.publish();
      batches += 1;
    }
  };
  await Promise.all(Array.from({ length: callsUnderWay }, caller));
  const tookSeconds = (performance.now() - startedAt) / 1_000;
  await contest.clear();
  return (batches * batchSize) / tookSeconds;
}

const payloadJson = JSON.stringify({ text: 'x'.repeat(189) });

/** Made before it counts: what is measured is the way to the broker. 200 bytes of payload each. */
export function makeEvents(topic: string, count: number): OutgoingEvent[] {
  const { length: bytes } = payloadJson;
  if (bytes !== 200) throw new Error(`the payload has ${bytes} bytes, not 200`);
  return Array.from({ length: count }, (_, i) => {
    const eventId = newEventId();
    return {
      topic,
      partition: i % partitions,
      payloadJson,
      metadataJson: null,
      place: { logId: eventId, partition: i % partitions, offset: i + 1 },
      event: {
        eventId,
        eventType: 'BenchEvent',
        version: 1,
        tenantId: 'bench',
        key: `key-${i}`,
        timestamp: new Date().toISOString(),
        correlationId: eventId,
        causationId: null,
        payload: null,
        metadata: {},
      },
    };
  });
}

/** Our side of any broker: it publishes to one topic and consumes from another. */
export function ourSide(
  broker: Broker,
  topics: { readonly publishes: string; readonly consumes: string; group(): string },
): Side {
  const batch = makeEvents(topics.publishes, batchSize);
  return {
    publish: () => broker.publish(batch),
    async consume(count) {
      const clock = rateClock(count);
      // Deliveries may come before `subscribe` has answered.
      const joined = Promise.withResolvers<BrokerSubscription>();
      const subscription = await broker.subscribe({
        group: topics.group(),
        topics: [topics.consumes],
        from: 'start',
        inFlightMax,
        onDeliveries(_, deliveries) {
          clock.count(deliveries.length);
          const last = deliveries.at(-1);
          if (last) void joined.promise.then((own) => own.acknowledge([last])).catch(clock.fail);
        },
        onAssigned: () => {},
        onRevoked: () => {},
        onError: clock.fail,
      });
      joined.resolve(subscription);
      const rate = await clock.rate;
      await subscription.close();
      return rate;
    },
  };
}

/** Counts deliveries, from the first on: joining a group is not what is measured. */
export function rateClock(count: number) {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let [seen, first, startedAt] = [0, 0, 0];
  return {
    rate: promise,
    fail: (error: unknown) => reject(error as Error),
    count(more: number) {
      if (seen === 0) {
        first = more;
        startedAt = performance.now();
      }
      seen += more;
      if (seen < count) return;
      resolve((seen - first) / ((performance.now() - startedAt) / 1_000));
    },
  };
}

/** One event at a time, to a member that waits for it. */
export async function latencyProbe(broker: Broker, topic: string) {
  const [event] = makeEvents(topic, 1) as [OutgoingEvent];
  let arrived: () => void = () => {};
  const assigned = Promise.withResolvers<void>();
  const joined = Promise.withResolvers<BrokerSubscription>();
  const subscription = await broker.subscribe({
    group: `latency-${newEventId()}`,
    topics: [topic],
    from: 'end',
    onDeliveries(_, deliveries) {
      arrived();
      void joined.promise.then((own) => own.acknowledge(deliveries)).catch(() => {});
    },
    onAssigned: () => assigned.resolve(),
    onRevoked: () => {},
    onError: (error) => assigned.reject(error as Error),
  });
  joined.resolve(subscription);
  await assigned.promise;
  return {
    async once(): Promise<number> {
      const delivered = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      const startedAt = performance.now();
      await broker.publish([event]);
      await delivered;
      return performance.now() - startedAt;
    },
    close: () => subscription.close(),
  };
}

/** Postgres alone: the log carries the events itself, so there is nothing bare to compare with. */
import { connect, defineEvent } from 'millrace';
import { z } from 'zod';
import { startBenchServer } from '../server.ts';
import { median, round } from '../statistics.ts';
import { batchSize, partitions } from './contest.ts';

const Measured = defineEvent('BenchMeasured', { schema: z.object({ text: z.string() }) });
const payload = { text: 'x'.repeat(189) };
const callsUnderWay = 8;
const latencySamples = 30;

export interface PostgresFigures {
  readonly publishPerSecond: number;
  readonly consumePerSecond: number;
  readonly latencyMsP50: number;
}

export async function measurePostgres(seconds: number): Promise<PostgresFigures> {
  await using server = await startBenchServer();
  await using mill = await connect(server.url, { partitions });
  let key = 0;
  const publishBatch = () =>
    mill.publishMany(
      Array.from({ length: batchSize }, () => {
        key += 1;
        return [Measured, { tenantId: 'bench', key: `key-${key}`, payload }] as const;
      }),
    );
  const startedAt = performance.now();
  const end = startedAt + seconds * 1_000;
  const caller = async () => {
    while (performance.now() < end) await publishBatch();
  };
  await Promise.all(Array.from({ length: callsUnderWay }, caller));
  const published = key;
  const publishedPerSecond = published / ((performance.now() - startedAt) / 1_000);

  let seen = 0;
  let [firstAt, lastAt] = [0, 0];
  let arrived: () => void = () => {};
  const all = Promise.withResolvers<void>();
  mill.subscribe({
    group: 'bench',
    events: [Measured],
    from: 'start',
    handle() {
      if (seen === 0) firstAt = performance.now();
      seen += 1;
      lastAt = performance.now();
      if (seen === published) all.resolve();
      arrived();
    },
  });
  await mill.start();
  await all.promise;
  const latencies: number[] = [];
  for (let n = 0; n < latencySamples; n += 1) {
    const delivered = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const sentAt = performance.now();
    await mill.publish(Measured, { tenantId: 'bench', key: 'idle', payload });
    await delivered;
    latencies.push(performance.now() - sentAt);
  }
  return {
    publishPerSecond: Math.round(publishedPerSecond),
    consumePerSecond: Math.round((published - 1) / ((lastAt - firstAt) / 1_000)),
    latencyMsP50: round(median(latencies)),
  };
}

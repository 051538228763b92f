/**
 * Publishing alone: events a second into the log with nobody reading, the latency of one publish
 * when idle, and what an event costs in WAL and CPU. The payload has about 200 bytes.
 */
import { connect, defineEvent } from 'millrace';
import { z } from 'zod';
import { cost, startBenchServer } from './server.ts';
import { median, percentile, round } from './statistics.ts';

const Measured = defineEvent('Measured', {
  schema: z.object({ exceptionId: z.string(), amount: z.number(), note: z.string() }),
  key: ({ exceptionId }) => exceptionId,
});

export interface AppendOptions {
  readonly seconds: number;
  readonly partitions: number;
}

export interface AppendFigures {
  readonly eventsPerSecond: number;
  readonly eventsPerMinute: number;
  readonly walBytesPerEvent: number;
  readonly cpuSecondsPerMillion: number;
  readonly idleP50Ms: number;
  readonly idleP99Ms: number;
  readonly stored: number;
}

export async function benchAppend(options: AppendOptions): Promise<AppendFigures> {
  await using server = await startBenchServer();
  await using mill = await connect(server.url, { partitions: options.partitions });
  const input = (i: number) => ({
    tenantId: `tenant-${i % 3}`,
    payload: { exceptionId: crypto.randomUUID(), amount: i, note: 'n'.repeat(130) },
  });
  let made = 0;
  const idle: number[] = [];
  for (; made < 600; made += 1) {
    const before = performance.now();
    await mill.publish(Measured, input(made));
    if (made >= 100) idle.push(performance.now() - before);
  }
  const from = await server.read();
  const before = made;
  const end = performance.now() + options.seconds * 1000;
  // Four producers with a batch under way each: the next batch is made while one is stored.
  const producers = Array.from({ length: 4 }, async () => {
    while (performance.now() < end) {
      const items = Array.from({ length: 1000 }, () => [Measured, input(made++)] as const);
      await mill.publishMany(items);
    }
  });
  await Promise.all(producers);
  const spent = cost(from, await server.read());
  const events = made - before;
  const { rows } = await server.client.query(
    'select sum(n)::int as stored, bool_and(n = last) as dense from (select count(*) as n, ' +
      'max("offset") as last from millrace.event group by "partition") p',
  );
  if (rows[0].stored !== made || !rows[0].dense) {
    throw new Error(`${made} events were acknowledged, ${rows[0].stored} are stored`);
  }
  return {
    eventsPerSecond: Math.round(events / spent.seconds),
    eventsPerMinute: Math.round((events / spent.seconds) * 60),
    walBytesPerEvent: Math.round(spent.walBytes / events),
    cpuSecondsPerMillion: round(((spent.nodeCpu + (spent.serverCpu ?? 0)) / events) * 1e6, 1),
    idleP50Ms: round(median(idle), 3),
    idleP99Ms: round(percentile(idle, 0.99), 3),
    stored: made,
  };
}

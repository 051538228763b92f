/** The exception pipeline with its events carried by a broker, verified as the one without. */
import { newEventId, openBroker } from 'millrace';
import { eventsPerException, openPipeline } from '../pipeline.ts';
import { cost, startBenchServer } from '../server.ts';
import { round } from '../statistics.ts';
import type { Verdict } from '../verify.ts';

/** As the bench without a broker has. */
const partitions = 4;
const warmUpSeconds = 3;

export interface BrokerPipelineFigures {
  readonly eventsPerMinute: number;
  readonly exceptionsPerSecond: number;
  /** Of this process and of Postgres; the broker's comes on top. */
  readonly cpuSecondsPerMillion: number;
  readonly nodeCpuSecondsPerMillion: number;
  readonly verified: Verdict;
}

export async function measurePipeline(
  url: string,
  { seconds, log }: { readonly seconds: number; log(line: string): void },
): Promise<BrokerPipelineFigures> {
  const topic = `bench-pipeline-${newEventId()}`;
  try {
    await using server = await startBenchServer();
    await using pipeline = await openPipeline(server, {
      partitions,
      broker: { url, topic, group: topic },
    });
    log('pipeline: warming up');
    await pipeline.runFree(warmUpSeconds);
    log(`pipeline: ${seconds} s`);
    const free = await pipeline.runFree(seconds);
    log('pipeline: verifying');
    const verified = await pipeline.verify();
    const events = free.exceptions * (await eventsPerException(server));
    const spent = cost(free.from, free.to);
    const perMillion = (cpu: number) => round((cpu / events) * 1e6, 1);
    return {
      eventsPerMinute: Math.round((events / free.seconds) * 60),
      exceptionsPerSecond: Math.round(free.exceptions / free.seconds),
      cpuSecondsPerMillion: perMillion(spent.nodeCpu + (spent.serverCpu ?? 0)),
      nodeCpuSecondsPerMillion: perMillion(spent.nodeCpu),
      verified,
    };
  } finally {
    const broker = await openBroker(url);
    await broker.deleteTopics([topic]);
    await broker.close();
  }
}

/**
 * The exception pipeline end to end: ingest → six workers → feedback, projection included, on one
 * process and one embedded Postgres. Counts every event that is stored and handled, checks that
 * nothing was lost, doubled or out of order, and does it again with another transaction pinning the
 * xmin horizon, and at a tenth of the load for the latencies.
 */
import { type ConnectOptions, connect, type Millrace } from 'millrace';
import {
  createStages,
  createToolRunner,
  FeedbackCaptured,
  loadPacks,
  migrateProjection,
  projection,
} from 'millrace/exceptions';
import pg from 'pg';
import { Cases } from './cases.ts';
import { type BenchServer, cost, type Reading, startBenchServer } from './server.ts';
import { median, percentile, round, thousands } from './statistics.ts';
import { type Verdict, verify } from './verify.ts';

export interface PipelineOptions {
  readonly seconds: number;
  readonly partitions: number;
  log(line: string): void;
}

export interface PipelineFigures {
  readonly eventsPerMinute: number;
  readonly exceptionsPerSecond: number;
  readonly eventsPerException: number;
  readonly projectionLagMsMax: number;
  readonly projectionLagMsP99: number;
  readonly p50MsAtTenth: number;
  readonly p99MsAtTenth: number;
  readonly walBytesPerEvent: number;
  readonly cpuSecondsPerMillion: number;
  readonly nodeCpuSecondsPerMillion: number;
  readonly pinnedEventsPerMinute: number;
  readonly pinnedRatio: number;
  readonly verified: Verdict;
}

/** Exceptions under way at once. Enough to keep both cores busy; more would only wait. */
const underWayMax = 1_600;
const ingestBatch = 250;

export interface Stretch {
  readonly exceptions: number;
  readonly seconds: number;
  readonly from: Reading;
  readonly to: Reading;
  readonly lagsMs: readonly number[];
  readonly latenciesMs: readonly number[];
}

/** The pipeline, ready to take exceptions. */
export interface Pipeline extends AsyncDisposable {
  readonly mill: Millrace;
  readonly cases: Cases;
  /** Takes exceptions in at full speed for so long, and waits for the last one's feedback. */
  runFree(seconds: number): Promise<Stretch>;
  /** @throws when a handler failed, or a promise was broken. */
  verify(): Promise<Verdict>;
}

export async function openPipeline(
  server: BenchServer,
  options: Pick<ConnectOptions, 'partitions' | 'broker'>,
): Promise<Pipeline> {
  const errors: string[] = [];
  const survived: string[] = [];
  const onError = (error: unknown, where: string) => {
    // Servers that others use as well may be away for a moment; what that costs, verify finds.
    const { code } = error as { code?: unknown };
    const isAway = code === 'BROKER_UNAVAILABLE' || code === 'STORE_UNAVAILABLE';
    const list = isAway && options.broker !== undefined ? survived : errors;
    list.push(`${where}: ${error}`);
  };
  const mill = await connect(server.url, { ...options, tailMax: 8_192, onError });
  await migrateProjection(mill.store);
  const cases = new Cases();
  const stages = createStages({ packs: loadPacks(), tools: createToolRunner() });
  for (const stage of stages) mill.subscribe(stage);
  mill.subscribe(projection);
  mill.subscribe({
    group: 'bench-finish',
    events: [FeedbackCaptured],
    handle: ({ key }) => cases.finish(key as string),
  });
  await mill.start();
  return {
    mill,
    cases,
    runFree: (seconds) =>
      run(mill, server, cases, { seconds, ratePerSecond: Number.POSITIVE_INFINITY }),
    async verify() {
      await caughtUp(mill);
      for (const text of survived) console.error(`survived: ${text}`);
      const { failed } = mill.totals();
      if (failed > 0 || errors.length > 0) {
        const { rows } = await server.client.query(
          'select group_name, reason from millrace.event_failure where reason is not null limit 3',
        );
        errors.push(...rows.map((row) => `${row.group_name}: ${row.reason}`));
        throw new Error(`${failed} handler calls failed; ${errors.slice(-3).join('; ')}`);
      }
      return verify(server.client, cases.started);
    },
    [Symbol.asyncDispose]: () => mill[Symbol.asyncDispose](),
  };
}

export async function benchPipeline(options: PipelineOptions): Promise<PipelineFigures> {
  const { seconds, partitions, log } = options;
  await using server = await startBenchServer();
  await using pipeline = await openPipeline(server, { partitions });
  const { mill, cases } = pipeline;
  log('warming up');
  await pipeline.runFree(3);
  log(`free run, ${seconds} s`);
  const free = await pipeline.runFree(seconds);
  const perException = await eventsPerException(server);
  const rate = free.exceptions / free.seconds;
  log(`${thousands(rate * perException * 60)} events/min; a tenth of that, for the latencies`);
  const calm = await run(mill, server, cases, {
    seconds: Math.min(15, seconds),
    ratePerSecond: rate / 10,
  });
  log(`pinned run, ${seconds} s`);
  const pinned = await withPinnedHorizon(server, () => pipeline.runFree(seconds));
  log('verifying');
  const verified = await pipeline.verify();
  const spent = cost(free.from, free.to);
  const events = free.exceptions * perException;
  const perMillion = (cpu: number) => round((cpu / events) * 1e6, 1);
  return {
    eventsPerMinute: Math.round((events / free.seconds) * 60),
    exceptionsPerSecond: Math.round(rate),
    eventsPerException: round(perException, 2),
    projectionLagMsMax: Math.round(Math.max(...free.lagsMs)),
    projectionLagMsP99: Math.round(percentile(free.lagsMs, 0.99)),
    p50MsAtTenth: round(median(calm.latenciesMs), 1),
    p99MsAtTenth: round(percentile(calm.latenciesMs, 0.99), 1),
    walBytesPerEvent: Math.round(spent.walBytes / events),
    cpuSecondsPerMillion: perMillion(spent.nodeCpu + (spent.serverCpu ?? 0)),
    nodeCpuSecondsPerMillion: perMillion(spent.nodeCpu),
    pinnedEventsPerMinute: Math.round(((pinned.exceptions * perException) / pinned.seconds) * 60),
    pinnedRatio: round(pinned.exceptions / pinned.seconds / rate, 3),
    verified,
  };
}

/** Ingests for a while, then waits until the last exception has its feedback. */
async function run(
  mill: Millrace,
  server: BenchServer,
  cases: Cases,
  load: { seconds: number; ratePerSecond: number },
): Promise<Stretch> {
  cases.beginStretch();
  const lag = watchProjection(mill);
  const from = await server.read();
  const started = performance.now();
  const end = started + load.seconds * 1000;
  let ingested = 0;
  const ingesting = new Set<Promise<unknown>>();
  while (performance.now() < end) {
    const due = Math.floor(((performance.now() - started) / 1000) * load.ratePerSecond) - ingested;
    const room = Math.min(ingestBatch, underWayMax - cases.underWay, due);
    if (room > 0 && ingesting.size < 4) {
      ingested += room;
      const batch = mill.publishMany(cases.create(room)).finally(() => ingesting.delete(batch));
      ingesting.add(batch);
    }
    await new Promise((resolve) => setTimeout(resolve, room > 0 ? 0 : 1));
  }
  await Promise.all(ingesting);
  await cases.allFinished();
  const to = await server.read();
  return {
    exceptions: ingested,
    seconds: (to.atMs - from.atMs) / 1000,
    from,
    to,
    lagsMs: lag.stop(),
    latenciesMs: cases.latenciesMs,
  };
}

/** How old the oldest event is that the projection has not settled, sampled every 20 ms. */
function watchProjection(mill: Millrace): { stop(): number[] } {
  const { partitions } = mill.store;
  const lags: number[] = [0];
  const history: { atMs: number; heads: number[] }[] = [];
  const sample = () => {
    const now = performance.now();
    const heads = Array.from({ length: partitions }, (_, partition) => mill.heads.of(partition));
    history.push({ atMs: now, heads });
    const positions = mill.positionsOf('projection');
    // The newest moment whose heads are all settled by now: the projection is that far behind.
    while (history.length > 1) {
      const next = history[1] as (typeof history)[number];
      if (next.heads.some((head, partition) => head > (positions.get(partition) ?? 0))) break;
      history.shift();
    }
    lags.push(now - (history[0] as (typeof history)[number]).atMs);
  };
  const timer = setInterval(sample, 20);
  return {
    stop() {
      clearInterval(timer);
      return lags;
    },
  };
}

async function withPinnedHorizon<T>(server: BenchServer, work: () => Promise<T>): Promise<T> {
  const pin = new pg.Client({ connectionString: server.url });
  await pin.connect();
  await pin.query('begin isolation level repeatable read');
  await pin.query('select pg_current_xact_id(), count(*) from pg_class');
  try {
    return await work();
  } finally {
    await pin.query('rollback');
    await pin.end();
  }
}

export async function eventsPerException({ client }: BenchServer): Promise<number> {
  const { rows } = await client.query(
    `select count(*)::float8 / count(*) filter (where event_type = 'ExceptionIngested') as n
     from millrace.event`,
  );
  return rows[0].n;
}

async function caughtUp(mill: Millrace): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (mill.backlog() > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

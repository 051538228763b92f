/**
 * A worker process of the broker faults: the pipeline on the database and the broker of
 * FAULT_OPTIONS, until it is killed or told to stop. Says `ready`, each error that was survived,
 * and twice a second what the broker took and brought since the last time.
 */
import { type ConnectOptions, connect } from 'millrace';
import { outsideOf } from './outside.ts';
import { subscribePipeline } from './pipeline.ts';
import { unsecuredToken } from './tokens.ts';
import type { WorkerOptions } from './worker.ts';

export interface BrokerWorkerOptions extends WorkerOptions {
  readonly broker: Exclude<ConnectOptions['broker'], string | undefined>;
  /** How long the tokens live that it logs in with; none when left out. */
  readonly tokenLifeMs?: number;
}

const options = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as BrokerWorkerOptions;
const { url, worker, handlerMs, heartbeatMs, timeToLiveMs, broker, tokenLifeMs } = options;

async function token() {
  console.log('count tokens 1');
  return unsecuredToken('alice', tokenLifeMs ?? 60_000);
}

const mill = await connect(url, {
  migrate: false,
  heartbeatMs,
  timeToLiveMs,
  graceMs: 5_000,
  broker: { ...broker, ...(tokenLifeMs !== undefined && { token }) },
  onError: (error, where) => console.log(`survived ${where}: ${(error as Error).message}`),
});
subscribePipeline(mill, {
  worker,
  handlerMs,
  ...(options.effectsOutside && { outside: outsideOf(url) }),
});

let told = { relayed: 0, delivered: 0, gaps: 0 };
setInterval(async () => {
  const { broker: link } = await mill.health();
  if (link === null) return;
  const { relayed, delivered } = link;
  const gaps = mill.broker?.feed.counts.gaps ?? 0;
  if (relayed > told.relayed) console.log(`count relayed ${relayed - told.relayed}`);
  if (delivered > told.delivered) console.log(`count delivered ${delivered - told.delivered}`);
  if (gaps > told.gaps) console.log(`count gaps ${gaps - told.gaps}`);
  told = { relayed, delivered, gaps };
}, 500).unref();

process.on('SIGTERM', () => void mill.stop().then(() => process.exit(0)));
await mill.start();
console.log('ready');

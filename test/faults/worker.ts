/**
 * A worker process of the fault runs: the pipeline on the database of FAULT_OPTIONS, until it is
 * killed or told to stop. Says `ready`, and each error that the engine survived, on standard
 * output.
 */
import { connect } from 'millrace';
import { outsideOf } from './outside.ts';
import { subscribePipeline } from './pipeline.ts';

export interface WorkerOptions {
  readonly url: string;
  readonly worker: string;
  readonly handlerMs: number;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  /** Breaks the promise on purpose, to prove that the tests would notice. */
  readonly effectsOutside: boolean;
}

const options = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as WorkerOptions;
const { url, worker, handlerMs, heartbeatMs, timeToLiveMs } = options;

const mill = await connect(url, {
  migrate: false,
  heartbeatMs,
  timeToLiveMs,
  onError: (error, where) => console.log(`survived ${where}: ${(error as Error).message}`),
});
subscribePipeline(mill, {
  worker,
  handlerMs,
  ...(options.effectsOutside && { outside: outsideOf(url) }),
});
process.on('SIGTERM', () => void mill.stop().then(() => process.exit(0)));
await mill.start();
console.log('ready');

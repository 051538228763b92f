/**
 * A worker process of the workflow faults, on the store of FAULT_OPTIONS, until it is killed or
 * told to stop. Steps note their effects: kept ones in the transaction of their step, others in a
 * file. A run can ask for its worker's end at one of its steps: it is killed there once.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'millrace';
import { defineTrips, type TripWork } from './trips.ts';

export interface WorkflowWorkerOptions {
  readonly url: string;
  readonly worker: string;
  readonly directory: string;
  readonly handlerMs: number;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly residencyMs: number;
  readonly effectsOutside: boolean;
}

const options = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as WorkflowWorkerOptions;
const { url, worker, directory, handlerMs = 2, heartbeatMs, timeToLiveMs } = options;
const { residencyMs = 200, effectsOutside } = options;

const work: TripWork = {
  worker,
  directory,
  effectsOutside,
  rest: () => (handlerMs > 0 ? sleep(Math.random() * handlerMs * 2) : Promise.resolve()),
  dieOnce(mark) {
    const file = path.join(directory, `died-${mark}`);
    try {
      fs.writeFileSync(file, worker, { flag: 'wx' });
    } catch {
      return; // it has
    }
    process.kill(process.pid, 'SIGKILL');
  },
};

const mill = await connect(url, {
  migrate: false,
  heartbeatMs,
  timeToLiveMs,
  // A run that ends its worker is meant to: none may be put away for it.
  jobs: { crashesMax: 1_000 },
  workflows: { residencyMs },
  onError: (error, where) => console.log(`survived ${where}: ${(error as Error).message}`),
});
mill.workflows.work(Object.values(defineTrips(work)));
process.on('SIGTERM', async () => {
  await mill.stop();
  process.exit(0);
});
await mill.start();
console.log('ready');

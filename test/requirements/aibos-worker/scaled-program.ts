/**
 * A program with the block of Horizontal Scaling in it, as a user would have it. Its scaler starts
 * the same program again, five times; in those the scaler rests and the worker works.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkerManager } from 'millrace';
import { horizontalScaling } from './horizontal-scaling.ts';
import type { Setting } from './setting.ts';

const connection = JSON.parse(process.env.CONNECTION ?? '{}') as Setting['connection'];
const { workerScaler } = await horizontalScaling({ connection });
const workerManager = new WorkerManager({ ...connection, queues: ['scaled'], concurrency: 1 });
if (!workerScaler.status.active) {
  workerManager.register('pid.tell', async () => {
    await sleep(50);
    return process.pid;
  });
  await workerManager.start();
}
process.once('SIGTERM', async () => {
  await workerScaler.stop();
  await workerManager.stop();
  process.exit(0);
});

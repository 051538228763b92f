/**
 * A worker process of the job faults, on the store of FAULT_OPTIONS, until it is killed or told to
 * stop. Says `ready`, each error that it survived, and what it counts, on standard output.
 */
import { connectJobs } from 'millrace';
import { defineHarm } from './harm.ts';
import { defineClocked } from './job-clock.ts';
import { defineOrders, defineVersioned } from './job-orders.ts';

export interface JobWorkerOptions {
  readonly url: string;
  readonly worker: string;
  readonly directory: string;
  readonly handlerMs: number;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly concurrency: number;
  readonly graceMs: number;
  readonly notices: boolean;
  readonly effectsOutside: boolean;
  /** Of the code. */
  readonly version: 1 | 2;
  /** Enqueues so many delayed jobs itself when it starts. */
  readonly delayed: number;
}

const options = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as JobWorkerOptions;
const { url, worker, directory, handlerMs, effectsOutside, concurrency = 10 } = options;
const { heartbeatMs, timeToLiveMs, graceMs = 5_000, notices = true } = options;
const { version = 2, delayed = 0 } = options;
const count = (what: string, n = 1) => console.log(`count ${what} ${n}`);

const jobs = await connectJobs(url, {
  migrate: false,
  heartbeatMs,
  timeToLiveMs,
  graceMs,
  notices,
  onError: (error, where) => console.log(`survived ${where}: ${(error as Error).message}`),
});
jobs.on('refused', ({ jobs: refused }) => count('refused', refused));
jobs.on('recovered', () => count('recovered'));
const onAborted = () => count('aborted');
const work = { worker, directory, handlerMs, effectsOutside, onAborted };
jobs.work(
  [
    ...Object.values(defineOrders(work)),
    ...Object.values(defineHarm(work)),
    ...Object.values(defineClocked()),
    defineVersioned(work, version),
  ],
  { concurrency },
);
process.on('SIGTERM', async () => {
  const from = performance.now();
  await jobs.stop();
  if (performance.now() - from > graceMs + 2_000) count('late-stops');
  count('stops');
  process.exit(0);
});
await jobs.start();
let known: number | null = null;
setInterval(async () => {
  const { epoch } = await jobs.health();
  if (known !== null && epoch !== null && epoch !== known) count('fenced');
  known = epoch ?? known;
}, 200).unref();
for (let i = 0; i < delayed; i += 1) {
  const delayMs = 500 + i * 50;
  await jobs.enqueue(defineClocked().Later, { delayMs }, { delayMs });
}
console.log('ready');

/**
 * Work that keeps a processor busy runs in a thread: other handlers go on meanwhile. One that never
 * ends, leaks or exits is stopped there, and the process lives on.
 */
import { connect, defineJob, MillraceError } from 'millrace';
import { z } from 'zod';

const CountPrimes = defineJob('primes.count', {
  queue: 'numbers',
  schema: z.object({ below: z.number().int() }),
  result: z.object({ primes: z.number() }),
  attempts: 1,
  timeoutMs: 2_000,
  sandbox: { module: new URL('./modules/count-primes.ts', import.meta.url), memoryMbMax: 64 },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
jobs.work(CountPrimes, { concurrency: 2 });
await mill.start();
const job = await jobs.enqueue(CountPrimes, { below: 10_000 });
console.log(await jobs.result(job));
const endless = await jobs.enqueue(CountPrimes, { below: Number.MAX_SAFE_INTEGER });
try {
  await jobs.result(endless);
} catch (error) {
  const dead = await jobs.get(endless.id);
  if (error instanceof MillraceError) console.log(error.code, dead?.error?.code);
}

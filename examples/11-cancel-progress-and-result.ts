/**
 * A running job can be watched and cancelled from any process: its handler is told by its signal,
 * and what it does afterwards no longer counts.
 */
import { cancelJob, connect, defineJob, MillraceError, snooze } from 'millrace';
import { z } from 'zod';

const Export = defineJob('export', {
  schema: z.object({ rows: z.number() }),
  progress: z.object({ percent: z.number() }),
  async handler({ rows }, { progress, signal, attempt }) {
    if (rows === 0) throw cancelJob('there is nothing to export');
    if (rows === 1 && attempt === 1 && !put.off) {
      put.off = true;
      throw snooze(50); // once more a little later; this try does not count
    }
    if (rows === 1) return { file: 'export.csv' };
    progress({ percent: 50 });
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
    return { file: 'never' };
  },
});
const put = { off: false };

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
jobs.work(Export);
await mill.start();

const long = await jobs.enqueue(Export, { rows: 1_000_000 });
let shown = await jobs.get<unknown, unknown, { percent: number }>(long.id);
while (shown?.progress == null) shown = await jobs.get(long.id);
console.log(`${shown.status}, ${shown.progress.percent} %`);
console.log(`cancelled: ${(await jobs.cancel(long.id)).length}`);
await report(long.id);

await report((await jobs.enqueue(Export, { rows: 0 })).id);
console.log(await jobs.result(await jobs.enqueue(Export, { rows: 1 })));

async function report(id: string) {
  try {
    await jobs.result(id, { timeoutMs: 10_000 });
  } catch (error) {
    if (error instanceof MillraceError) console.log(error.code);
  }
}

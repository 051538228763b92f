/**
 * Jobs that are more than first come, first served: the smaller priority runs first, a delayed one
 * waits, and of one unique key there is one at a time.
 */
import { connect, defineJob, MillraceError } from 'millrace';

const Print = defineJob('print', {
  queue: 'printer',
  handler: ({ text }: { text: string }) => console.log(text),
});
const Rebuild = defineJob('search.rebuild', {
  queue: 'printer',
  // Many changes in a row lead to one job, with the last payload.
  unique: ({ index }: { index: string; change: number }) => ({
    key: index,
    mode: 'debounce',
    windowMs: 500,
  }),
  handler: ({ index, change }: { index: string; change: number }) =>
    console.log(`${index} rebuilt after change ${change}`),
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
// Nobody works yet, so all of these wait, and then run by their urgency.
await jobs.enqueue(Print, { text: 'usual' });
const last = await jobs.enqueue(Print, { text: 'whenever there is time' }, { priority: 10 });
await jobs.enqueue(Print, { text: 'urgent' }, { priority: -10 });
jobs.work([Print, Rebuild], { concurrency: 1 });
await mill.start();
await jobs.result(last);

const later = await jobs.enqueue(Print, { text: 'a moment later' }, { delayMs: 300 });
await jobs.enqueue(Print, { text: 'at once' });
await jobs.result(later);

const unique = { key: 'report', mode: 'reject' } as const;
const report = await jobs.enqueue(Print, { text: 'the report' }, { unique, delayMs: 300 });
try {
  await jobs.enqueue(Print, { text: 'the same report' }, { unique });
} catch (error) {
  if (error instanceof MillraceError) console.log(`refused: ${error.code}`);
}
await jobs.result(report);

const rebuilds = [];
for (const change of [1, 2, 3]) {
  rebuilds.push(await jobs.enqueue(Rebuild, { index: 'orders', change }));
}
console.log(`${new Set(rebuilds.map(({ id }) => id)).size} rebuild of ${rebuilds.length} changes`);
for (const { id } of rebuilds) await jobs.result(id);

/**
 * Schedules live in the database: every process may save its own at every start, and each tick is
 * enqueued once, whoever fires it. Cron lines have a time zone, and a rule for clock changes.
 */
import { connect, defineJob } from 'millrace';

const seen = Promise.withResolvers<unknown>();
const Tick = defineJob('tick', {
  handler: (_: unknown, { metadata }) => seen.resolve(metadata.schedule),
});
const Report = defineJob('report', { handler: () => {} });

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
const nightly = { cron: '30 2 * * *', timezone: 'Europe/Berlin' };
const saved = await jobs.schedule('nightly', nightly, Report, {});
console.log(saved.description);
// 02:30 does not exist on the last Sunday of March: it fires as the gap ends.
const spring = new Date('2026-03-28T00:00:00Z');
console.log(jobs.previewSchedule(nightly, 3, spring).join('\n'));

jobs.work([Tick, Report]);
await mill.start();
// Of ticks that nobody was there for, one job is made (or none, or one each: see misfire).
await jobs.schedule('often', { everyMs: 50, misfire: 'coalesce' }, Tick, {});
console.log(`fired by ${await seen.promise}`);
await jobs.unschedule('often');
await jobs.pauseSchedule('nightly');
for (const { name, paused } of await jobs.schedules()) console.log(`${name} paused: ${paused}`);

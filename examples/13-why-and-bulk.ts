/**
 * For who is called at night: why does this job not run, and what does it take? Then one verb for
 * everything that failed alike: counted first, paced, stoppable.
 */
import { connect, defineJob, permanentFailure } from 'millrace';

let serverIsUp = false;
const Deliver = defineJob('deliver', {
  queue: 'mails',
  handler({ n }: { n: number }) {
    if (!serverIsUp) throw permanentFailure(`mail ${n}: the server is down`);
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
const mails = await jobs.enqueueMany(
  Deliver,
  Array.from({ length: 20 }, (_, n) => ({ n })),
);
const [first] = mails;
await jobs.pause('mails');
for (const { kind, command } of (await jobs.why(first?.id ?? '')).reasons) {
  console.log(`${kind}: millrace ${command}`);
}

jobs.work(Deliver);
await mill.start();
await jobs.resume('mails');
for (const mail of mails) await jobs.result(mail).catch(() => {});
const [dead] = (await jobs.list({ queue: 'mails', status: 'dead' }, { limit: 1 })).jobs;
// Numbers and ids are left out of it: all of these failed alike.
const filter = { queue: 'mails', fingerprint: dead?.error?.fingerprint ?? '' };
const dryRun = await jobs.bulk({ verb: 'retry', filter, dryRun: true });
console.log(`${dryRun.matched} failed: ${dead?.error?.fingerprint}`);

serverIsUp = true;
const operation = await jobs.bulk({ verb: 'retry', filter, ratePerSecond: 1_000 });
const { status, done } = await operation.finished;
console.log(`${status}, ${done} retried`);
for (const mail of mails) await jobs.result(mail);
console.log((await jobs.counts(['mails'])).get('mails')?.completed);

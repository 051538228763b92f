/**
 * Middleware wraps every handler: tracing, a context of its own, a check. Listeners hear what
 * happens to the jobs of this process, each after its commit.
 */
import { connect, defineJob, permanentFailure } from 'millrace';

const Greet = defineJob('greet', {
  attempts: 2,
  backoff: 10,
  handler({ name }: { name: string }, { attempt }) {
    if (name === 'nobody') throw permanentFailure('there is nobody to greet');
    if (attempt === 1) throw new Error('stage fright');
    return `hello ${name}`;
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
jobs.use(async (job, next) => {
  const result = await next();
  return `${result}, says ${job.name} of ${job.tenantId}`;
});
jobs.on('retrying', ({ error }) => console.log(`retrying: ${error.message}`));
jobs.on('dead', ({ error }) => console.log(`dead: ${error.message}`));
const completed = Promise.withResolvers<void>();
jobs.on('completed', ({ result, attempt }) => {
  console.log(`completed at try ${attempt}: ${result}`);
  completed.resolve();
});
jobs.work(Greet);
await mill.start();

const nobody = await jobs.enqueue(Greet, { name: 'nobody' }, { attempts: 1 });
await jobs.result(nobody).catch(() => {});
await jobs.enqueue(Greet, { name: 'Ada' }, { tenantId: 'acme' });
await completed.promise;
const { started, retried, dead } = jobs.totals();
console.log({ started, retried, dead });

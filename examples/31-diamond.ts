/** Steps that do not depend on each other run side by side; the last one waits for both. */
import { connect, defineTask } from 'millrace';

const report = defineTask<{ city: string }>('report')
  .step('find', ({ input }) => ({ place: input.city, lat: 50 }))
  .step('weather', {
    after: ['find'],
    handler: async ({ results }) => `sun in ${results.find.place}`,
  })
  .step('traffic', { after: ['find'], handler: async ({ results }) => results.find.lat > 45 })
  .step('write', {
    after: ['weather', 'traffic'],
    handler: ({ results }) => `${results.weather}, ${results.traffic ? 'take the train' : 'drive'}`,
  })
  .build();

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work(report);
await mill.start();

const run = await mill.workflows.start(report, { city: 'Mainz' });
console.log((await run.result()).write);
// The same input again is the same run.
const again = await mill.workflows.start(report, { city: 'Mainz' });
console.log(again.duplicate, again.runId === run.runId);

/** Many steps at once: each item has its own answer, and a crash repeats only what was open. */
import { connect, defineWorkflow } from 'millrace';

const Report = defineWorkflow('report', {}, async (ctx, { pages }: { pages: number }) => {
  const numbers = Array.from({ length: pages }, (_, page) => page);
  const { words, cover } = await ctx.parallel({
    words: () => ctx.map('count words', numbers, (page) => page % 10, { concurrency: 100 }),
    cover: async () => {
      const title = await ctx.run('title', () => 'Millrace');
      return ctx.run('cover', () => `<h1>${title}</h1>`);
    },
  });
  return { cover, words: words.reduce((a, b) => a + b, 0) };
});

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work(Report);
await mill.start();

const { runId, result } = await mill.workflows.start(Report, { pages: 2_000 });
console.log(await result());
console.log(`${(await mill.workflows.get(runId))?.steps.length} steps`);

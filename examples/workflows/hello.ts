/**
 * A workflow to begin with. From a fresh clone:
 *
 *   npm run millrace -- workflow run hello --definitions examples/workflows/hello.ts
 *   npm run millrace -- workflow show <id>
 *
 * Each `ctx.run` is a step: its result is kept, and it does not run again when the process dies.
 */
import { defineWorkflow } from 'millrace';

export const hello = defineWorkflow(
  'hello',
  { namespace: 'examples', version: '1.0.0', description: 'Greets somebody in four steps.' },
  async (ctx, input: { readonly name?: string }) => {
    const name = input.name ?? 'world';
    const words = await ctx.run('choose words', () => ['Hello', name]);
    const greeting = await ctx.run('join them', () => `${words.join(', ')}!`);
    await ctx.sleep('catch breath', 200);
    return ctx.run('shout', () => greeting.toUpperCase());
  },
);

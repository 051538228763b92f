/** What the handlers of a step are configured with. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { finish } from '../../../test/support/stored-run.ts';
import { HandlerRegistry } from '../steps/handler-registry.ts';
import type { StepContext } from '../steps/step-context.ts';
import { parseTemplate } from '../template/load.ts';

it('a compensation has its own initialization, and none of its step', async () => {
  const compiled = parseTemplate(`
name: saga
version: 1.0.0
steps:
  - name: book
    handler: { callable: Do, initialization: { room: 7, floor: 1 } }
    compensate: { callable: Undo, initialization: { fee: 5, floor: 2 } }
  - name: pay
    dependencies: [book]
    handler: { callable: Do, initialization: { amount: 3 } }
    compensate: { callable: Undo }
  - name: ship
    dependencies: [pay]
    handler: { callable: Fail }
    retry: { retryable: false }
`);
  const seen: unknown[] = [];
  const see = (what: string) => (ctx: StepContext) => void seen.push([what, ctx.stepConfig]);
  const Fail = () => Promise.reject(new Error('no'));
  const registry = new HandlerRegistry({ Do: see('do'), Undo: see('undo'), Fail });
  const run = await finish({ compiled, registry });
  assert.equal(run.end?.state, 'error');
  assert.deepEqual(seen, [
    ['do', { room: 7, floor: 1 }],
    ['do', { amount: 3 }],
    ['undo', {}],
    ['undo', { fee: 5, floor: 2 }],
  ]);
});

/**
 * Programs made at random of everything a durable function can do, with processes that die at
 * random commits, before or after they are stored, and messages that come twice: the end must be
 * that of the undisturbed run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { driveToEnd, MemoryHistory, MemoryRun } from '../../../test/support/crashing-run.ts';
import { type Random, randomFrom, seedOf } from '../../../test/support/random.ts';
import { permanentFailure } from '../../core/errors.ts';
import type { WorkflowContext } from './context.ts';
import { defineWorkflow } from './define-workflow.ts';

type Node =
  | { readonly kind: 'step' | 'async' | 'caught' | 'undoable' | 'flaky'; readonly key: string }
  | { readonly kind: 'sleep' | 'signal' | 'approval' | 'child' | 'uuid'; readonly key: string }
  | { readonly kind: 'map'; readonly key: string; readonly count: number }
  | { readonly kind: 'sequence' | 'parallel'; readonly parts: readonly Node[] }
  | { readonly kind: 'fail'; readonly key: string };

const leaves = [
  'step',
  'async',
  'caught',
  'undoable',
  'flaky',
  'sleep',
  'signal',
  'approval',
  'child',
  'uuid',
] as const;

function randomProgram(random: Random): Node {
  let count = 0;
  const make = (depth: number): Node => {
    count += 1;
    const key = `k${count}`;
    if (depth > 0 && random.chance(0.45)) {
      const kind = random.pick(['sequence', 'parallel'] as const);
      const parts = Array.from({ length: 1 + random.below(4) }, () => make(depth - 1));
      return { kind, parts };
    }
    if (random.chance(0.12)) return { kind: 'map', key, count: random.below(9) };
    return { kind: random.pick(leaves), key };
  };
  const parts = Array.from({ length: 2 + random.below(4) }, () => make(2));
  if (random.chance(0.3)) parts.push({ kind: 'fail', key: 'fail' });
  return { kind: 'sequence', parts };
}

const Child = defineWorkflow('child', {}, async (_ctx, key: string) => key);
const none = { kind: 'none' } as const;

/** Counts the effect of a step, and gives what the step returns. */
type Count = <T>(key: string, value?: T) => T;

async function interpret(ctx: WorkflowContext, node: Node, count: Count): Promise<unknown> {
  switch (node.kind) {
    case 'sequence': {
      const values: unknown[] = [];
      for (const part of node.parts) values.push(await interpret(ctx, part, count));
      return values;
    }
    case 'parallel': {
      const branches = node.parts.map(
        (part, i) => [`b${i}`, () => interpret(ctx, part, count)] as const,
      );
      return ctx.parallel(Object.fromEntries(branches));
    }
    case 'map': {
      const items = Array.from({ length: node.count }, (_, i) => i);
      const step = (item: number) => count(`${node.key}[${item}]`, item);
      return ctx.map(node.key, items, step, { concurrency: 3 });
    }
    default:
      return interpretLeaf(ctx, node.kind, node.key, count);
  }
}

async function interpretLeaf(
  ctx: WorkflowContext,
  kind: Exclude<Node['kind'], 'sequence' | 'parallel' | 'map'>,
  key: string,
  count: Count,
): Promise<unknown> {
  switch (kind) {
    case 'step':
      return ctx.run(key, () => count(key, key));
    case 'async':
      return ctx.run(key, async () => {
        count(key);
        await new Promise((resolve) => setImmediate(resolve));
        return key;
      });
    case 'undoable':
      return ctx.run(key, () => count(key, key), { compensate: () => count(`undo ${key}`) });
    case 'flaky':
      return ctx.run(key, { retry: { attempts: 3, backoff: none } }, ({ attempt }) => {
        count(`${key}#${attempt}`);
        if (attempt < 3) throw new Error('not yet');
        return attempt;
      });
    case 'caught': {
      const failed = ctx.run(key, () => {
        count(key);
        throw permanentFailure('no');
      });
      return failed.catch((error: Error) => error.message);
    }
    case 'fail':
      return ctx.run(key, () => {
        throw permanentFailure('the end');
      });
    case 'sleep':
      return ctx.sleep(key, 1);
    case 'signal':
      return ctx.waitForSignal(key, { as: key });
    case 'approval':
      return ctx.approval(key);
    case 'child':
      return ctx.invoke(Child, key, { key });
    case 'uuid':
      return ctx.uuid(key).length;
  }
}

function createWorld(program: Node, runId?: string) {
  const effects = new Map<string, number>();
  const count: Count = (key, value) => {
    effects.set(key, (effects.get(key) ?? 0) + 1);
    return value as never;
  };
  const workflow = defineWorkflow('fuzz', {}, (ctx) => interpret(ctx, program, count));
  const history = new MemoryHistory(workflow, null, runId);
  history.onCommit = (draft) => {
    for (const { runId: child, parent, inputJson } of draft.starts ?? []) {
      const result = JSON.parse(inputJson) as unknown;
      const end = { runId: child, state: 'complete', result, error: null };
      for (let i = 0; i < 2; i += 1) history.deliver('child', `${parent?.step}`, end);
    }
    for (const { kind, name } of draft.create ?? []) {
      if (kind === 'signal') history.deliver('signal', name, name, name);
      if (kind === 'approval') history.deliver('approval', name, { approved: true, by: name });
      if (kind === 'approval') history.deliver('approval', name, { approved: false, by: 'late' });
    }
  };
  return { workflow, history, effects };
}

function endOf({ history, effects }: ReturnType<typeof createWorld>) {
  const { end, record } = history;
  return {
    state: end?.state,
    result: end?.resultJson,
    error: end?.error?.message,
    steps: record.steps
      .map(({ name, state, resultJson }) => `${name} ${state} ${resultJson}`)
      .sort(),
    effects: [...effects.keys()].sort(),
  };
}

const programs = Number(process.env.MILLRACE_FUZZ_RUNS ?? 120);

test('random programs end the same, whatever dies', { timeout: 120_000 }, async (t) => {
  const seed = seedOf(t);
  for (let n = 0; n < programs; n += 1) {
    const random = randomFrom(seed + n);
    const program = randomProgram(random);
    const calm = createWorld(program);
    await driveToEnd(calm.workflow, calm.history);
    const expected = endOf(calm);
    const world = createWorld(program);
    let deaths = 0;
    const dies = () => {
      const at = world.history.changes.length + 1 + random.below(4);
      deaths += 1;
      world.history.died = false;
      return random.chance(0.5) ? { crashAt: at } : { crashBefore: at };
    };
    const rests = random.chance(0.5);
    while (deaths < 6 && world.history.end === null) {
      const drive = world.workflow.drive(new MemoryRun(world.history, { rests, ...dies() }));
      await drive;
    }
    await driveToEnd(world.workflow, world.history, { rests });
    assert.deepEqual(endOf(world), expected, `program ${n} of seed ${seed}`);
    for (const [key, times] of world.effects) {
      assert.ok(times <= 1 + deaths, `${key} happened ${times} times with ${deaths} deaths`);
    }
  }
});

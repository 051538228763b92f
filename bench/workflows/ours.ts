/**
 * What is measured of ours only: DAGs as the requirement has them (linear, diamond, tree, a batch
 * of 1,000 rows), forty steps in a row, a run of 1,000 steps, 10,000 children.
 * `ours.ts <url> <sizes as JSON>`; the last line is the figures.
 */
import { connect, defineTask, defineWorkflow, type Millrace } from 'millrace';
import { median, percentile, round } from '../statistics.ts';
import { Sequential } from './millrace.ts';
import { measureAlone } from './sequential.ts';

export interface OurSizes {
  readonly quick: boolean;
}

export interface OurFigures {
  readonly linear4Ms: number;
  readonly sequential40Ms: number;
  readonly batch1000Ms: number;
  readonly diamondMs: number;
  readonly tree8Ms: number;
  /** Milliseconds from one step to the next in a run of 1,000: medians of 100 steps each. */
  readonly stepGapMsAt10: number;
  readonly stepGapMsAt1000: number;
  readonly fanOutChildren: number;
  readonly fanOutSeconds: number;
  /** Runs of ten steps, alone and beside the fan-out. */
  readonly soloBesideFanOutMs: number;
}

const once = { namespace: 'bench', identity: 'always_unique' } as const;
const noop = () => null;

const linear = defineTask('linear', once)
  .step('a', noop)
  .step('b', { after: ['a'], handler: noop })
  .step('c', { after: ['b'], handler: noop })
  .step('d', { after: ['c'], handler: noop })
  .build();

const diamond = defineTask('diamond', once)
  .step('top', noop)
  .step('left', { after: ['top'], handler: noop })
  .step('right', { after: ['top'], handler: noop })
  .step('bottom', { after: ['left', 'right'], handler: noop })
  .build();

const tree = defineTask('tree', once)
  .step('root', noop)
  .step('left', { after: ['root'], handler: noop })
  .step('right', { after: ['root'], handler: noop })
  .step('left_1', { after: ['left'], handler: noop })
  .step('left_2', { after: ['left'], handler: noop })
  .step('right_1', { after: ['right'], handler: noop })
  .step('right_2', { after: ['right'], handler: noop })
  .step('gather', { after: ['left_1', 'left_2', 'right_1', 'right_2'], handler: noop })
  .build();

const batch = defineTask('batch', once)
  .batch('rows', {
    plan: () => ({ totalItems: 1_000 }),
    size: 200,
    worker: ({ batch: { start, size } }) => ({ start, size }),
  })
  .step('sum', {
    after: ['rows'],
    handler: ({ results }) => results.rows.reduce((sum, { size }) => sum + size, 0),
  })
  .build();

const gaps: number[] = [];
const Long = defineWorkflow('long', { namespace: 'bench' }, async (ctx, steps: number) => {
  let last = performance.now();
  for (let step = 0; step < steps; step += 1) {
    await ctx.run(`step_${step}`, () => null);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  }
});

const Child = defineWorkflow('child', { namespace: 'bench' }, async (ctx, n: number) =>
  ctx.run('double', () => n * 2),
);
const FanOut = defineWorkflow('fan_out', { namespace: 'bench' }, async (ctx, children: number) => {
  const numbers = Array.from({ length: children }, (_, n) => n);
  const doubled = await ctx.map('children', numbers, (n) => ctx.invoke(Child, n, { key: `${n}` }), {
    concurrency: 500,
  });
  return doubled.length;
});

async function measure(mill: Millrace, { quick }: OurSizes): Promise<OurFigures> {
  const runs = quick ? 30 : 200;
  const { workflows } = mill;
  const alone = async (start: () => Promise<{ result(): Promise<unknown> }>, count = runs) =>
    (await measureAlone(count, async () => (await start()).result())).p50Ms;
  const linear4Ms = await alone(() => workflows.start(linear, {}));
  const diamondMs = await alone(() => workflows.start(diamond, {}));
  const tree8Ms = await alone(() => workflows.start(tree, {}));
  const batch1000Ms = await alone(() => workflows.start(batch, {}));
  const sequential40Ms = await alone(() => workflows.start(Sequential, 40), quick ? 10 : 60);
  const { at10, at1000 } = await measureGaps(mill, quick ? 1 : 5);
  return {
    linear4Ms,
    sequential40Ms,
    batch1000Ms,
    diamondMs,
    tree8Ms,
    stepGapMsAt10: at10,
    stepGapMsAt1000: at1000,
    ...(await measureFanOut(mill, quick ? 1_000 : 10_000)),
  };
}

async function measureGaps({ workflows }: Millrace, runs: number) {
  const first: number[] = [];
  const last: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    gaps.length = 0;
    await (await workflows.start(Long, 1_000)).result();
    first.push(...gaps.slice(5, 105));
    last.push(...gaps.slice(900));
  }
  return { at10: round(median(first), 3), at1000: round(median(last), 3) };
}

async function measureFanOut({ workflows }: Millrace, children: number) {
  const from = performance.now();
  const run = await workflows.start(FanOut, children);
  let done = false;
  const result = run.result({ timeoutMs: 300_000 }).finally(() => {
    done = true;
  });
  const times: number[] = [];
  while (!done) {
    const started = performance.now();
    await (await workflows.start(Sequential, 10)).result();
    times.push(performance.now() - started);
  }
  if ((await result) !== children) throw new Error('children are missing');
  return {
    fanOutChildren: children,
    fanOutSeconds: round((performance.now() - from) / 1000),
    soloBesideFanOutMs: round(percentile(times, 0.5)),
  };
}

if (import.meta.main) {
  const [url = '', sizes = '{}'] = process.argv.slice(2);
  const mill = await connect(url);
  mill.workflows.work([linear, diamond, tree, batch, Long, Child, FanOut, Sequential]);
  await mill.start();
  const figures = await measure(mill, JSON.parse(sizes) as OurSizes);
  console.log(JSON.stringify(figures));
  await mill.stop();
}

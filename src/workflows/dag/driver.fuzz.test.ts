/**
 * Random graphs of steps that fail at random, and holders that die, against a model of a few lines:
 * a step runs when all that it depends on is done, and never before; the run completes if and only
 * if every step does.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type Random, randomFrom, seedOf } from '../../../test/support/random.ts';
import { StoredRun } from '../../../test/support/stored-run.ts';
import { HandlerRegistry, type StepFunction } from '../steps/handler-registry.ts';
import { compileTemplateValue } from '../template/load.ts';
import { driveDag } from './driver.ts';
import { DagPlan } from './plan.ts';

const runs = 200;

interface Model {
  readonly steps: readonly { readonly name: string; readonly after: readonly string[] }[];
  /** Tries that fail before one succeeds. */
  readonly failures: ReadonlyMap<string, number>;
}

function invent(random: Random): Model {
  const count = 1 + random.below(25);
  const failures = new Map<string, number>();
  const steps = Array.from({ length: count }, (_, i) => {
    const name = `s${i}`;
    const after = new Set<string>();
    for (let n = random.below(4); n > 0 && i > 0; n -= 1) after.add(`s${random.below(i)}`);
    if (random.chance(0.2)) failures.set(name, 1 + random.below(4));
    return { name, after: [...after] };
  });
  return { steps, failures };
}

const attempts = 3;

/** Which steps are done in the end. */
function predict({ steps, failures }: Model): ReadonlySet<string> {
  const done = new Set<string>();
  for (const { name, after } of steps) {
    if ((failures.get(name) ?? 0) >= attempts) continue;
    if (after.every((one) => done.has(one))) done.add(name);
  }
  return done;
}

it('does what the model says, whatever dies', async (t) => {
  const seed = seedOf(t);
  for (let n = 0; n < runs; n += 1) {
    const random = randomFrom(seed + n);
    const model = invent(random);
    const begun = new Set<string>();
    const run = new StoredRun(null);
    const handler =
      ({ name, after }: Model['steps'][number]): StepFunction =>
      (ctx) => {
        for (const one of after) assert.equal(ctx.getDependencyResult(one), one, `${name}: ${one}`);
        begun.add(name);
        const fails = ctx.attempt <= (model.failures.get(name) ?? 0);
        const answer = () => {
          if (fails) throw new Error('as the model says');
          return name;
        };
        return random.chance(0.3)
          ? new Promise((resolve) => setImmediate(resolve)).then(answer)
          : answer();
      };
    const template = compileTemplateValue({
      name: 'fuzz',
      namespace_name: 'default',
      version: '1.0.0',
      steps: model.steps.map(({ name, after }) => ({
        name,
        handler: { callable: name },
        dependencies: after,
        retry: { max_attempts: attempts, backoff: 'fibonacci', backoff_base_ms: 100 },
      })),
    });
    const registry = new HandlerRegistry(
      Object.fromEntries(model.steps.map((step) => [step.name, handler(step)])),
    );
    const plan = new DagPlan(template, registry, { concurrency: 1 + random.below(5) });
    let drive = 'lost';
    for (let holders = 0; drive === 'lost'; holders += 1) {
      assert.ok(holders < 20, 'it comes to no end');
      if (holders < 3 && random.chance(0.6)) {
        run.crash = { at: run.commits + 1 + random.below(6), stored: random.chance(0.5) };
      }
      drive = run.end ? 'ended' : await driveDag(run.hold(), plan, () => run.now);
    }
    const done = predict(model);
    const { state, steps } = run.record;
    const complete = done.size === model.steps.length;
    const context = `seed ${seed + n}`;
    assert.equal(state, complete ? 'complete' : 'blocked_by_failures', context);
    assert.deepEqual(
      new Set(steps.filter((step) => step.state === 'complete').map(({ name }) => name)),
      done,
      context,
    );
    for (const { name, after } of model.steps) {
      const may = after.every((one) => done.has(one));
      assert.equal(begun.has(name), may, `${context}: ${name}`);
    }
  }
});

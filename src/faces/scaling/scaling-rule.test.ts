import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { decide, parseScaling, type ScalingOptions, type Situation } from './scaling-rule.ts';

const settings = parseScaling({ minWorkers: 1, maxWorkers: 10 });
const never = Number.POSITIVE_INFINITY;

/** Workers of 10 jobs at a time each. */
function situation(count: number, running: number, rest: Partial<Situation> = {}, waiting = 0) {
  const load = { workers: count, running, concurrency: count * 10, waiting };
  return { count, load, sinceUpMs: never, sinceStepMs: never, ...rest };
}

const countFor = (...args: Parameters<typeof situation>) =>
  decide(settings, situation(...args)).count;

describe('the scaling rule', () => {
  it('leaves a number alone that is fine', () => {
    assert.equal(countFor(4, 20), 4);
    assert.equal(countFor(4, 31), 4);
    assert.equal(countFor(4, 9), 4);
  });

  it('takes more when they are busy, towards the middle, at most twice as many', () => {
    assert.equal(countFor(4, 32), 7);
    assert.equal(countFor(2, 20), 4);
    assert.equal(countFor(1, 10), 2);
    assert.equal(countFor(8, 80), 10);
  });

  it('counts what waits', () => {
    assert.equal(countFor(4, 20, {}, 11), 4);
    assert.equal(countFor(4, 20, {}, 12), 7);
    assert.equal(countFor(4, 0, {}, 100_000), 8);
  });

  it('takes less when they are idle, towards the middle', () => {
    assert.equal(countFor(10, 0), 1);
    assert.equal(countFor(10, 20), 4);
    assert.equal(countFor(2, 4), 1);
  });

  it('waits for its cooldowns', () => {
    const { scaleUpCooldown: up, scaleDownCooldown: down } = settings;
    assert.equal(countFor(4, 40, { sinceUpMs: up - 1, sinceStepMs: up - 1 }), 4);
    assert.equal(countFor(4, 40, { sinceUpMs: up, sinceStepMs: up }), 8);
    assert.equal(countFor(4, 40, { sinceUpMs: never, sinceStepMs: 0 }), 8);
    assert.equal(countFor(4, 0, { sinceUpMs: never, sinceStepMs: down - 1 }), 4);
    assert.equal(countFor(4, 0, { sinceUpMs: never, sinceStepMs: down }), 1);
  });

  it('keeps its limits at once', () => {
    const now = { sinceUpMs: 0, sinceStepMs: 0 };
    assert.deepEqual(decide(settings, situation(0, 0, now)), {
      count: 1,
      reason: 'below minWorkers 1',
      limit: true,
    });
    assert.equal(countFor(12, 120, now), 10);
    assert.equal(countFor(10, 100), 10);
    assert.equal(countFor(1, 0), 1);
  });

  it('does nothing before a worker has spoken', () => {
    const load = { workers: 0, running: 0, concurrency: 0, waiting: 500 };
    const decision = decide(settings, { ...situation(3, 0), load });
    assert.equal(decision.count, 3);
    assert.match(decision.reason, /no worker has said/);
  });

  it('may go down to none, and comes back for the first job', () => {
    const none = parseScaling({ minWorkers: 0 });
    assert.equal(decide(none, situation(1, 0)).count, 0);
    assert.equal(decide(none, situation(0, 0)).count, 0);
    assert.equal(decide(none, situation(0, 0, { sinceUpMs: 0 }, 1)).count, 1);
  });

  it('stays within its limits, and never leaves a number it has just aimed at', () => {
    const whole = (max: number) => fc.integer({ min: 0, max });
    void fc.assert(
      fc.property(whole(12), whole(200), whole(1_000), (count, running, waiting) => {
        const before = situation(count, Math.min(running, count * 10), {}, waiting);
        const { count: wanted, limit } = decide(settings, before);
        assert.ok(wanted >= 1 && wanted <= 10);
        if (limit === true || wanted === count) return;
        // The same work on the new number: not the other way round at once.
        const load = { ...before.load, workers: wanted, concurrency: wanted * 10 };
        const next = decide(settings, { ...before, count: wanted, load }).count;
        assert.ok(wanted > count ? next >= wanted : next <= wanted, `${count} ${wanted} ${next}`);
      }),
    );
  });
});

describe('its options', () => {
  it('have the defaults of the documentation', () => {
    assert.deepEqual(parseScaling(), {
      minWorkers: 1,
      maxWorkers: 10,
      scaleUpThreshold: 0.8,
      scaleDownThreshold: 0.2,
      scaleUpCooldown: 300_000,
      scaleDownCooldown: 600_000,
      interval: 10_000,
    });
  });

  it('are checked', () => {
    const wrong: readonly (readonly [ScalingOptions, RegExp])[] = [
      [{ minWorkers: 5, maxWorkers: 4 }, /minWorkers is 5, above maxWorkers 4/],
      [{ minWorkers: 1.5 }, /minWorkers is 1.5, not a whole number/],
      [{ maxWorkers: Number.NaN }, /maxWorkers is NaN/],
      [{ scaleUpThreshold: 0.2 }, /would never rest/],
      [{ scaleUpThreshold: '0.9' as never, scaleUpCooldown: -1 }, /scaleUpCooldown is -1/],
      [{ interval: 2 ** 31 }, /interval is 2147483648/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(() => parseScaling(options), { code: 'CONFIG_INVALID', message });
    }
  });
});

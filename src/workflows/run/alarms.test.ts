import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Alarms } from './alarms.ts';

describe('Alarms', () => {
  it('rings each sleeper once, at its time, with one timer', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000 });
    const alarms = new Alarms();
    const rung: string[] = [];
    const sleeper = (name: string) => ({ ring: () => rung.push(`${name} ${Date.now()}`) });
    const [a, b, c] = [sleeper('a'), sleeper('b'), sleeper('c')];
    alarms.set(a, 1_500);
    alarms.set(b, 1_200);
    alarms.set(c, 1_300);
    alarms.set(a, 1_250); // instead of the time that it had
    alarms.clear(c);
    t.mock.timers.tick(199);
    assert.deepEqual(rung, []);
    t.mock.timers.tick(1);
    assert.deepEqual(rung, ['b 1200']);
    t.mock.timers.tick(50);
    assert.deepEqual(rung, ['b 1200', 'a 1250']);
    assert.equal(alarms.size, 0);
  });

  it('rings what is due already in the next turn, and what is set while it rings', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000 });
    const alarms = new Alarms();
    const rung: string[] = [];
    const second = { ring: () => rung.push('second') };
    alarms.set(
      {
        ring: () => {
          rung.push('first');
          alarms.set(second, Date.now() + 10);
        },
      },
      500,
    );
    t.mock.timers.tick(1);
    assert.deepEqual(rung, ['first']);
    t.mock.timers.tick(10);
    assert.deepEqual(rung, ['first', 'second']);
  });
});

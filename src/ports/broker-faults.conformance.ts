/** Cases for servers that die: what was acknowledged is there, and everybody goes on by himself. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  assertNoGap,
  type BrokerCases,
  interleaved,
  keysOf,
  numbered,
  rejectsWith,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { Broker, OutgoingEvent } from './broker.ts';

const shared = 'the server is shared by several suites, and may not be harmed';

/** Publishes until the broker has acknowledged, as the relay does. */
async function publishSurely(broker: Broker, events: readonly OutgoingEvent[]): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      return await broker.publish(events);
    } catch (error) {
      rejectsWith('BROKER_UNAVAILABLE')(error);
      assert.equal((error as { retryable?: boolean }).retryable, true);
      if (performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

export const faultCases: BrokerCases = {
  'nothing acknowledged is lost when the server is killed under load': async (context) => {
    const { broker, fixture, tenant, t } = context;
    if (fixture.restart === null) return t.skip(shared);
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const member = await context.join(topic);
    let running = true;
    let count = 0;
    const published = (async () => {
      while (running) {
        const next = keys.map((key) => numbered(topic, tenant, key, { count: 10, first: count }));
        await publishSurely(broker, interleaved(next));
        count += 10;
      }
    })();
    published.catch(() => {}); // told below
    const goesOn = async (more: number) => {
      const wanted = count + more;
      await Promise.race([within(`${wanted} are published`, () => count >= wanted), published]);
    };
    await goesOn(200);
    await fixture.restart();
    await goesOn(200);
    running = false;
    await published;
    await within('the last ones come', () =>
      keys.every((key) => member.numbers(key).includes(count - 1)),
    ).catch(() => {}); // what is missing is told below
    for (const key of keys) assertNoGap(member.numbers(key), count, key);
    // What the member acknowledged after the restart is known: nothing comes again.
    await within('the rest is acknowledged', async () => {
      const lags = await broker.lag(context.group, [topic.topic]);
      return lags.every(({ lag }) => lag === 0);
    });
  },

  'while the server is down nothing hangs, and after it everything goes on': async (context) => {
    const { broker, fixture, tenant, t } = context;
    if (fixture.restart === null) return t.skip(shared);
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const holder = await context.join(topic, { acknowledges: false });
    const [leaving, closing] = [await context.another(), await context.another()];
    const gone = await context.join(topic, { broker: leaving, group: fixture.group() });
    await broker.publish(
      interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 20 }))),
    );
    await holder.received(20 * keys.length);
    await gone.received(20 * keys.length);
    await gone.acknowledged();
    let down = false;
    let late: Promise<PromiseSettledResult<void>[]> = Promise.resolve([]);
    await fixture.restart(async () => {
      down = true;
      const health = await broker.health();
      assert.equal(health.ok, false);
      assert.ok(health.problem);
      const next = keys.map((key) => numbered(topic, tenant, key, { count: 5, first: 20 }));
      late = Promise.allSettled([broker.publish(next.flat())]);
      const started = performance.now();
      await Promise.all([gone.close(), leaving.close(), closing.close()]);
      const tookMs = performance.now() - started;
      assert.ok(tookMs < 15_000, `close took ${tookMs} ms`);
    });
    assert.ok(down, 'restart runs whileDown before it starts the server again');
    await within('the server is healthy', async () => (await broker.health()).ok);
    const [outcome] = await late;
    if (outcome?.status === 'rejected') rejectsWith('BROKER_UNAVAILABLE')(outcome.reason);
    await publishSurely(
      broker,
      keys.flatMap((key) => numbered(topic, tenant, key, { count: 5, first: 20 })),
    );
    await within('the member goes on', () => keys.every((key) => holder.numbers(key).includes(24)));
    await holder.close();
    const after = await context.join(topic);
    await within('nothing was acknowledged', () =>
      keys.every((key) => after.numbers(key).includes(24)),
    );
    for (const key of keys) assertNoGap(after.numbers(key), 25, key);
    assert.deepEqual(after.numbers(keys[0] as string).slice(0, 20), upTo(20));
  },
};

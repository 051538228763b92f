/** Processes die in handlers of domain events: nothing is lost, acknowledged effects are once. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect } from 'millrace';
import { eventually } from './eventually.ts';
import { Fleet } from './fleet.ts';
import { allowedMs, record, scaled } from './ledger.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

interface Count {
  readonly mode: string;
  readonly n: number;
  readonly times: number;
}

test('SIGKILL in handlers of domain events', { timeout: 600_000 }, async () => {
  const random = announcedRandom('domain-events');
  const events = scaled(200);
  await using server = await FaultServer.started();
  await using mill = await connect(server.url());
  await server.rows('create table handled (mode text not null, n int not null)');
  await server.rows(
    'create table killed (mode text not null, n int not null, primary key (mode, n))',
  );
  await server.rows('grant insert on handled to millrace_app');
  mill.events.declare('shop', [
    { name: 'order.paid', delivery: 'durable' },
    { name: 'order.sent', delivery: 'acknowledged' },
  ]);
  const deadly = new Set(Array.from({ length: scaled(3) }, () => random.below(events)));
  await using fleet = new Fleet(
    { url: server.url() },
    { script: new URL('./domain-worker.ts', import.meta.url) },
  );
  const over = new AbortController();
  const keeping = fleet.keep(2, over.signal);
  for (let n = 0; n < events; n += 1) {
    const name = n % 2 === 0 ? 'order.paid' : 'order.sent';
    const payload = { n, deadly: deadly.has(n) };
    await mill.events.publish(name, payload, { tenantId: 't', key: `k${n % 20}` });
  }
  const counts = () =>
    server.rows<Count>('select mode, n, count(*)::int times from handled group by 1, 2');
  const tookMs = await eventually('both groups have handled all', allowedMs(120_000), async () => {
    return (await counts()).length === events * 2;
  });
  const seen = await counts();
  over.abort();
  await keeping;
  const killed = await server.rows<Count>('select mode, n from killed');
  const twice = (mode: string) => seen.filter((one) => one.mode === mode && one.times > 1).length;
  const verdict = { lost: events * 2 - seen.length, duplicated: twice('acknowledged') };
  const seconds = (tookMs / 1_000).toFixed(1);
  const note = `${twice('durable')} durable ones handled twice, as they may be; ${seconds} s`;
  record({
    fault: 'SIGKILL in handlers of domain events',
    seed: random.seed,
    injected: killed.length,
    events,
    verdict,
    note,
  });
  assert.deepEqual(verdict, { lost: 0, duplicated: 0 });
  assert.equal(killed.length, deadly.size * 2, 'each of them killed a process of each mode once');
  assert.ok(twice('durable') >= deadly.size, 'what was committed before the kill is done again');
  const others = fleet.crashes.filter((text) => !text.includes('ended by SIGKILL'));
  assert.deepEqual(others, []);
});

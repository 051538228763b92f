/**
 * The connection is cut after a commit was sent and before its answer arrives, so that nobody
 * knows whether it happened: publishing tries again and stores each event once; settlements
 * neither lose effects nor double them.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'millrace';
import { assertClean, drain, judge, record, scaled } from './ledger.ts';
import { createEffects, subscribePipeline } from './pipeline.ts';
import { Producer } from './producer.ts';
import { CuttingProxy, commitMessage } from './proxy.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

/** How a prepared statement is named in a Bind message. */
const appends = ['\0millrace_append\0', '\0millrace_append_once\0'];
const settlements = [commitMessage, '\0millrace_settle\0', '\0millrace_settle_cursor\0'];

test('connections cut between commit and answer', { timeout: 900_000 }, async () => {
  const random = announcedRandom('lost-reply');
  const cuts = scaled(200);
  await using server = await FaultServer.started();
  await using proxy = await CuttingProxy.listening(server.port);
  await using mill = await connect(server.url(proxy.port));
  await createEffects(server);
  subscribePipeline(mill, { worker: 'w1' });
  await mill.start();
  const producer = new Producer(mill, random);
  let cut = 0;
  const cutAll = async (texts: readonly string[], times: number) => {
    for (let i = 0; i < times; i += 1) {
      await proxy.cutNext(texts, random.chance(0.5) ? 'at-once' : 'after-answer');
      cut += 1;
    }
  };
  producer.start(200);
  const stalled = sleep(60_000 * Math.max(1, cuts / 200), 'stalled', { ref: false });
  const all = Promise.all([cutAll(appends, cuts * 0.75), cutAll(settlements, cuts * 0.25)]);
  await Promise.race([all, stalled]);
  await producer.stop();
  await drain(server, 20_000);
  const verdict = await judge(server, producer);
  const [stored] = await server.rows<{ twice: number }>(
    `select count(*)::int as twice from (
      select from millrace.event where event_type in ('OrderPlaced', 'OrderShipped')
      group by event_type, key, payload->>'seq' having count(*) > 1) d`,
  );
  record({
    fault: 'connection cut between commit and answer',
    seed: random.seed,
    injected: cut,
    events: producer.acknowledgedCount,
    verdict,
    note: `stored twice ${stored?.twice}, appends tried again ${mill.publisher.retried}`,
  });
  assert.equal(stored?.twice, 0);
  assert.deepEqual(producer.refusals, []);
  assertClean(verdict);
  assert.ok(cut >= cuts, `${cut} of ${cuts} cuts`);
});

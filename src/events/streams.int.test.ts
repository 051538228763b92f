/** Streams end to end, through `connect`: order, retries, versions, modes, bounds. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { names, openMill, quickRetry } from '../../test/support/mill.ts';
import { randomFrom, seededRandom, seedOf } from '../../test/support/random.ts';
import { permanentFailure } from '../core/errors.ts';
import { defineEvent, type StoredEvent } from '../core/event.ts';
import { deploymentModes } from '../runtime/heads.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database.drop());

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

describe('order', () => {
  for (const kind of [
    'handle',
    'async handle',
    'handleBatch',
    'handleBatch with fail()',
  ] as const) {
    it(`of each key holds through retries: ${kind}`, async (t) => {
      const random = seededRandom(t);
      const { group, tenant, Thing } = names();
      const mill = await openMill(t, database.url);
      const seen = new Map<string, number[]>();
      const note = ({ key, payload }: StoredEvent<{ n: number }>) => {
        const numbersSeen = seen.get(String(key)) ?? [];
        numbersSeen.push(payload.n);
        seen.set(String(key), numbersSeen);
      };
      // Each event that fails does so a number of times, then no more.
      const failures = new Map<string, number>();
      const fails = ({ eventId }: StoredEvent) => {
        const left = failures.get(eventId) ?? (random.chance(0.1) ? 1 + random.below(15) : 0);
        failures.set(eventId, Math.max(0, left - 1));
        return left > 0;
      };
      const common = { group, events: [Thing], retry: { ...quickRetry, maxRetries: 50 } } as const;
      if (kind === 'handle') {
        mill.subscribe({
          ...common,
          handle(event) {
            if (fails(event)) throw new Error('by chance');
            note(event);
          },
        });
      } else if (kind === 'async handle') {
        mill.subscribe({
          ...common,
          concurrency: 5,
          async handle(event) {
            await sleep(random.below(3));
            if (fails(event)) throw new Error('by chance');
            note(event);
          },
        });
      } else {
        mill.subscribe({
          ...common,
          batchMax: 40,
          handleBatch(events, context) {
            const failed = events.filter(fails);
            if (kind === 'handleBatch' && failed.length > 0) throw new Error('by chance');
            for (const event of failed) context.fail(event, new Error('by chance'));
            // Its effects count only when nothing failed, as with a database transaction.
            if (failed.length === 0) for (const event of events) note(event);
          },
        });
      }
      const keys = numbers(12).map((n) => `key-${n}`);
      const publishing = numbers(20).map((n) =>
        mill.publishMany(keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }])),
      );
      await mill.start();
      await Promise.all(publishing);
      await eventually('all are handled', () =>
        keys.every((key) => (seen.get(key)?.length ?? 0) >= 20),
      );
      for (const key of keys) assert.deepEqual(seen.get(key), numbers(20), key);
      assert.ok(mill.totals().failed > 0, 'the test can fail');
    });
  }

  it('holds for events without a key, per tenant', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const seen: number[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      async handle({ payload }, { attempt }) {
        await sleep(payload.n % 3);
        if (payload.n % 5 === 0 && attempt === 1) throw new Error('first try');
        seen.push(payload.n);
      },
    });
    await mill.start();
    await mill.publishMany(numbers(30).map((n) => [Thing, { tenantId: tenant, payload: { n } }]));
    await eventually('all are handled', () => seen.length >= 30);
    assert.deepEqual(seen, numbers(30));
  });

  it('lets other keys flow past a dead letter', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const seen: string[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      handle({ key, payload }) {
        if (key === 'bad') throw permanentFailure('no use');
        seen.push(`${key}${payload.n}`);
      },
    });
    await mill.start();
    const events = numbers(10).flatMap((n) =>
      ['good', 'bad'].map((key) => [Thing, { tenantId: tenant, key, payload: { n } }] as const),
    );
    await mill.publishMany(events);
    await eventually('the good key is done', () => seen.length === 10);
    await eventually('the others wait', async () => {
      const [letter] = await mill.deadLetters.list({ tenantId: tenant });
      return letter?.waiting === 9;
    });
    assert.deepEqual(
      seen,
      numbers(10).map((n) => `good${n}`),
    );
    assert.equal(mill.totals().handled, 11, 'the nine that wait were not attempted');
  });
});

describe('handlers', () => {
  it('get the event, the attempt and follow-ups of the same key and correlation', async (t) => {
    const { group, tenant, Thing } = names();
    const { Thing: Next } = names();
    const mill = await openMill(t, database.url);
    const attempts: number[] = [];
    const followed: StoredEvent<{ n: number }>[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      handle(_event, context) {
        attempts.push(context.attempt);
        context.publish(Next, { payload: { n: context.attempt } });
        if (context.attempt < 3) throw new Error('again');
      },
    });
    mill.subscribe({
      group: `${group}-next`,
      events: [Next],
      handle: (event) => void followed.push(event),
    });
    await mill.start();
    const input = { tenantId: tenant, key: 'k', correlationId: 'case', payload: { n: 0 } };
    const { eventId } = await mill.publish(Thing, input);
    await eventually('the follow-up arrives', () => followed.length > 0);
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.equal(followed.length, 1, 'a failed try leaves no event behind');
    const [next] = followed as [StoredEvent<{ n: number }>];
    assert.deepEqual(next.payload, { n: 3 });
    assert.equal(next.key, 'k');
    assert.equal(next.tenantId, tenant);
    assert.equal(next.correlationId, 'case');
    assert.equal(next.causationId, eventId);
    const tree = await mill.history.causalTree(tenant, eventId);
    assert.deepEqual(
      tree.map(({ depth, event }) => [depth, event.eventType]),
      [
        [0, Thing.type],
        [1, 'RetryScheduled'],
        [1, 'RetryScheduled'],
        [1, Next.type],
      ],
    );
  });

  it('that take too long fail, are told by their signal, and leave nothing', async (t) => {
    const { group, tenant, Thing } = names();
    const { Thing: Next } = names();
    const mill = await openMill(t, database.url);
    const late = gate();
    const refused: unknown[] = [];
    let told = false;
    mill.subscribe({
      group,
      events: [Thing],
      timeoutMs: 30,
      retry: { maxRetries: 0 },
      async handle(_event, context) {
        context.signal.addEventListener('abort', () => {
          told = true;
        });
        await late.opened;
        try {
          context.publish(Next, { payload: { n: 1 } });
        } catch (error) {
          refused.push(error);
        }
      },
    });
    await mill.start();
    await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 0 } });
    const letter = await eventually(
      'it is a dead letter',
      async () => (await mill.deadLetters.list({ tenantId: tenant }))[0],
    );
    assert.equal(letter.errorCode, 'HANDLER_TIMEOUT');
    assert.ok(told, 'the signal is aborted');
    late.open();
    await eventually('the late handler is refused', () => refused.length === 1);
    const { events } = await mill.history.list({ tenantId: tenant, eventTypes: [Next.type] });
    assert.deepEqual(events, []);
  });

  it('of batches see one tenant at a time, in the order of the log', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const calls: (readonly StoredEvent<{ n: number }>[])[] = [];
    mill.subscribe({ group, events: [Thing], handleBatch: (events) => void calls.push(events) });
    const items = numbers(60).map(
      (n) => [Thing, { tenantId: `${tenant}-${n % 3}`, key: `k${n % 5}`, payload: { n } }] as const,
    );
    await mill.publishMany(items);
    await mill.start();
    await eventually('all are handled', () => calls.flat().length === 60);
    for (const events of calls) {
      assert.equal(new Set(events.map(({ tenantId }) => tenantId)).size, 1);
      const offsets = events.map(({ offset }) => offset);
      assert.deepEqual(
        offsets,
        offsets.toSorted((a, b) => a - b),
      );
    }
    assert.ok(calls.length < 60, 'several at once');
  });

  it('get old events in their newest shape, and no event of the future', async (t) => {
    const { group, tenant } = names();
    const type = `Versioned${group}`;
    const v1 = defineEvent(type, { schema: z.object({ amount: z.number() }) });
    const v2 = defineEvent(type, {
      version: 2,
      schema: z.object({ cents: z.number() }),
      upcasters: { 1: ({ amount }: { amount: number }) => ({ cents: amount * 100 }) },
    });
    const v3 = defineEvent(type, { ...v2, version: 3, upcasters: { 1: (p) => p, 2: (p) => p } });
    const publisher = await openMill(t, database.url);
    await publisher.publish(v1, { tenantId: tenant, key: 'old', payload: { amount: 2 } });
    await publisher.publish(v2, { tenantId: tenant, key: 'new', payload: { cents: 5 } });
    await publisher.publish(v3, { tenantId: tenant, key: 'future', payload: { cents: 9 } });
    const mill = await openMill(t, database.url);
    const seen = new Map<string, unknown[]>([
      ['strict', []],
      ['open', []],
    ]);
    for (const [name, into] of seen) {
      mill.subscribe({
        group: `${group}-${name}`,
        events: [v2],
        allowFutureVersions: name === 'open',
        handle: ({ key, version, payload }) => void into.push([key, version, payload.cents]),
      });
    }
    await mill.start();
    await eventually('the open group has all', () => seen.get('open')?.length === 3);
    const letter = await eventually(
      'the strict group has a dead letter',
      async () => (await mill.deadLetters.list({ tenantId: tenant, group: `${group}-strict` }))[0],
    );
    assert.equal(letter.errorCode, 'EVENT_VERSION_UNSUPPORTED');
    assert.equal(letter.retryCount, 0);
    const both = [
      ['new', 2, 5],
      ['old', 2, 200],
    ];
    assert.deepEqual(seen.get('strict')?.sort(), both);
    assert.deepEqual(seen.get('open')?.sort(), [['future', 3, 9], ...both]);
  });

  it('of a group from the end get what comes after it was registered', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const publish = (n: number) =>
      mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n } });
    await publish(1);
    const seen: number[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      from: 'end',
      handle: ({ payload }) => void seen.push(payload.n),
    });
    await mill.start();
    await publish(2);
    await publish(3);
    await eventually('the two are handled', () => seen.length === 2);
    assert.deepEqual(seen, [2, 3]);
  });
});

describe('modes', () => {
  it('all deliver, and can be switched while events flow', async (t) => {
    const { group, tenant, Thing } = names();
    const receiver = await openMill(t, database.url, { mode: 'PollingOnly' });
    const publisher = await openMill(t, database.url);
    const seen: number[] = [];
    receiver.subscribe({
      group,
      events: [Thing],
      handle: ({ payload }) => void seen.push(payload.n),
    });
    await receiver.start();
    let n = 0;
    for (const mode of [...deploymentModes, ...deploymentModes.toReversed()]) {
      await receiver.switchMode(mode);
      for (const source of [publisher, receiver]) {
        for (let i = 0; i < 3; i += 1) {
          await source.publish(Thing, { tenantId: tenant, key: 'k', payload: { n } });
          n += 1;
        }
      }
      await eventually(`${mode} delivers`, () => seen.length === n, 3_000);
    }
    assert.deepEqual(seen, numbers(n));
    await assert.rejects(receiver.switchMode('Sometimes' as never), code('CONFIG_INVALID'));
  });

  it('EventDrivenOnly hears of events that another process sequenced', async (t) => {
    const { group, tenant, Thing } = names();
    const receiver = await openMill(t, database.url, { mode: 'EventDrivenOnly' });
    const publisher = await openMill(t, database.url);
    const seen: number[] = [];
    receiver.subscribe({
      group,
      events: [Thing],
      handle: ({ payload }) => void seen.push(payload.n),
    });
    await receiver.start();
    await publisher.start();
    for (const n of numbers(20)) {
      await publisher.store.withTenant(tenant, (tx) =>
        publisher.publish(Thing, { tenantId: tenant, key: 'k', payload: { n } }, { tx }),
      );
      await eventually('it arrives', () => seen.length === n + 1, 3_000);
    }
  });
});

describe('publishing', () => {
  it('in a transaction appears after its commit, and never after a rollback', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const seen: number[] = [];
    mill.subscribe({ group, events: [Thing], handle: ({ payload }) => void seen.push(payload.n) });
    await mill.start();
    const publish = (n: number, fail: boolean) =>
      mill.store.withTenant(tenant, async (tx) => {
        await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n } }, { tx });
        if (fail) throw new Error('undo');
      });
    await publish(1, false);
    await assert.rejects(publish(2, true), /undo/);
    await publish(3, false);
    await eventually('the committed ones arrive', () => seen.length === 2);
    assert.deepEqual(seen, [1, 3]);
  });

  it('resolves with the position, and finds a known id again', async (t) => {
    const { tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const eventId = crypto.randomUUID();
    const input = { tenantId: tenant, key: 'k', eventId, payload: { n: 1 } };
    const first = await mill.publish(Thing, input);
    assert.equal(first.duplicate, false);
    assert.deepEqual(await mill.publish(Thing, input), { ...first, duplicate: true });
    const found = await mill.history.find(tenant, eventId);
    assert.equal(found?.offset, first.offset);
  });

  it('never holds more events than its buffer, whatever the producers do', async (t) => {
    const { tenant, Thing } = names();
    const mill = await openMill(t, database.url, { bufferMax: 50, appendMax: 10 });
    let most = 0;
    const publishing = numbers(600).map(async (n) => {
      const published = mill.publish(Thing, { tenantId: tenant, key: `k${n % 9}`, payload: { n } });
      await published;
      most = Math.max(most, mill.publisher.buffered);
    });
    const many = mill.publishMany(
      numbers(300).map((n) => [Thing, { tenantId: tenant, key: 'many', payload: { n } }]),
    );
    for (let turn = 0; turn < 10; turn += 1) {
      most = Math.max(most, mill.publisher.buffered);
      await Promise.resolve();
    }
    await Promise.all([...publishing, many]);
    assert.ok(most <= 50, `${most} at once`);
    const { events } = await mill.history.list({ tenantId: tenant, key: 'k1', limit: 1000 });
    const inOrder = events.map(({ payload }) => (payload as { n: number }).n);
    assert.deepEqual(
      inOrder,
      inOrder.toSorted((a, b) => a - b),
      'in the order of the calls',
    );
  });

  it('refuses what is not JSON, naming the place', async (t) => {
    const { tenant } = names();
    const Loose = defineEvent('Loose', { schema: z.unknown() });
    const mill = await openMill(t, database.url);
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const hostile: [unknown, string, RegExp][] = [
      [{ a: [{ b: Number.NaN }] }, 'PAYLOAD_NOT_JSON', /payload\.a\[0\]\.b/],
      [{ text: 'nul \u0000' }, 'PAYLOAD_NOT_JSON', /payload\.text/],
      [{ text: '\ud800' }, 'PAYLOAD_NOT_JSON', /payload\.text/],
      [{ big: 2 ** 53 }, 'PAYLOAD_NOT_JSON', /payload\.big/],
      [{ n: 1n }, 'PAYLOAD_NOT_JSON', /payload\.n/],
      [{ when: new Date() }, 'PAYLOAD_NOT_JSON', /payload\.when/],
      [JSON.parse('{"__proto__": {"admin": true}}'), 'PAYLOAD_NOT_JSON', /__proto__/],
      [cyclic, 'PAYLOAD_NOT_JSON', /contains itself/],
      [{ text: 'x'.repeat(1_100_000) }, 'EVENT_TOO_LARGE', /1048576/],
    ];
    for (const [payload, wanted, message] of hostile) {
      await assert.rejects(mill.publish(Loose, { tenantId: tenant, payload }), (error: Error) => {
        assert.ok(code(wanted)(error), String(error));
        assert.match(error.message, message);
        return true;
      });
    }
    const odd = { ' ': '\u2028\u007f', 'a"b\\': ['🗝', '{"x":1}', "''", '\\u0000'] };
    const { eventId } = await mill.publish(Loose, { tenantId: tenant, payload: odd });
    assert.deepEqual((await mill.history.find(tenant, eventId))?.payload, odd);
  });

  it('after stop is refused', async (t) => {
    const { tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    await mill.stop();
    const late = mill.publish(Thing, { tenantId: tenant, payload: { n: 1 } });
    await assert.rejects(late, code('SHUTTING_DOWN'));
  });
});

it('chaos: keys, tenants, groups, failures and follow-ups at once come out complete', async (t) => {
  const seed = seedOf(t);
  const random = randomFrom(seed);
  const { group, tenant, Thing } = names();
  const { Thing: Next } = names();
  const mill = await openMill(t, database.url);
  const answered = new Map<string, number[]>();
  const retry = { ...quickRetry, maxRetries: 100 };
  mill.subscribe({
    group,
    events: [Thing],
    retry,
    batchMax: 1 + random.below(50),
    async handle({ payload }, context) {
      if (random.chance(0.3)) await sleep(random.below(2));
      context.publish(Next, { payload });
      if (random.chance(0.1)) throw new Error('by chance');
    },
  });
  mill.subscribe({
    group: `${group}-next`,
    events: [Next],
    retry,
    handle({ tenantId, key, payload }) {
      if (random.chance(0.05)) throw new Error('by chance');
      const lane = `${tenantId}/${key}`;
      answered.set(lane, [...(answered.get(lane) ?? []), payload.n]);
    },
  });
  await mill.start();
  const lanes = numbers(15).map((i) => ({ tenantId: `${tenant}-${i % 2}`, key: `k${i}` }));
  await Promise.all(
    lanes.map(async (lane) => {
      for (const n of numbers(20)) await mill.publish(Thing, { ...lane, payload: { n } });
    }),
  );
  await eventually('every event is answered', () =>
    lanes.every(({ tenantId, key }) => (answered.get(`${tenantId}/${key}`)?.length ?? 0) >= 20),
  );
  for (const [lane, seen] of answered) assert.deepEqual(seen, numbers(20), lane);
});

/** Domain events end to end on Postgres: every delivery mode, several processes, failures. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually, gate } from '../../../test/support/eventually.ts';
import { ask, effectTable, openMill, quickRetry } from '../../../test/support/mill.ts';
import { permanentFailure } from '../../core/errors.ts';
import type { DomainEvent } from '../../core/workflow/domain-event.ts';

const paid = {
  name: 'payment.charged',
  description: 'Fired when payment is successfully charged',
  schema: {
    type: 'object',
    properties: { payment_id: { type: 'string' }, amount: { type: 'number' } },
    required: ['payment_id', 'amount'],
  },
  delivery: 'fire_and_forget',
} as const;
const failed = { ...paid, name: 'payment.failed', delivery: 'durable' } as const;
const settled = { ...paid, name: 'payment.settled', delivery: 'acknowledged' } as const;
const told = { ...paid, name: 'payment.told', delivery: 'broadcast' } as const;

describe('domain events', () => {
  let database: TestDatabase;
  let number = 0;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  /** A namespace, a tenant and names that no other test of this file has. */
  function place() {
    number += 1;
    const namespace = `shop${number}`;
    const of = <T extends { readonly name: string }>(declaration: T) => ({
      ...declaration,
      name: `s${number}.${declaration.name}`,
    });
    return { namespace, tenantId: `tenant-${number}`, of, pattern: `s${number}.*` };
  }
  const payload = (n: number) => ({ payment_id: `p${n}`, amount: n });

  it('reach subscribers of this process, in order per key, frozen, with metadata', async (t) => {
    const { namespace, tenantId, of, pattern } = place();
    await using mill = await openMill(t, database.url);
    const event = of(paid);
    mill.events.declare(namespace, [event]);
    const seen: DomainEvent[] = [];
    mill.events.subscribe(pattern, async (one) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      seen.push(one);
    });
    for (let n = 0; n < 50; n += 1) {
      const options = { tenantId, taskUuid: `task-${n % 3}`, correlationId: 'corr_xyz' };
      await mill.events.publish(event.name, payload(n), options);
    }
    await eventually('all are handled', () => seen.length === 50);
    for (const task of ['task-0', 'task-1', 'task-2']) {
      const mine = seen.filter(({ metadata }) => metadata.task_uuid === task);
      const ids = mine.map((one) => (one.payload as { amount: number }).amount);
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => a - b),
        `${task} in order`,
      );
    }
    const [{ metadata, ...rest }] = seen as [DomainEvent];
    assert.ok(Object.isFrozen(rest.payload) && Object.isFrozen(metadata));
    assert.match(metadata.fired_at, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual(
      { ...metadata, fired_at: '' },
      {
        task_uuid: metadata.task_uuid,
        step_uuid: null,
        step_name: null,
        namespace,
        correlation_id: 'corr_xyz',
        fired_at: '',
        fired_by: mill.workerId,
      },
    );
    assert.equal(rest.tenant_id, tenantId);
    assert.equal(rest.name, event.name);
    assert.equal(mill.events.metrics().published.fire_and_forget, 50);
    assert.equal(mill.events.metrics().delivered.fire_and_forget, 50);
    assert.equal(mill.events.metrics().handlerSeconds.fire_and_forget?.count, 50);
  });

  it('are delivered durably to a late subscriber, retried, and kept as dead letters', async (t) => {
    const { namespace, tenantId, of } = place();
    const event = of(failed);
    {
      await using early = await openMill(t, database.url);
      early.events.declare(namespace, [event]);
      for (let n = 0; n < 5; n += 1) {
        const options = { tenantId, key: `k${n}` };
        const { offset, eventId } = await early.events.publish(event.name, payload(n), options);
        assert.ok(offset !== null && offset > 0);
        assert.equal(
          (await early.history.find(tenantId, eventId))?.eventType,
          `domain.${namespace}.${event.name}`,
        );
      }
    }
    await using mill = await openMill(t, database.url);
    const tries = new Map<string, number>();
    let broken = true;
    const subscription = mill.events.subscribe(
      event.name,
      { delivery: 'durable', retry: { ...quickRetry, maxRetries: 2 } },
      (one, context) => {
        const id = (one.payload as { payment_id: string }).payment_id;
        tries.set(id, context.attempt);
        if (broken && id === 'p3') throw new Error('no connection to 10.0.0.1');
        if (id === 'p1' && context.attempt === 1) throw new Error('once');
      },
    );
    assert.equal(subscription.group, `domain_events.${event.name}`);
    await mill.start();
    const stream = mill.events.stream(namespace);
    assert.equal(stream.name, `${namespace}_domain_events`);
    assert.equal(stream.deadLettersName, `${namespace}_domain_events_dlq`);
    const letters = await eventually('one is dead', async () => {
      const found = await stream.deadLetters({ tenantId });
      return found.length > 0 && tries.size === 5 ? found : null;
    });
    assert.equal(letters.length, 1);
    const [letter] = letters as [(typeof letters)[0]];
    assert.equal(letter.failureReason, 'no connection to 10.0.0.1');
    assert.equal(letter.retryCount, 2);
    assert.deepEqual([tries.get('p1'), tries.get('p3'), tries.get('p0')], [2, 3, 1]);
    assert.deepEqual(await mill.events.stream('elsewhere').deadLetters({ tenantId }), []);
    // Without the definitions in the process there would be no schema to edit against.
    mill.events.declare(namespace, [event]);
    const ref = { tenantId, group: letter.group, eventId: letter.eventId };
    const bad = mill.deadLetters.editAndRetry(ref, { payment_id: 3 });
    await assert.rejects(bad, { code: 'EVENT_INVALID', message: /payload\.payment_id/ });
    broken = false;
    await mill.deadLetters.retry(ref);
    await eventually(
      'it is redriven',
      async () => (await mill.deadLetters.show(ref)).status === 'succeeded',
    );
    assert.equal(mill.events.metrics().delivered.durable, 5);
    assert.equal(mill.events.metrics().handlerFailed.durable, 4);
  });

  it('commit effects, follow-ups and acknowledgement together', async (t) => {
    const { namespace, tenantId, of, pattern } = place();
    const table = `charge_${number}`;
    await using mill = await openMill(t, database.url);
    const [event, next, here] = [of(settled), of(failed), of(paid)];
    mill.events.declare(namespace, [event, next, here]);
    await effectTable(database.url, table);
    const heardHere: string[] = [];
    mill.events.subscribe(pattern, { namespace }, ({ name }) => heardHere.push(name));
    mill.events.subscribe(
      event.name,
      { delivery: 'acknowledged', group: `ack-${number}`, retry: quickRetry },
      async (one, context) => {
        const { amount } = one.payload as { amount: number };
        await context.tx.query(`insert into ${table} (key, n) values ($1, $2)`, [
          one.tenant_id,
          amount,
        ]);
        context.publish(next.name, one.payload);
        context.publish(here.name, one.payload);
        if (context.attempt === 1 && amount % 2 === 0) throw new Error('after the effect');
      },
    );
    const followUps: DomainEvent[] = [];
    mill.events.subscribe(next.name, { delivery: 'durable', group: `next-${number}` }, (one) =>
      followUps.push(one),
    );
    await mill.start();
    for (let n = 0; n < 20; n += 1) {
      await mill.events.publish(event.name, payload(n), { tenantId, taskUuid: `task-${n}` });
    }
    await eventually('all follow-ups came', () => followUps.length >= 20);
    const rows = await ask<{ n: number }>(database.url, `select n from ${table} order by n`);
    assert.deepEqual(
      rows.map(({ n }) => n),
      Array.from({ length: 20 }, (_, n) => n),
      'each effect once',
    );
    assert.equal(followUps.length, 20);
    const [first] = followUps as [DomainEvent];
    assert.match(first.metadata.task_uuid as string, /^task-/);
    const stored = await mill.history.find(tenantId, first.event_id);
    assert.equal(typeof stored?.causationId, 'string');
    await eventually('this process hears the follow-ups', () => heardHere.length === 60);
    assert.equal(heardHere.filter((name) => name === here.name).length, 20);
    assert.equal(heardHere.filter((name) => name === next.name).length, 20);
  });

  it('reach groups by patterns, under later names, of one namespace and tenant', async (t) => {
    const { namespace, tenantId, of, pattern } = place();
    await using mill = await openMill(t, database.url);
    const all: string[] = [];
    const mine: string[] = [];
    const ofNamespace: string[] = [];
    const note = (into: string[]) => (one: DomainEvent) =>
      void into.push(`${one.tenant_id} ${one.name}`);
    mill.events.subscribe(pattern, { delivery: 'durable', group: `all-${number}` }, note(all));
    const forMe = { delivery: 'durable', group: `mine-${number}`, tenantId } as const;
    mill.events.subscribe(pattern, forMe, note(mine));
    const forSpace = { delivery: 'durable', namespace: `${namespace}-b` } as const;
    const third = mill.events.subscribe('*', forSpace, note(ofNamespace));
    assert.equal(third.group, `${namespace}-b_domain_events.ANY`);
    await mill.start();
    const [one, two, local] = [of(failed), of(told), of(paid)];
    mill.events.declare(namespace, [one, local]);
    mill.events.declare(`${namespace}-b`, [two]);
    await mill.events.publish(one.name, payload(1), { tenantId });
    await mill.events.publish(two.name, payload(2), { tenantId: 'another' });
    await mill.events.publish(local.name, payload(3), { tenantId });
    await eventually(
      'both groups are there',
      () => all.length >= 2 && mine.length >= 1 && ofNamespace.length >= 1,
    );
    assert.deepEqual(all.toSorted(), [`another ${two.name}`, `${tenantId} ${one.name}`].toSorted());
    assert.deepEqual(mine, [`${tenantId} ${one.name}`]);
    assert.deepEqual(ofNamespace, [`another ${two.name}`]);
  });

  it('are shared by the processes of a group, each event by one of them', async (t) => {
    const { namespace, tenantId, of } = place();
    const event = of(failed);
    const handled: string[] = [];
    const mills = [await openMill(t, database.url), await openMill(t, database.url)];
    for (const [i, mill] of mills.entries()) {
      mill.events.declare(namespace, [event]);
      mill.events.subscribe(event.name, { delivery: 'durable' }, (one) => {
        handled.push(`${i} ${(one.payload as { payment_id: string }).payment_id}`);
      });
      await mill.start();
    }
    await eventually('both have partitions', async () =>
      (await Promise.all(mills.map((mill) => mill.health()))).every(
        ({ streams }) => streams.length === 2,
      ),
    );
    await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        (mills[n % 2] as (typeof mills)[0]).events.publish(event.name, payload(n), {
          tenantId,
          key: `k${n}`,
        }),
      ),
    );
    await eventually('all are handled', () => handled.length >= 100);
    assert.equal(new Set(handled.map((text) => text.split(' ')[1])).size, 100);
    assert.equal(handled.length, 100);
    assert.deepEqual([...new Set(handled.map((text) => text.split(' ')[0]))].sort(), ['0', '1']);
  });

  it('join a transaction of the caller, or go with it', async (t) => {
    const { namespace, tenantId, of } = place();
    await using mill = await openMill(t, database.url);
    const [event, local] = [of(failed), of(paid)];
    mill.events.declare(namespace, [event, local]);
    const seen: string[] = [];
    mill.events.subscribe(event.name, { delivery: 'durable' }, (one) => {
      seen.push((one.payload as { payment_id: string }).payment_id);
    });
    await mill.start();
    const undone = mill.store.withTenant(tenantId, async (tx) => {
      await mill.events.publish(event.name, payload(1), { tenantId, tx });
      throw new Error('rolled back');
    });
    await assert.rejects(undone, /rolled back/);
    await mill.store.withTenant(tenantId, (tx) =>
      mill.events.publish(event.name, payload(2), { tenantId, tx }),
    );
    await eventually('the committed one came', () => seen.length > 0);
    assert.deepEqual(seen, ['p2']);
    await mill.store.withTenant(tenantId, async (tx) => {
      const late = mill.events.publish(local.name, payload(3), { tenantId, tx });
      await assert.rejects(late, {
        code: 'EVENT_INVALID',
        message: /cannot wait for a transaction/,
      });
    });
  });

  it('come and go while running: a subscription is added, stopped, and added again', async (t) => {
    const { namespace, tenantId, of } = place();
    await using mill = await openMill(t, database.url);
    const event = of(failed);
    mill.events.declare(namespace, [event]);
    await mill.start();
    const seen: number[] = [];
    const begin = gate();
    const finish = gate();
    const first = mill.events.subscribe(event.name, { delivery: 'durable' }, async (one) => {
      begin.open();
      await finish.opened;
      seen.push((one.payload as { amount: number }).amount);
    });
    await first.ready;
    assert.throws(() => mill.events.subscribe(event.name, { delivery: 'durable' }, () => {}), {
      code: 'DEFINITION_INVALID',
    });
    await mill.events.publish(event.name, payload(1), { tenantId, key: 'k' });
    await begin.opened;
    const stopping = first.stop();
    finish.open();
    await stopping;
    assert.deepEqual(seen, [1], 'what was under way has ended');
    await mill.events.publish(event.name, payload(2), { tenantId, key: 'k' });
    assert.ok((await mill.health()).streams.every(({ group }) => group !== first.group));
    const again = mill.events.subscribe(event.name, { delivery: 'durable' }, (one) => {
      seen.push((one.payload as { amount: number }).amount);
    });
    await again.ready;
    await eventually('it goes on where it stopped', () => seen.length === 2);
    assert.deepEqual(seen, [1, 2]);
  });

  it('let dead letters expire, and what waits behind them go on', async (t) => {
    const { namespace, tenantId, of } = place();
    await using mill = await openMill(t, database.url, {
      domainEvents: { durable: { dlqRetentionMs: 0 } },
    });
    const event = of(failed);
    mill.events.declare(namespace, [event]);
    const seen: number[] = [];
    mill.events.subscribe(event.name, { delivery: 'durable' }, (one) => {
      const { amount } = one.payload as { amount: number };
      if (amount === 1) throw permanentFailure('never');
      seen.push(amount);
    });
    await mill.start();
    for (const n of [1, 2, 3])
      await mill.events.publish(event.name, payload(n), { tenantId, key: 'k' });
    const letters = () => mill.events.stream(namespace).deadLetters({ tenantId });
    await eventually('both wait', async () => (await letters())[0]?.waiting === 2);
    assert.deepEqual(seen, []);
    assert.equal(await mill.events.sweep(), 1);
    await eventually('both are handled', () => seen.length === 2);
    assert.deepEqual(await letters(), []);
    assert.deepEqual(seen, [2, 3]);
  });

  it('are dropped after their attempts where no dead letters are wanted', async (t) => {
    const { namespace, tenantId, of } = place();
    const quiet = { durable: { dlqEnabled: false, maxDeliveryAttempts: 2 } };
    await using mill = await openMill(t, database.url, { domainEvents: quiet });
    const event = of(failed);
    mill.events.declare(namespace, [event]);
    const seen: string[] = [];
    const handler = (kind: string) => async (one: DomainEvent, context: { attempt: number }) => {
      const { amount } = one.payload as { amount: number };
      seen.push(`${kind} ${amount} ${context.attempt}`);
      const { tx } = context as { tx?: { query(text: string): Promise<unknown> } };
      await tx?.query('select 1');
      if (amount === 1) throw new Error('again');
    };
    const retry = { initialDelayMs: 1, maxDelayMs: 5 };
    mill.events.subscribe(event.name, { delivery: 'durable', retry }, handler('durable'));
    const acknowledged = { delivery: 'acknowledged', group: `drop-${number}`, retry } as const;
    mill.events.subscribe(event.name, acknowledged, handler('acknowledged'));
    await mill.start();
    for (const n of [1, 2])
      await mill.events.publish(event.name, payload(n), { tenantId, key: 'k' });
    await eventually(
      'both modes went on',
      () => seen.filter((text) => / 2 /.test(text)).length === 2,
    );
    assert.deepEqual(
      seen.filter((text) => text.startsWith('durable')),
      ['durable 1 1', 'durable 1 2', 'durable 2 1'],
    );
    await eventually(
      'no letter stays',
      async () => (await mill.events.stream(namespace).deadLetters({ tenantId })).length === 0,
    );
    const { dropped } = mill.events.metrics();
    assert.deepEqual([dropped.durable, dropped.acknowledged], [1, 1]);
  });

  it('that are dropped leave nothing behind of what their handlers published', async (t) => {
    const { namespace, tenantId, of } = place();
    const quiet = { durable: { dlqEnabled: false, maxDeliveryAttempts: 1 } };
    await using mill = await openMill(t, database.url, { domainEvents: quiet });
    const [event, next] = [of(failed), of(settled)];
    mill.events.declare(namespace, [event, next]);
    let tries = 0;
    mill.events.subscribe(event.name, { delivery: 'durable' }, (one, context) => {
      tries += 1;
      context.publish(next.name, one.payload);
      if ((one.payload as { amount: number }).amount === 1) throw new Error('no');
    });
    await mill.start();
    for (const n of [1, 2])
      await mill.events.publish(event.name, payload(n), { tenantId, key: 'k' });
    const followUps = async () => {
      const { events } = await mill.events.stream(namespace).events({ tenantId });
      return events.filter(({ name }) => name === next.name).map((one) => one.payload);
    };
    await eventually('the second one is handled', async () => (await followUps()).length > 0);
    assert.deepEqual(
      (await followUps()).map((one) => (one as { amount: number }).amount),
      [2],
    );
    assert.equal(tries, 2);
  });
});

/** Publishing domain events on Postgres: what is refused, and what steps publish. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { openMill } from '../../../test/support/mill.ts';
import { MillraceError } from '../../core/errors.ts';
import type { DomainEvent } from '../../core/workflow/domain-event.ts';
import type { EventOrigin } from './step-events.ts';

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
const told = { ...paid, name: 'payment.told', delivery: 'broadcast' } as const;

const step: Omit<EventOrigin, 'tenantId' | 'namespace' | 'workflow'> = {
  taskUuid: 'task-1',
  stepUuid: 'step-1',
  stepName: 'charge_card',
  correlationId: 'corr_xyz',
  firedBy: 'worker_001',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};

describe('publishing domain events', () => {
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

  it('refuse what is not declared or does not fit, and count it', async (t) => {
    const { namespace, tenantId, of } = place();
    await using mill = await openMill(t, database.url);
    const event = of(failed);
    mill.events.declare(namespace, [event]);
    const publish = (name: string, body: unknown, rest = {}) =>
      mill.events.publish(name, body, { tenantId, ...rest });
    await assert.rejects(publish('no.such', {}), { code: 'EVENT_UNKNOWN' });
    await assert.rejects(publish(event.name, {}, { namespace: 'elsewhere' }), {
      code: 'EVENT_UNKNOWN',
    });
    await assert.rejects(publish(event.name, { payment_id: 'p', amount: 'much' }), (error) => {
      assert.ok(error instanceof MillraceError);
      assert.equal(error.code, 'EVENT_INVALID');
      assert.match(error.message, /payload\.amount/);
      return true;
    });
    // What is not declared counts as the default.
    assert.equal(mill.events.metrics().failed.durable, 3);
    const local = of(paid);
    mill.events.declare(namespace, [local]);
    const deaf = () => mill.events.subscribe(local.name, { delivery: 'durable' }, () => {});
    assert.throws(deaf, { code: 'DEFINITION_INVALID', message: /never gets it/ });
    const id = { eventId: '01890f6c-7b6a-7cc2-98c4-dc0c0c07398f' };
    const heard: DomainEvent[] = [];
    mill.events.subscribe(event.name, { namespace }, (one) => heard.push(one));
    const [once, twice] = [
      await publish(event.name, payload(1), id),
      await publish(event.name, payload(1), id),
    ];
    assert.deepEqual(twice, once, 'the same id is stored and heard once');
    await publish(event.name, payload(2));
    await eventually('two are heard', () => heard.length >= 2);
    assert.equal(heard.length, 2);
    const both = mill.events;
    both.declare(`${namespace}-b`, [event]);
    await assert.rejects(publish(event.name, payload(1)), {
      code: 'EVENT_INVALID',
      message: /namespaces/,
    });
    assert.equal(
      (await both.publish(event.name, payload(1), { tenantId, namespace })).delivery,
      'durable',
    );
  });

  it('of steps are stored by the commit of the step and heard after it', async (t) => {
    const { namespace, tenantId, of } = place();
    const problems: string[] = [];
    await using mill = await openMill(t, database.url, {
      onError: (_, where) => problems.push(where),
    });
    const [now, later, onFailure] = [
      of(paid),
      of(failed),
      { ...of(told), condition: 'failure' as const },
    ];
    const workflow = { name: 'process_payment', version: '1.2.0' };
    mill.events.declare(namespace, [now, later, onFailure], workflow);
    const heard: DomainEvent[] = [];
    mill.events.subscribe('*', { namespace }, (event) => void heard.push(event));
    const lines: string[] = [];
    const log = {
      debug() {},
      info() {},
      warn() {},
      error: (text: string) => void lines.push(text),
    };
    const origin = { ...step, tenantId, namespace, workflow, log };
    const outcome = { success: true, retryable: false };
    const prepared = mill.events.steps.prepare(origin, outcome, [
      [now.name, payload(1)],
      [later.name, payload(2)],
      [onFailure.name, payload(3)],
      [later.name, { amount: 'wrong' }],
      ['not.declared', {}],
    ]);
    assert.equal(prepared.routed.length, 1, 'durable ones, of those that hold and fit');
    assert.equal(problems.length, 2);
    assert.match(lines[0] as string, /payload\.payment_id: is required/);
    assert.match(lines[1] as string, /not\.declared/);
    await mill.store.log.append(prepared.routed, { once: false });
    assert.deepEqual(heard, []);
    await prepared.dispatch();
    await prepared.dispatch();
    await eventually('both are heard', () => heard.length >= 2);
    assert.equal(heard.length, 2);
    const { metadata, event_version, traceparent } = heard.at(0) as unknown as DomainEvent;
    assert.equal(event_version, '1.2.0');
    assert.equal(traceparent, step.traceparent);
    assert.deepEqual(
      { ...metadata, fired_at: '' },
      {
        task_uuid: 'task-1',
        step_uuid: 'step-1',
        step_name: 'charge_card',
        namespace,
        correlation_id: 'corr_xyz',
        fired_at: '',
        fired_by: 'worker_001',
      },
    );
    const [stored] = (await mill.history.list({ tenantId })).events;
    const page = await mill.events.stream(namespace).events({ tenantId });
    assert.deepEqual(page, { events: [heard.at(1)], next: null });
    assert.equal(stored?.correlationId, 'corr_xyz');
    assert.equal(stored?.key, 'task-1');
  });
});

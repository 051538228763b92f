/** What a step publishes: conditions, custom publishers, and failures that stay its own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { prepareEvent } from '../../core/event.ts';
import {
  conditionHolds,
  type DeliveryMode,
  type DomainEvent,
  type DomainEventDeclaration,
  deliveryModes,
  publishConditions,
} from '../../core/workflow/domain-event.ts';
import { type RoutedEvent, routeTo } from '../../ports/store.ts';
import { compileSchema } from '../../workflows/template/json-schema.ts';
import { type EventPublisher, EventPublishers } from './custom-publisher.ts';
import { EventRegistry } from './event-registry.ts';
import { DomainEventCounters } from './metrics.ts';
import { readSettings } from './options.ts';
import { type EventOrigin, StepEvents } from './step-events.ts';

const workflow = { name: 'pay', version: '1.0.0' };
const base = { delivery: 'durable', condition: 'success' } as const;
const schema = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] };

function setup(
  declarations: readonly DomainEventDeclaration[],
  enabled = true,
  defaultDelivery: DeliveryMode = 'fire_and_forget',
) {
  const registry = new EventRegistry(compileSchema, defaultDelivery);
  registry.declare('shop', declarations, workflow);
  const publishers = new EventPublishers();
  const counters = new DomainEventCounters(readSettings().buckets, true);
  const handedOut: DomainEvent[] = [];
  const errors: string[] = [];
  const steps = new StepEvents({
    registry,
    publishers,
    counters,
    publisher: {
      route: (definition, input): RoutedEvent => routeTo(0, prepareEvent(definition, input)),
    },
    enabled,
    defaultDelivery,
    handOut: async ({ event }) => void handedOut.push(event),
    onError: (error) => errors.push((error as Error).message),
  });
  const origin: EventOrigin = {
    tenantId: 't',
    namespace: 'shop',
    workflow,
    taskUuid: 'task',
    stepUuid: 'step',
    stepName: 'charge',
    correlationId: 'c',
    firedBy: 'w',
    traceparent: null,
    declarations,
  };
  return { steps, publishers, counters, handedOut, errors, origin };
}

const success = { success: true, retryable: false, result: { id: 'r1', secret: 's' } };
const retryable = { success: false, retryable: true, error: { code: 'E', message: 'again' } };
const permanent = { success: false, retryable: false, error: { code: 'E', message: 'never' } };

describe('conditions', () => {
  it('hold as their names say', () => {
    const table = publishConditions.map((condition) =>
      [success, retryable, permanent].map((outcome) => conditionHolds(condition, outcome)),
    );
    assert.deepEqual(table, [
      [true, false, false], // success
      [false, true, true], // failure
      [false, true, false], // retryable_failure
      [false, false, true], // permanent_failure
      [true, true, true], // always
    ]);
  });
});

describe('the events of a step', () => {
  it('go out when their condition holds, whatever the handler asked for', () => {
    const declarations = publishConditions.map((condition) => ({
      ...base,
      name: `on.${condition}`,
      condition,
    }));
    const { steps, origin } = setup(declarations);
    const asked = declarations.map(({ name }) => [name, {}] as const);
    const names = (outcome: typeof success | typeof permanent) =>
      steps.prepare(origin, outcome, asked).routed.map(({ event }) => event.eventType);
    const typed = (...list: string[]) => list.map((name) => `domain.shop.on.${name}`);
    assert.deepEqual(names(success), typed('success', 'always'));
    assert.deepEqual(names(retryable), typed('failure', 'retryable_failure', 'always'));
    assert.deepEqual(names(permanent), typed('failure', 'permanent_failure', 'always'));
  });

  it('go out by themselves through a publisher, which shapes them', async () => {
    const declarations = [
      { ...base, name: 'pay.done', schema, publisher: 'receipts' },
      { ...base, name: 'pay.broke', condition: 'failure', publisher: 'receipts' } as const,
    ];
    const { steps, publishers, origin, handedOut, counters } = setup(declarations);
    const calls: string[] = [];
    const receipts: EventPublisher = {
      name: 'receipts',
      shouldPublish: ({ outcome }) => !(outcome.result as { skip?: boolean } | undefined)?.skip,
      transformPayload: ({ payload }) => ({ id: (payload as { id?: string }).id ?? 'none' }),
      additionalMetadata: ({ stepName }) => ({ by_step: stepName, correlation_id: 'not mine' }),
      beforePublish: ({ name }) => calls.push(`before ${name}`),
      afterPublish: ({ name }) => calls.push(`after ${name}`),
    };
    publishers.register(receipts);
    const prepared = steps.prepare(origin, success, []);
    assert.deepEqual(
      prepared.routed.map(({ event }) => event.payload),
      [{ id: 'r1' }],
    );
    assert.deepEqual(calls, ['before pay.done']);
    await prepared.dispatch();
    assert.deepEqual(calls, ['before pay.done', 'after pay.done']);
    assert.equal(handedOut[0]?.metadata.by_step, 'charge');
    assert.equal(handedOut[0]?.metadata.correlation_id, 'c');
    assert.equal(counters.read().published.durable, 1);
    assert.equal(
      steps.prepare(origin, { ...success, result: { skip: true } }, []).routed.length,
      0,
    );
    const failure = steps.prepare(origin, permanent, []);
    assert.deepEqual(
      failure.routed.map(({ event }) => event.eventType),
      ['domain.shop.pay.broke'],
    );
    // What the handler publishes itself is not published a second time.
    const asked = steps.prepare(origin, success, [['pay.done', { id: 'own' }]]);
    assert.deepEqual(
      asked.routed.map(({ event }) => event.payload),
      [{ id: 'own' }],
    );
  });

  it('that cannot go out are counted and told, and take nothing with them', async () => {
    const declarations = [
      { ...base, name: 'pay.done', schema },
      { ...base, name: 'pay.shaped', schema, publisher: 'broken' },
      { ...base, name: 'pay.lost', publisher: 'missing' },
    ];
    const { steps, publishers, origin, errors, counters, handedOut } = setup(declarations);
    const told: unknown[] = [];
    publishers.register({
      name: 'broken',
      transformPayload: () => {
        throw new Error('publisher broke');
      },
      onPublishError: (error) => {
        told.push(error);
        throw new Error('and again');
      },
    });
    const prepared = steps.prepare(origin, success, [
      ['pay.done', { id: 1 }],
      ['pay.done', { id: 'good' }],
      ['not.declared', {}],
    ]);
    assert.deepEqual(
      prepared.routed.map(({ event }) => event.payload),
      [{ id: 'good' }],
    );
    assert.equal(told.length, 1);
    assert.equal(errors.length, 5);
    assert.match(errors[0] as string, /payload\.id: must be string/);
    assert.match(errors[1] as string, /not\.declared is not declared/);
    assert.deepEqual(errors.slice(2, 4), ['publisher broke', 'and again']);
    assert.match(errors[4] as string, /No publisher named 'missing'/);
    await prepared.dispatch();
    assert.equal(handedOut.length, 1);
    const { failed, published } = counters.read();
    assert.deepEqual([failed.durable, failed.fire_and_forget, published.durable], [3, 1, 1]);
  });

  it('go by the default when they say nothing of their delivery', async () => {
    const silent = { name: 'pay.done', condition: 'success' } as const;
    for (const delivery of deliveryModes) {
      const { steps, origin, counters, handedOut } = setup([silent], true, delivery);
      const prepared = steps.prepare(origin, success, [['pay.done', {}]]);
      assert.equal(prepared.routed.length, delivery === 'fire_and_forget' ? 0 : 1, delivery);
      await prepared.dispatch();
      assert.deepEqual([handedOut.length, counters.read().published[delivery]], [1, 1], delivery);
    }
  });

  it('are dropped and counted while events are switched off', async () => {
    const { steps, origin, counters, handedOut } = setup([{ ...base, name: 'pay.done' }], false);
    const prepared = steps.prepare(origin, success, [['pay.done', {}]]);
    assert.deepEqual(prepared.routed, []);
    await prepared.dispatch();
    assert.deepEqual(handedOut, []);
    assert.equal(counters.read().dropped.durable, 1);
  });
});

describe('the settings', () => {
  it('have the defaults of the requirement, and the safer delivery', () => {
    assert.deepEqual(readSettings(), {
      enabled: true,
      defaultDelivery: 'durable',
      bufferSize: 1_000,
      overflow: 'drop_oldest',
      visibilityTimeoutMs: 30_000,
      deliveryAttemptsMax: 3,
      dlqEnabled: true,
      dlqRetentionMs: 7 * 86_400_000,
      measures: true,
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1],
    });
  });

  it('refuse what makes no sense, by name', () => {
    const wrong = [
      [{ defaultDelivery: 'fast' as 'durable' }, /delivery is 'fast'/],
      [{ fireAndForget: { bufferSize: 0 } }, /bufferSize is 0/],
      [{ fireAndForget: { overflowStrategy: 'grow' as 'block' } }, /overflowStrategy is 'grow'/],
      [{ durable: { maxDeliveryAttempts: 1.5 } }, /maxDeliveryAttempts is 1.5, not a whole/],
      [{ durable: { dlqRetentionMs: -1 } }, /dlqRetentionMs is -1/],
      [{ metrics: { histogramBuckets: [0.1, 0.1] } }, /histogramBuckets/],
    ] as const;
    for (const [options, message] of wrong) {
      assert.throws(() => readSettings(options), { code: 'CONFIG_INVALID', message });
    }
  });
});

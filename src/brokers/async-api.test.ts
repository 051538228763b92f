import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import { z } from 'zod';
import { defineEvent, type EventDefinition } from '../core/event.ts';
import { eventsLike } from '../core/event-pattern.ts';
import { controlEvents } from '../events/control.ts';
import { payloadSchema } from '../events/domain/payload-schema.ts';
import { compileSchema } from '../workflows/template/json-schema.ts';
import { type AsyncApiOptions, asyncApiDocument } from './async-api.ts';
import { BrokerMessageRefused } from './refusals.ts';

const specification = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0.json');

// The specification brings draft-07 itself.
const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, logger: false });
(addFormats as unknown as (ajv: Ajv) => void)(ajv);
const validate = ajv.compile(specification);

const OrderPaid = defineEvent('OrderPaid', {
  version: 2,
  description: 'An order was paid in full.',
  schema: z.object({ orderId: z.string().min(1), cents: z.int(), at: z.iso.datetime().optional() }),
  upcasters: { 1: (payload: object) => payload },
});
const Odd = defineEvent('Odd', { schema: z.string().transform((text) => new Date(text)) });
const schema = { type: 'object', properties: { task: { type: 'string' } }, required: ['task'] };
const Declared = defineEvent('domain.task.done', {
  schema: payloadSchema('task.done', schema, compileSchema),
});
const definitions = [
  ...[OrderPaid, Odd, Declared, ...controlEvents, BrokerMessageRefused],
  eventsLike('domain.*'),
] as readonly EventDefinition[];
const groups = [
  { name: 'billing', types: ['OrderPaid'] },
  { name: 'audit', types: ['*'] },
];

interface Shown {
  readonly channels: Record<string, { messages: Record<string, { $ref: string }> }>;
  readonly operations: Record<string, { action: string; messages: { $ref: string }[] }>;
  readonly components: { messages: Record<string, { payload: Record<string, unknown> }> };
}

function documentOf(options: Partial<AsyncApiOptions> = {}): Shown & Record<string, unknown> {
  const document = asyncApiDocument({ definitions, groups, ...options });
  // As it is printed.
  return JSON.parse(JSON.stringify(document));
}

/** Every `$ref` of the document, looked up in it. */
function danglingReferences(document: object): string[] {
  const found: string[] = [];
  JSON.stringify(document, (key, value) => {
    if (key !== '$ref' || typeof value !== 'string') return value;
    const steps = value.slice(2).split('/');
    const target = steps.reduce<unknown>(
      (at, step) => (at as Record<string, unknown> | undefined)?.[step],
      document,
    );
    if (target === undefined) found.push(value);
    return value;
  });
  return found;
}

const servers = {
  kafka: { events: { host: 'kafka.example:9092', protocol: 'kafka-secure' } },
  amqp: { events: { host: 'mq.example:5671', protocol: 'amqps' } },
  redis: { events: { host: 'redis.example:6379', protocol: 'redis' } },
} as const;

describe('an AsyncAPI document', () => {
  const settings: readonly (readonly [string, Partial<AsyncApiOptions>])[] = [
    ['of a shared topic', {}],
    ['of a topic per tenant', { topic: 'millrace.{tenant}.events', partitions: 8 }],
    ['of Kafka', { servers: servers.kafka, partitions: 8 }],
    ['of RabbitMQ', { servers: servers.amqp }],
    ['of Redis', { servers: servers.redis }],
    ['of nothing', { definitions: [], groups: [] }],
  ];
  for (const [title, options] of settings) {
    test(`${title} is valid AsyncAPI 3.0`, () => {
      const document = documentOf(options);
      assert.ok(validate(document), JSON.stringify(validate.errors?.slice(0, 5), null, 1));
      assert.deepEqual(danglingReferences(document), []);
    });
  }

  test('is told from one that is not valid', () => {
    assert.equal(validate({ ...documentOf(), info: undefined, asyncapi: '3.0.0' }), false);
    const { channels: _, ...rest } = documentOf();
    assert.equal(validate({ ...rest, channels: { a: { adress: 'x' } } }), false);
  });

  test('has a message for each type and version, with its schema', () => {
    const { channels, components } = documentOf();
    const names = Object.keys(channels.events?.messages ?? {});
    assert.ok(names.includes('OrderPaid.v1') && names.includes('OrderPaid.v2'));
    assert.ok(!names.some((name) => name.includes('*')));
    const { payload } = components.messages['OrderPaid.v2'] as { payload: Record<string, unknown> };
    assert.deepEqual(payload.required, ['orderId', 'cents']);
    assert.deepEqual((payload.properties as Record<string, object>).orderId, {
      type: 'string',
      minLength: 1,
    });
    assert.deepEqual(components.messages['domain.task.done.v1']?.payload, schema);
    const open = components.messages['RetryScheduled.v1']?.payload;
    assert.match(String(open?.description), /has no JSON Schema/);
    assert.equal(components.messages['OrderPaid.v1']?.payload.type, undefined);
  });

  test('says which group receives what', () => {
    const { operations } = documentOf();
    assert.equal(operations.publish?.action, 'send');
    const refs = (name: string) => operations[name]?.messages.map(({ $ref }) => $ref) ?? [];
    assert.deepEqual(refs('receive-billing'), [
      '#/channels/events/messages/OrderPaid.v1',
      '#/channels/events/messages/OrderPaid.v2',
    ]);
    assert.equal(refs('receive-audit').length, refs('publish').length);
  });

  test('names headers as the driver of the broker does', () => {
    const headersOf = (options: Partial<AsyncApiOptions>) =>
      JSON.stringify(documentOf(options).components);
    assert.match(headersOf({ servers: servers.kafka }), /"ce_tenantid"/);
    assert.match(headersOf({ servers: servers.amqp }), /"cloudEvents:tenantid"/);
    assert.match(headersOf({ servers: servers.redis }), /"ce_tenantid"/);
  });
});

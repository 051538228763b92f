/**
 * The catalogue as an AsyncAPI 3.0 document: which events lie on which topic, what is in them, and
 * which groups read them, so that other teams can write consumers and producers without asking.
 * Pure: the command line writes it to a file, and `GET /asyncapi.json` serves it.
 *
 *   channel    a topic                        operation  what we send, and what each group receives
 *   message    an event type and version      headers    attributes of CloudEvents
 *   payload    the JSON Schema of the type; open, with a note, where the schema cannot say it
 */
import type { EventDefinition } from '../core/event.ts';
import { createTypeSet, isTypePattern } from '../core/event-pattern.ts';
import { headersSchema, type JsonSchema, payloadOf } from './async-api-schemas.ts';
import { sharedTopicDefault, topicNames } from './topics.ts';

export type Protocol = 'kafka' | 'amqp' | 'redis';

export interface AsyncApiServer {
  readonly host: string;
  readonly protocol: Protocol | 'kafka-secure' | 'amqps' | 'rediss';
  readonly description?: string;
}

export interface AsyncApiOptions {
  readonly title?: string;
  readonly version?: string;
  readonly definitions: readonly EventDefinition[];
  /** As `broker.topic`; `millrace.events` by default. */
  readonly topic?: string;
  /** Of each topic, when it is known. */
  readonly partitions?: number;
  readonly servers?: Readonly<Record<string, AsyncApiServer>>;
  /** Groups of handlers and what they subscribe to; a `*` in a type stands for any text. */
  readonly groups?: readonly { readonly name: string; readonly types: readonly string[] }[];
  /** The group at the broker; `millrace` by default. */
  readonly brokerGroup?: string;
}

type Document = Readonly<Record<string, unknown>>;
type Reference = { readonly $ref: string };

/** A plain object, ready to be printed as JSON or YAML. Pattern definitions are left out. */
export function asyncApiDocument(options: AsyncApiOptions): Document {
  const { title = 'Events', version = '1.0.0', servers = {}, groups = [] } = options;
  const definitions = [...options.definitions]
    .filter(({ type }) => !isTypePattern(type))
    .sort((a, b) => (a.type < b.type ? -1 : 1));
  const messages = definitions.flatMap((definition) => messagesOf(definition));
  const protocol = protocolOf(servers);
  return {
    asyncapi: '3.0.0',
    info: {
      title,
      version,
      description:
        'Events as CloudEvents 1.0 in binary mode. Delivery is at least once: drop what has an ' +
        'id that you have seen. Order holds per tenant and key (partitionkey).',
    },
    defaultContentType: 'application/json',
    ...(Object.keys(servers).length > 0 && { servers }),
    channels: { events: channelOf(options, messages, protocol) },
    operations: {
      publish: {
        action: 'send',
        channel: { $ref: '#/channels/events' },
        summary: 'Every event of the log, once it is durable there.',
        messages: messages.map(({ name }) => inChannel(name)),
      },
      ...Object.fromEntries(groups.map((group) => receiveOf(group, messages, options, protocol))),
    },
    components: {
      messages: Object.fromEntries(messages.map(({ name, document }) => [name, document])),
      schemas: { CloudEvent: headersSchema(prefixes[protocol]) },
    },
  };
}

interface Message {
  readonly name: string;
  readonly type: string;
  readonly document: Document;
}

/** The present version, and older ones of which nothing but their being is known. */
function messagesOf(definition: EventDefinition): Message[] {
  const { type, version, description } = definition;
  const messages: Message[] = [];
  for (let older = 1; older < version; older += 1) {
    const note = `Version ${older} of ${type}: written by earlier releases, read as ${version}.`;
    messages.push(messageOf(type, older, { description: note }, note));
  }
  messages.push(messageOf(type, version, payloadOf(definition), description));
  return messages;
}

function messageOf(
  type: string,
  version: number,
  payload: JsonSchema,
  description: string | undefined,
): Message {
  const name = `${type}.v${version}`;
  const document = {
    name,
    title: `${type}, version ${version}`,
    ...(description !== undefined && { description }),
    contentType: 'application/json',
    headers: { $ref: '#/components/schemas/CloudEvent' },
    payload,
    bindings: {
      kafka: {
        key: { type: 'string', description: 'partitionkey: the tenant, or `tenant:key`' },
        bindingVersion: '0.5.0',
      },
    },
  };
  return { name, type, document };
}

function channelOf(
  { topic = sharedTopicDefault, partitions }: AsyncApiOptions,
  messages: readonly Message[],
  protocol: Protocol,
): Document {
  const { perTenant } = topicNames(topic);
  const counted = partitions === undefined ? {} : { partitions };
  return {
    address: topic,
    title: perTenant ? 'Events of one tenant' : 'Events of all tenants',
    ...(perTenant && {
      parameters: {
        tenant: { description: 'The tenant: letters, digits and -; other bytes as _xx.' },
      },
    }),
    messages: Object.fromEntries(
      messages.map(({ name }) => [name, { $ref: `#/components/messages/${name}` }]),
    ),
    ...(protocol === 'kafka' && {
      bindings: { kafka: { ...counted, bindingVersion: '0.5.0' } },
    }),
    ...(protocol === 'amqp' && {
      bindings: {
        amqp: {
          is: 'routingKey',
          exchange: { name: topic, type: 'direct', durable: true, autoDelete: false },
          bindingVersion: '0.3.0',
        },
      },
    }),
  };
}

function receiveOf(
  { name, types }: { readonly name: string; readonly types: readonly string[] },
  messages: readonly Message[],
  { brokerGroup = 'millrace' }: AsyncApiOptions,
  protocol: Protocol,
): readonly [string, Document] {
  const wanted = createTypeSet(types);
  const bindings = {
    kafka: { groupId: { type: 'string', enum: [brokerGroup] }, bindingVersion: '0.5.0' },
    amqp: { ack: true, bindingVersion: '0.3.0' },
    redis: {},
  } as const;
  return [
    `receive-${name}`,
    {
      action: 'receive',
      channel: { $ref: '#/channels/events' },
      summary: `Handled by the group ${name}.`,
      messages: messages.filter(({ type }) => wanted.has(type)).map((one) => inChannel(one.name)),
      bindings: { [protocol]: bindings[protocol] },
    },
  ];
}

function inChannel(message: string): Reference {
  return { $ref: `#/channels/events/messages/${message}` };
}

/** What each broker's driver writes before the name of an attribute. */
const prefixes: Readonly<Record<Protocol, string>> = {
  kafka: 'ce_',
  amqp: 'cloudEvents:',
  redis: 'ce_',
};

function protocolOf(servers: Readonly<Record<string, AsyncApiServer>>): Protocol {
  const [server] = Object.values(servers);
  const protocol = server?.protocol ?? 'kafka';
  if (protocol.startsWith('kafka')) return 'kafka';
  return protocol.startsWith('amqp') ? 'amqp' : 'redis';
}

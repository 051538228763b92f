/** For who runs the process: how the broker does, its topics, and how far everything is behind. */
import type { BrokerLink } from '../brokers/link.ts';
import { MillraceError } from '../core/errors.ts';
import type { JsonValue } from '../core/json.ts';
import type { Millrace } from '../millrace.ts';
import { membersOf } from './parameters.ts';
import { type Route, requestInvalid } from './route.ts';

export function brokerRoutes(mill: Millrace): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/broker',
      tenant: 'none',
      handle: async () => ({ body: await linkOf(mill).status() }),
    },
    {
      method: 'GET',
      path: '/broker/topics',
      tenant: 'none',
      handle: async () => ({ body: await topicsOf(linkOf(mill), mill.store.partitions) }),
    },
    {
      method: 'POST',
      path: '/broker/topics',
      tenant: 'none',
      async handle({ body }) {
        const link = linkOf(mill);
        await link.createTopics(wantedTopics(link, body));
        return { body: await topicsOf(link, mill.store.partitions) };
      },
    },
    {
      method: 'GET',
      path: '/broker/lag',
      tenant: 'none',
      async handle() {
        const link = linkOf(mill);
        const [relay, group] = await Promise.all([link.relayLag(), link.consumerLag()]);
        return { body: { group: link.settings.group, relay, consumers: group } };
      },
    },
  ];
}

function linkOf({ broker }: Millrace): BrokerLink {
  if (broker !== null) return broker;
  throw new MillraceError('NOT_FOUND', 'No broker is configured: the log carries the events.', {
    fix: 'Start with --broker kafka://host:9092, or set MILLRACE_BROKER.',
  });
}

async function topicsOf(link: BrokerLink, partitions: number) {
  const items = await link.topicsAtBroker();
  return { template: link.topics.template, perTenant: link.topics.perTenant, partitions, items };
}

/** The topic of the template, or those of the tenants that are named. */
function wantedTopics({ topics }: BrokerLink, body: JsonValue | undefined): string[] {
  if (!topics.perTenant) return [topics.template];
  const { tenants } = membersOf(body ?? {}, ['tenants']);
  const named = Array.isArray(tenants) && tenants.every((one) => typeof one === 'string' && one);
  if (!named || tenants.length === 0) {
    throw requestInvalid(`tenants is missing: each has a topic of its own, ${topics.template}.`);
  }
  return (tenants as string[]).map((tenant) => topics.topicOf(tenant));
}

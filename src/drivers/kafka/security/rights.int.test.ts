/**
 * Rights and quotas of a real Kafka. The rights are those of docs/kafka-security.md: its lines are
 * read from there and applied, so that what the page says is what is tested.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  type Acl,
  type AclOperationLabel,
  AclOperations,
  AclPermissionTypes,
  Admin,
  ResourceTypes,
} from '@platformatic/kafka';
import { type KafkaServer, noKafka, startKafka } from '../../../../test/support/kafka-server.ts';
import {
  numbered,
  rejectsWith,
  type Topic,
  upTo,
  within,
} from '../../../ports/broker.fixtures.conformance.ts';
import type { Broker } from '../../../ports/broker.ts';
import { Member } from '../../../ports/broker-member.conformance.ts';
import { openKafkaBroker } from '../broker.ts';

const page = path.resolve(import.meta.dirname, '../../../../docs/kafka-security.md');
const users = {
  millrace: 'pw-millrace',
  reports: 'pw-reports',
  acme: 'pw-acme',
  nobody: 'pw-nobody',
};
const patternTypes = { literal: 3, prefixed: 4 };
const denied = rejectsWith('BROKER_DENIED');

/** The rights of a block `<!-- acl: name -->` of the page. */
function aclsOf(name: string): Acl[] {
  const text = fs.readFileSync(page, 'utf8');
  const block = text.split(`<!-- acl: ${name} -->`)[1]?.split('```')[1];
  assert.ok(block, `no block ${name}`);
  const lines = block.split('\n').filter((line) => line.startsWith('kafka-acls.sh --add '));
  assert.ok(lines.length > 0);
  return lines.flatMap(aclsOfLine);
}

function aclsOfLine(line: string): Acl[] {
  const words = line.split(' ').slice(2);
  const values = (flag: string) => words.filter((_, i) => words[i - 1] === flag && i % 2 === 1);
  const [pattern = 'literal'] = values('--resource-pattern-type');
  const [topic] = values('--topic');
  const [resourceName] = topic === undefined ? values('--group') : [topic];
  const [principal] = values('--allow-principal');
  assert.ok(resourceName !== undefined && principal !== undefined, line);
  return values('--operation').map((operation) => ({
    resourceType: topic === undefined ? ResourceTypes.GROUP : ResourceTypes.TOPIC,
    resourceName,
    resourcePatternType: patternTypes[pattern as keyof typeof patternTypes],
    principal,
    host: '*',
    operation: AclOperations[operation.toUpperCase() as AclOperationLabel],
    permissionType: AclPermissionTypes.ALLOW,
  })) as Acl[];
}

describe('rights and quotas at Kafka', { skip: noKafka }, () => {
  let kafka: KafkaServer;
  let admin: Admin;
  let root: Broker;

  before(async () => {
    kafka = await startKafka(null, {
      listeners: {
        open: { protocol: 'PLAINTEXT' },
        login: { protocol: 'SASL_PLAINTEXT', mechanisms: ['PLAIN'] },
      },
      users,
      properties: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS', // who comes by the open listener: the nodes, and the test
        // A quota is an average over two seconds, so that it bites at once.
        'quota.window.num': '2',
        'quota.window.size.seconds': '1',
      },
    });
    admin = new Admin({ clientId: 'root', bootstrapBrokers: [kafka.hosts('open')] });
    root = await openKafkaBroker({ url: kafka.url });
  });

  after(async () => {
    await root?.close();
    await admin?.close();
    await kafka?.end();
  });

  async function as(t: TestContext, user: keyof typeof users): Promise<Broker> {
    const url = `kafka://${user}:${users[user]}@${kafka.hosts('login')}`;
    const broker = await openKafkaBroker({ url });
    t.after(() => broker.close());
    return broker;
  }

  async function allow(t: TestContext, name: string): Promise<void> {
    const acls = aclsOf(name);
    await admin.createAcls({ creations: acls });
    t.after(() => admin.deleteAcls({ filters: acls }));
    // The controller answers; the broker that checks them hears of it a moment later.
    for (const filter of acls) {
      await within('the right is known', async () => {
        return (await admin.describeAcls({ filter })).length > 0;
      });
    }
  }

  const topicNamed = (topic: string): Topic => ({ topic, partitions: 2, from: 'start' });
  const events = (topic: Topic, count = 10) => numbered(topic, 'acme', 'key', { count });
  const spec = ({ topic, partitions }: Topic) => ({ topic, partitions });

  async function reads(broker: Broker, topic: Topic, group: string, count: number): Promise<void> {
    const member = await new Member({}).join(broker, group, [topic]);
    await member.received(count);
    assert.deepEqual([...member.problems, ...member.refusals], []);
    await member.acknowledged();
    await member.close();
  }

  it('of the shared topic: who may do all, who may read, who may nothing', async (t) => {
    const topic = topicNamed('millrace.events');
    await allow(t, 'shared');
    await allow(t, 'reader');
    const mill = await as(t, 'millrace');
    await mill.createTopics([spec(topic)]);
    t.after(() => root.deleteTopics([topic.topic]));
    await mill.publish(events(topic));
    await reads(mill, topic, 'millrace', 10);
    const [first, second] = await mill.lag('millrace', [topic.topic]);
    assert.equal((first?.lag ?? 0) + (second?.lag ?? 0), 0);
    await assert.rejects(mill.createTopics([{ topic: 'other', partitions: 1 }]), denied);

    const reports = await as(t, 'reports');
    await reads(reports, topic, 'reports', 10);
    await assert.rejects(reports.publish(events(topic)), denied);
    await assert.rejects(new Member({}).join(reports, 'millrace', [topic]), denied);

    const nobody = await as(t, 'nobody');
    // Who may not see a topic is not told whether it exists.
    await assert.rejects(nobody.publish(events(topic)), (error) =>
      ['BROKER_DENIED', 'BROKER_TOPIC_UNKNOWN'].includes((error as { code: string }).code),
    );
    assert.equal(
      (await root.lag('unused', [topic.topic])).reduce((sum, { lag }) => sum + lag, 0),
      10,
    );
  });

  it('of topics per tenant: a tenant sees its own', async (t) => {
    const acme = topicNamed('millrace.acme.events');
    const globex = topicNamed('millrace.globex.events');
    await allow(t, 'tenants');
    const mill = await as(t, 'millrace');
    await mill.createTopics([spec(acme), spec(globex)]);
    t.after(() => root.deleteTopics([acme.topic, globex.topic]));
    await mill.publish(events(acme));
    await mill.publish(events(globex));
    await reads(mill, globex, 'millrace', 10);

    const tenant = await as(t, 'acme');
    await reads(tenant, acme, 'acme.reports', 10);
    await assert.rejects(tenant.publish(events(acme)), denied);
    await assert.rejects(new Member({}).join(tenant, 'millrace', [acme]), denied);
    const known = (await tenant.topics()).map(({ topic }) => topic);
    assert.deepEqual(known, [acme.topic]);
    await assert.rejects(new Member({}).join(tenant, 'acme.spy', [globex]), (error) =>
      ['BROKER_DENIED', 'BROKER_TOPIC_UNKNOWN'].includes((error as { code: string }).code),
    );
  });

  it('a quota slows publishing down, and each event arrives once', async (t) => {
    const topic = topicNamed('quota');
    await root.createTopics([spec(topic)]);
    t.after(() => root.deleteTopics([topic.topic]));
    const limit = async (remove: boolean) => {
      const ops = [{ key: 'producer_byte_rate' as const, value: 400_000, remove }];
      const entity = { entityType: 'client-id' as const, entityName: 'throttled' };
      await admin.alterClientQuotas({
        entries: [{ entities: [entity], ops }],
        validateOnly: false,
      });
    };
    await limit(false);
    t.after(() => limit(true));
    const components = [
      { entityType: 'client-id' as const, matchType: 0 as const, match: 'throttled' },
    ];
    await within('the quota is known', async () => {
      return (await admin.describeClientQuotas({ components, strict: true })).length > 0;
    });
    const broker = await openKafkaBroker({ url: kafka.url, clientId: 'throttled' });
    t.after(() => broker.close());
    const text = 'x'.repeat(10_000);
    const batches = Array.from({ length: 20 }, (_, i) =>
      numbered(topic, 'acme', 'key', { first: i * 10, count: 10 }).map((event) => ({
        ...event,
        payloadJson: JSON.stringify({ ...JSON.parse(event.payloadJson), text }),
      })),
    );
    const start = performance.now();
    await Promise.all(batches.map((batch) => broker.publish(batch)));
    const ms = performance.now() - start;
    assert.ok(ms > 2000, `2 MB at 400 kB/s took ${ms} ms`);
    const member = await new Member({}).join(broker, 'quota', [topic]);
    t.after(() => member.close());
    await member.received(200);
    assert.deepEqual(member.numbers('key'), upTo(200));
  });
});

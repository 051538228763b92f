/**
 * The suite that every broker must pass: what `ports/broker.ts` promises, case by case. A driver's
 * test file calls `describeBroker` with its server; what the broker cannot do by its capabilities,
 * and what may not be done to its server, skips itself with the reason.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type {
  BrokerCase,
  BrokerCases,
  BrokerFixture,
  Topic,
} from './broker.fixtures.conformance.ts';
import type { Broker } from './broker.ts';
import { acknowledgeCases } from './broker-acknowledge.conformance.ts';
import { eventCases } from './broker-events.conformance.ts';
import { faultCases } from './broker-faults.conformance.ts';
import { groupCases } from './broker-groups.conformance.ts';
import { lagCases } from './broker-lag.conformance.ts';
import { Member } from './broker-member.conformance.ts';
import { publishCases } from './broker-publish.conformance.ts';
import { rebalanceCases } from './broker-rebalances.conformance.ts';
import { topicCases } from './broker-topics.conformance.ts';
import { vanishingCases } from './broker-vanishing.conformance.ts';

const areas: Readonly<Record<string, BrokerCases>> = {
  topics: topicCases,
  publish: publishCases,
  events: eventCases,
  groups: groupCases,
  acknowledge: acknowledgeCases,
  lag: lagCases,
  rebalances: rebalanceCases,
  vanishing: vanishingCases,
  faults: faultCases,
};

/** A driver that hangs fails the case it hangs in, and the rest still runs. */
const caseMsMax = 120_000;

export function describeBroker(given: BrokerFixture | (() => Promise<BrokerFixture>)): void {
  const title = typeof given === 'function' ? 'broker port' : `broker port on ${given.name}`;
  describe(title, () => {
    let fixture: BrokerFixture;
    let broker: Broker;
    before(async () => {
      fixture = typeof given === 'function' ? await given() : given;
      broker = await fixture.open();
    });
    after(async () => {
      await broker?.close();
      await fixture?.close();
    });
    let number = 0;
    for (const [area, cases] of Object.entries(areas)) {
      describe(area, () => {
        for (const [caseTitle, run] of Object.entries(cases)) {
          number += 1;
          const tenant = `tenant-${number}`;
          it(caseTitle, { timeout: caseMsMax }, async (t) => {
            const own = openCase(fixture, broker);
            try {
              await run({ ...own.context, fixture, broker, tenant, t: t as never });
              own.check();
            } finally {
              await own.close();
            }
          });
        }
      });
    }
  });
}

type OwnContext = Pick<BrokerCase, 'another' | 'topic' | 'join' | 'group'>;

/** What one case opens, and how it goes away again. */
function openCase(fixture: BrokerFixture, broker: Broker) {
  const group = fixture.group();
  const brokers: Broker[] = [];
  const members: Member[] = [];
  const topics: string[] = [];
  const context: OwnContext = {
    group,
    async another(settings) {
      const opened = await fixture.open(settings);
      brokers.push(opened);
      return opened;
    },
    async topic(partitions = 4): Promise<Topic> {
      const topic = fixture.topic();
      const { createsTopics } = broker.capabilities;
      if (createsTopics) {
        topics.push(topic);
        await broker.createTopics([{ topic, partitions }]);
      }
      const [info] = await broker.topics([topic]);
      assert.ok(info, `${topic} is not among the topics`);
      return { ...info, from: createsTopics ? 'start' : 'end' };
    },
    async join(wanted, options = {}) {
      const member = new Member(options);
      members.push(member);
      const client = options.broker ?? (await context.another());
      return member.join(client, options.group ?? group, [wanted].flat() as Topic[]);
    },
  };
  return {
    context,
    check() {
      assert.deepEqual(
        members.flatMap(({ problems }) => problems),
        [],
      );
    },
    async close() {
      await Promise.allSettled(members.map((member) => member.close()));
      await Promise.allSettled(brokers.map((opened) => opened.close()));
      if (topics.length > 0) await broker.deleteTopics(topics);
    },
  };
}

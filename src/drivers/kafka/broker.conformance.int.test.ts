/**
 * The broker port on Kafka: on a server of its own that asks for a password and is killed, with the
 * newest group protocol; and on three nodes when KAFKA_CLUSTER_URL names some.
 */
import { describe, it } from 'node:test';
import { noKafka, startKafka } from '../../../test/support/kafka-server.ts';
import { describeBroker } from '../../ports/broker.conformance.ts';
import type { BrokerFixture } from '../../ports/broker.fixtures.conformance.ts';
import { openKafkaBroker } from './broker.ts';
import { kafkaFixture } from './test-broker.ts';

async function ownServer(): Promise<BrokerFixture> {
  const server = await startKafka(null, {
    listeners: {
      open: { protocol: 'PLAINTEXT' },
      login: { protocol: 'SASL_PLAINTEXT', mechanisms: ['PLAIN'] },
    },
    users: { alice: 'secret' },
    // What a killed member had is free again after 6 s, not 45; and who joins waits for the next
    // heartbeat of the others, which is 5 s away by default.
    properties: {
      'group.consumer.min.heartbeat.interval.ms': '300',
      'group.consumer.heartbeat.interval.ms': '300',
      'group.consumer.min.session.timeout.ms': '6000',
      'group.consumer.session.timeout.ms': '6000',
    },
  });
  const hosts = server.hosts('login');
  return {
    ...kafkaFixture('Kafka of its own', `kafka://alice:secret@${hosts}`),
    openRefused: () => openKafkaBroker({ url: `kafka://alice:wrong@${hosts}` }),
    async restart(whileDown) {
      await server.kill();
      await whileDown?.();
      await server.restart();
    },
    close: () => server.end(),
  };
}

if (noKafka !== false) {
  describe('broker port on Kafka', { skip: noKafka }, () => it('is skipped', () => {}));
} else {
  describeBroker(ownServer);
}

const cluster = process.env.KAFKA_CLUSTER_URL;
if (cluster === undefined) {
  const skip = 'KAFKA_CLUSTER_URL is not set: eval "$(scripts/services.sh up kafka-cluster)"';
  describe('broker port on three nodes', { skip }, () => it('is skipped', () => {}));
} else {
  describeBroker(kafkaFixture('three nodes of Kafka', cluster));
}

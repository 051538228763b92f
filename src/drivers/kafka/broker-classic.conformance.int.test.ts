/** The broker port on the Kafka of KAFKA_URL, with groups that speak the classic protocol. */
import { describe, it } from 'node:test';
import { describeBroker } from '../../ports/broker.conformance.ts';
import { kafkaFixture } from './test-broker.ts';

const url = process.env.KAFKA_URL;
if (url === undefined) {
  const skip = 'KAFKA_URL is not set: eval "$(scripts/services.sh up kafka)"';
  describe('broker port on Kafka, classic groups', { skip }, () => it('is skipped', () => {}));
} else {
  // 6 s is the least that a broker takes: what a killed member had is free again by then.
  const classic = `${url}?groupProtocol=classic&sessionTimeoutMs=6000`;
  describeBroker(kafkaFixture('Kafka with classic groups', classic));
}

/** For tests: a Kafka that is there already, as the conformance suite wants it. */
import { randomBytes } from 'node:crypto';
import type { BrokerFixture } from '../../ports/broker.fixtures.conformance.ts';
import { openKafkaBroker } from './broker.ts';

export function kafkaFixture(name: string, url: string): BrokerFixture {
  return {
    name,
    open: (settings) => openKafkaBroker({ url, ...settings }),
    topic: () => `test-${randomBytes(6).toString('hex')}`,
    group: () => `test-group-${randomBytes(6).toString('hex')}`,
    openRefused: null,
    restart: null,
    elsewhere: {
      module: import.meta.resolve('./broker.ts'),
      opener: 'openKafkaBroker',
      settings: { url },
    },
    close: async () => {},
  };
}

/**
 * Postgres as a broker against the suite of its port: on an embedded server that may be killed, and
 * on the one of DATABASE_URL.
 */
import { describe } from 'node:test';
import { FaultServer } from '../../../../test/faults/server.ts';
import { freshDatabase } from '../../../../test/support/database.ts';
import {
  openTestBroker,
  type TestSettings,
  testTopic,
} from '../../../../test/support/postgres-broker.ts';
import { describeBroker } from '../../../ports/broker.conformance.ts';
import type { BrokerFixture } from '../../../ports/broker.fixtures.conformance.ts';
import type { Broker } from '../../../ports/broker.ts';

const opener = {
  module: import.meta.resolve('../../../../test/support/postgres-broker.ts'),
  opener: 'openTestBroker',
};

function fixtureOn(
  name: string,
  url: string,
  rest: Pick<BrokerFixture, 'restart' | 'close'>,
): BrokerFixture {
  const settings: TestSettings = { url };
  return {
    name,
    open: (more): Promise<Broker> => openTestBroker({ ...settings, ...more, url }),
    topic: () => testTopic,
    group: () => `group-${crypto.randomUUID()}`,
    openRefused: null,
    elsewhere: { ...opener, settings },
    ...rest,
  };
}

describe('postgres on an embedded server', () => {
  describeBroker(async () => {
    const server = await FaultServer.started();
    return fixtureOn('embedded Postgres', server.url(), {
      async restart(whileDown) {
        await server.kill();
        await whileDown?.();
        await server.start();
      },
      close: () => server[Symbol.asyncDispose](),
    });
  });
});

const outside = process.env.DATABASE_URL;
if (outside) {
  describe('postgres on DATABASE_URL', () => {
    describeBroker(async () => {
      const { url, drop } = await freshDatabase(outside);
      return fixtureOn('Postgres of DATABASE_URL', url, { restart: null, close: drop });
    });
  });
} else {
  describe('postgres on an outside server', { skip: 'DATABASE_URL is not set' }, () => {});
}

import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { noRabbitmq, RabbitmqServer } from '../../../test/support/rabbitmq-server.ts';
import { describeBroker } from '../../ports/broker.conformance.ts';
import type { BrokerFixture } from '../../ports/broker.fixtures.conformance.ts';
import type { BrokerSettings } from '../../ports/broker.ts';
import { openRabbitmqBroker } from './broker.ts';

/** A server of its own: the suite kills it. */
async function fixture(): Promise<BrokerFixture> {
  const server = await RabbitmqServer.make();
  await server.start();
  const url = new URL(server.url);
  url.password = 'wrong';
  const settings = { url: server.url } satisfies BrokerSettings;
  return {
    name: 'RabbitMQ',
    open: (more) => openRabbitmqBroker({ ...settings, ...more }),
    topic: () => `conformance.${randomUUID()}`,
    group: () => `group-${randomUUID()}`,
    openRefused: () => openRabbitmqBroker({ url: url.href }),
    async restart(whileDown) {
      await server.kill();
      await whileDown?.();
      await server.start();
    },
    elsewhere: {
      module: import.meta.resolve('./broker.ts'),
      opener: 'openRabbitmqBroker',
      settings,
    },
    close: () => server.remove(),
  };
}

if (noRabbitmq === false) describeBroker(fixture);
else describe('broker port on RabbitMQ', () => it('conforms', { skip: noRabbitmq }, () => {}));

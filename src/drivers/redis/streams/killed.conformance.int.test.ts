/** Redis Streams against the suite of the broker port, on a server that is killed in between. */
import { describe } from 'node:test';
import { describeBroker } from '../../../ports/broker.conformance.ts';
import { noServer, TestServer } from '../test-server.ts';
import { fixtureOf } from './test-streams.ts';

if (noServer === false) {
  describeBroker(async () => {
    const ends: (() => unknown)[] = [];
    const server = await TestServer.started({ after: (end) => ends.push(end as () => unknown) });
    return {
      ...fixtureOf(server.url),
      async restart(whileDown) {
        await server.kill();
        await whileDown?.();
        await server.start();
      },
      async close() {
        for (const end of ends) await end();
      },
    };
  });
} else {
  describe('broker port on a Redis that is killed', { skip: noServer }, () => {});
}

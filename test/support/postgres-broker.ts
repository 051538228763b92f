/** A client for tests: a store of its own, as another process has it, and a quick heartbeat. */

import { openPostgresBroker } from '../../src/drivers/postgres/broker/broker.ts';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import type { Broker, BrokerSettings } from '../../src/ports/broker.ts';

export const testTopic = 'millrace.events';

export type TestSettings = Pick<BrokerSettings, 'url' | 'source' | 'publishTimeoutMs'>;

export async function openTestBroker(settings: TestSettings): Promise<Broker> {
  const { url, source, publishTimeoutMs } = settings;
  const store = await openPostgresStore({ url, partitions: 6 });
  const quick = { heartbeatMs: 200, timeToLiveMs: 3_000, pollMs: 500 };
  const options = { store, ownsStore: true, topic: testTopic, source, publishTimeoutMs };
  return openPostgresBroker({ ...quick, ...options });
}

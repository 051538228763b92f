/** Platforms with a broker for tests: topics and groups of their own, removed at the end. */
import { describe, type TestContext } from 'node:test';
import type { BrokerLink } from '../../src/brokers/link.ts';
import type { BrokerOptions } from '../../src/brokers/options.ts';
import { openBroker } from '../../src/connect.ts';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import { Millrace, type MillraceOptions } from '../../src/millrace.ts';
import { eventually } from './eventually.ts';
import { FaultyBroker } from './faulty-broker.ts';
import type { names } from './mill.ts';

/** Brokers that are there, by the variables of scripts/services.sh. */
export const brokers = [
  { name: 'Kafka', variable: 'KAFKA_URL' },
  { name: 'RabbitMQ', variable: 'AMQP_URL' },
  { name: 'Redis Streams', variable: 'REDIS_URL' },
].map((broker) => ({ ...broker, url: process.env[broker.variable] ?? '' }));

/** Runs a suite over each broker that is there; the others show up as skipped, with the reason. */
export function eachBroker(suite: (url: string, name: string) => void): void {
  for (const { name, variable, url } of brokers) {
    if (url === '') describe(`over ${name}`, { skip: `${variable} is not set` }, () => {});
    else describe(`over ${name}`, () => suite(url, name));
  }
}

/** The quickest broker that is there, for what does not depend on which one it is. */
export const anyBroker = brokers.findLast(({ url }) => url !== '') ?? null;

export interface Linked {
  readonly mill: Millrace;
  readonly link: BrokerLink;
  /** The broker, and the faults on the way to it. */
  readonly broker: FaultyBroker;
  readonly errors: string[];
}

export interface LinkedOptions {
  readonly database: string;
  readonly broker: Omit<BrokerOptions, 'url'> & { readonly url: string; readonly topic: string };
  readonly mill?: MillraceOptions;
}

/** Stopped at the end of the test, whatever happens. Its topics are deleted with `removeTopics`. */
export async function openLinked(
  t: TestContext,
  { database, broker: options, mill: more }: LinkedOptions,
): Promise<Linked> {
  const store = await openPostgresStore({ url: database, partitions: 4, connectionsMax: 8 });
  const broker = new FaultyBroker(await openBroker({ url: options.url }));
  const errors: string[] = [];
  const mill = new Millrace(store, {
    heartbeatMs: 100,
    timeToLiveMs: 2_000,
    graceMs: 5_000,
    pollMs: [10, 100],
    onError: (error, where) => errors.push(`${where}: ${error}`),
    ...more,
    link: { broker, options: { gapMs: 300, ...options } },
  });
  const link = mill.broker as BrokerLink;
  await link.register();
  t.after(async () => {
    broker.away = false;
    await mill.stop();
  });
  return { mill, link, broker, errors };
}

/** Deletes a topic once everybody has left it. */
export function removeTopic(t: TestContext, url: string, topic: string): void {
  t.after(async () => {
    const broker = await openBroker(url);
    try {
      await broker.deleteTopics([topic]);
    } finally {
      await broker.close();
    }
  });
}

/** A name of its own for one test. */
export const ownName = (what: string) => `link-${what}-${crypto.randomUUID().slice(0, 8)}`;

/** Resolves once the broker brings all four partitions to these, each with some. */
export function assignedTo(...linked: readonly Linked[]): Promise<unknown> {
  return eventually(
    'every partition is assigned',
    () => {
      const each = linked.map(({ link }) => link.feed.assigned);
      return each.every((one) => one.length > 0) && new Set(each.flat()).size === 4;
    },
    60_000,
  );
}

/** A group that writes each event into a table, in the transaction of its cursor. */
export function writeEffects(
  mill: Millrace,
  { group, table, Thing }: ReturnType<typeof names>,
): void {
  mill.subscribe({
    group,
    events: [Thing],
    from: 'end',
    async handle({ key, payload }, context) {
      const tx = await context.tx();
      await tx.query(`insert into ${table} (key, n) values ($1, $2)`, [key, payload.n]);
    },
  });
}

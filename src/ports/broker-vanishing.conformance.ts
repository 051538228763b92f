/** Cases for members that vanish without a word, and for effects that happen once all the same. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  type BrokerCase,
  type BrokerCases,
  idsOf,
  interleaved,
  keysOf,
  numbered,
  type Topic,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { Delivery } from './broker.ts';
import type { Member } from './broker-member.conformance.ts';
import type { ProcessOrder, ProcessReport } from './broker-process.conformance.ts';

/** Brokers give the silent up to a minute. */
const sessionMsMax = 90_000;
const program = fileURLToPath(import.meta.resolve('./broker-process.conformance.ts'));

/** A member in another process. */
class Stranger {
  readonly held = new Set<string>();
  readonly ids: string[] = [];
  readonly errors: string[] = [];
  readonly #process: ChildProcess;

  #ready = false;

  constructor(
    { fixture, group, t }: BrokerCase,
    topic: Topic,
    { memberId = null, waits = false }: Partial<Pick<ProcessOrder, 'memberId' | 'waits'>> = {},
  ) {
    const { elsewhere } = fixture;
    assert.ok(elsewhere);
    const order: ProcessOrder = {
      ...{ elsewhere, group, memberId, waits },
      topics: [topic.topic],
      from: topic.from,
    };
    const args = ['--conditions=millrace-source', program, JSON.stringify(order)];
    const stranger = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process = stranger;
    createInterface({ input: stranger.stdout }).on('line', (line) => this.#hear(line));
    createInterface({ input: stranger.stderr }).on('line', (line) => this.errors.push(line));
    t.after(() => this.kill());
  }

  /** It has a connection, and waits for its word to join. */
  async ready(): Promise<void> {
    await within('another process is ready', () => this.#ready).catch((error) => {
      throw new Error(`${(error as Error).message}; it said: ${this.errors.join('\n')}`);
    });
  }

  join(): void {
    this.#process.stdin?.write('join\n');
  }

  /** SIGKILL: it leaves no group, and closes no connection itself. */
  async kill(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  async has(count: number, what: 'held' | 'ids'): Promise<void> {
    const size = () => (what === 'held' ? this.held.size : this.ids.length);
    await within(`${count} ${what} of another process`, () => size() >= count).catch((error) => {
      throw new Error(`${(error as Error).message}; it said: ${this.errors.join('\n')}`);
    });
  }

  #hear(line: string): void {
    const report = JSON.parse(line) as ProcessReport;
    if ('ready' in report) this.#ready = true;
    else if ('assigned' in report) for (const name of report.assigned) this.held.add(name);
    else if ('revoked' in report) for (const name of report.revoked) this.held.delete(name);
    else if ('ids' in report) this.ids.push(...report.ids);
    else this.errors.push(report.error);
  }
}

const cannot = 'the fixture opens no client in another process';

export const vanishingCases: BrokerCases = {
  'what a vanished member had goes to the next one': async (context) => {
    const { broker, fixture, tenant, t } = context;
    if (!fixture.elsewhere) return t.skip(cannot);
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const stranger = new Stranger(context, topic);
    await stranger.has(topic.partitions, 'held');
    const lists = keys.map((key) => numbered(topic, tenant, key, { count: 20 }));
    await broker.publish(interleaved(lists));
    await stranger.has(20 * keys.length, 'ids');
    await stranger.kill();
    const member = await context.join(topic);
    await eventually(
      'everything comes again',
      () => member.deliveries.length >= 20 * keys.length,
      sessionMsMax,
    );
    for (const key of keys) assert.deepEqual(member.numbers(key), upTo(20), key);
  },

  'a member with a name has its partitions back after a restart': async (context) => {
    const { broker, fixture, tenant, t } = context;
    if (!broker.capabilities.staticMembership) return t.skip('knows no members by name');
    if (!fixture.elsewhere) return t.skip(cannot);
    const topic = await context.topic();
    const first = new Stranger(context, topic, { memberId: 'member-a' });
    const second = new Stranger(context, topic, { memberId: 'member-a', waits: true });
    await second.ready();
    await first.has(topic.partitions, 'held');
    const other = await context.join(topic, { memberId: 'member-b' });
    await within('they share', () => {
      return other.held.size > 0 && other.held.size + first.held.size === topic.partitions;
    });
    const revoked = other.revocations.length;
    const had = [...first.held].sort();
    await first.kill();
    second.join();
    await second.has(had.length, 'held');
    assert.deepEqual([...second.held].sort(), had);
    assert.equal(other.revocations.length, revoked, 'the other member noticed nothing');
    const keys = keysOf(topic, tenant);
    await broker.publish(keys.flatMap((key) => numbered(topic, tenant, key, { count: 5 })));
    await second.has(5 * had.length, 'ids');
    await other.received(5 * (keys.length - had.length));
  },

  'an inbox makes the effect of each event happen once': async (context) => {
    const { broker, tenant } = context;
    await using database = await freshDatabase();
    const inbox = await openInbox(database.url);
    try {
      const topic = await context.topic();
      const keys = keysOf(topic, tenant);
      const events = interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 50 })));
      const join = async (crashesAfter: number) => {
        let rest = crashesAfter;
        let line = Promise.resolve();
        const handle = async (member: Member, deliveries: readonly Delivery[]) => {
          for (const delivery of deliveries) {
            if (rest === 0) return; // dead, after a commit and before its acknowledgement
            await inbox.handle(delivery);
            rest -= 1;
          }
          if (rest > 0) await member.acknowledge(deliveries);
        };
        const member = await context.join(topic, {
          handle(self, deliveries) {
            line = line.then(() => handle(self, deliveries));
          },
        });
        return { member, dead: () => rest === 0 };
      };
      const first = await join(70);
      await broker.publish(events);
      await broker.publish(events); // the publisher did not hear the first answer
      for (const crashesAfter of [0, 30, 110]) {
        const { member, dead } = crashesAfter === 0 ? first : await join(crashesAfter);
        await within('it dies', () => dead() || inbox.seen() >= events.length);
        await member.close();
      }
      await join(Number.POSITIVE_INFINITY);
      await within('all are handled', () => inbox.seen() >= events.length);
      await within('nothing waits', async () => {
        const lags = await broker.lag(context.group, [topic.topic]);
        return lags.every(({ lag }) => lag === 0);
      });
      assert.deepEqual(await inbox.effects(), idsOf(events).sort());
    } finally {
      await inbox.close();
    }
  },
};

/** An application's tables: what was handled, and what came of it, in one transaction. */
async function openInbox(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('create table inbox (event_id uuid primary key)');
  await client.query('create table effect (event_id uuid not null)'); // no key: twice would show
  const seen = new Set<string>();
  let line: Promise<unknown> = Promise.resolve();
  const run = async (id: string) => {
    await client.query('begin');
    const { rowCount } = await client.query(
      'insert into inbox values ($1) on conflict do nothing',
      [id],
    );
    if (rowCount === 1) await client.query('insert into effect values ($1)', [id]);
    await client.query('commit');
    seen.add(id);
  };
  return {
    /** One connection, so one after the other. */
    handle({ event }: Delivery): Promise<void> {
      const done = line.then(() => run(`${event?.id}`));
      line = done;
      return done;
    },
    seen: () => seen.size,
    async effects(): Promise<string[]> {
      const { rows } = await client.query('select event_id from effect order by event_id');
      return rows.map((row) => row.event_id);
    },
    close: () => client.end(),
  };
}

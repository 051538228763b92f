/**
 * Tokens against a real Kafka that checks their lifetime: refused when expired, shown anew on live
 * connections before they expire. They are unsecured ones (a JWS without signature), which the
 * broker takes without a key server, so the test makes them.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { type Connection, ConnectionPool, metadataV12 } from '@platformatic/kafka';
import {
  type Certificates,
  makeCertificates,
  noCertificates,
} from '../../../../test/support/certificates.ts';
import { type KafkaServer, noKafka, startKafka } from '../../../../test/support/kafka-server.ts';
import { MillraceError } from '../../../core/errors.ts';
import {
  assertNoGap,
  numbered,
  type Topic,
  within,
} from '../../../ports/broker.fixtures.conformance.ts';
import type { Broker, BrokerSettings, BrokerToken } from '../../../ports/broker.ts';
import { Member } from '../../../ports/broker-member.conformance.ts';
import { openKafkaBroker } from '../broker.ts';
import { clientSettings } from './settings.ts';

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

function tokenOf(subject: string, lifeMs: number): BrokerToken {
  const now = Date.now();
  const claims = { sub: subject, iat: now / 1000 - 60, exp: (now + lifeMs) / 1000 };
  return { token: `${encode({ alg: 'none' })}.${encode(claims)}.`, expiresAt: now + lifeMs };
}

/** An issuer: counts the tokens it made. */
function source(lifeMs: number) {
  const made = {
    count: 0,
    async token() {
      if (made.isAway) throw new Error('the issuer is away');
      made.count += 1;
      return tokenOf('alice', lifeMs);
    },
    isAway: false,
  };
  return made;
}

describe('tokens at Kafka', { skip: noKafka || noCertificates }, () => {
  let pki: Certificates;
  let kafka: KafkaServer;
  let directory: string;

  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-certificates-'));
    pki = await makeCertificates(directory);
    kafka = await startKafka(null, {
      listeners: {
        open: { protocol: 'PLAINTEXT' },
        bearer: { protocol: 'SASL_PLAINTEXT', mechanisms: ['OAUTHBEARER', 'PLAIN'] },
        msk: { protocol: 'SASL_SSL', certificate: pki.server, mechanisms: ['OAUTHBEARER'] },
      },
      users: { alice: 'hush-alice' },
      // A session ends with its token, and after this long in any case.
      properties: { 'connections.max.reauth.ms': '4000' },
    });
  });

  after(async () => {
    await kafka?.end();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  const bearer = (token: () => Promise<BrokerToken>): BrokerSettings => ({
    url: `kafka://${kafka.hosts('bearer')}`,
    token,
  });

  async function attempt(settings: BrokerSettings): Promise<unknown> {
    try {
      const broker = await openKafkaBroker(settings);
      await broker.close();
      return null;
    } catch (error) {
      return error;
    }
  }

  it('let us in while they live', async () => {
    assert.equal(await attempt(bearer(source(60_000).token)), null);
  });

  it('are refused when they have expired', async () => {
    const expired = tokenOf('alice', -5000);
    const error = await attempt(bearer(async () => expired));
    assert.ok(error instanceof MillraceError, 'it was let in');
    assert.equal(error.code, 'BROKER_DENIED');
    assert.match(error.message, /token/);
    assert.ok(!inspect(error, { depth: 9 }).includes(expired.token));
  });

  it('that cannot be had are no denial: it may be tried again', async () => {
    const error = await attempt(bearer(() => Promise.reject(new Error('the issuer is away'))));
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, 'BROKER_UNAVAILABLE');
    assert.ok(error.retryable);
  });

  /** 12 callers on one connection, which they keep across their waits, for 3 sessions. */
  async function pipeline(settings: BrokerSettings, forMs: number): Promise<number> {
    const { client } = await clientSettings(settings);
    const pool = new ConnectionPool('pipeline', { ...client, maxInflights: 20 });
    const [node] = client.bootstrapBrokers as { host: string; port: number }[];
    assert.ok(node);
    const connection: Connection = await pool.get(node);
    const until = performance.now() + forMs;
    let answers = 0;
    const call = async () => {
      while (performance.now() < until) {
        await metadataV12.api.async(connection, [], false, false);
        answers += 1;
        await new Promise(setImmediate);
      }
    };
    try {
      await Promise.all(Array.from({ length: 12 }, call));
      assert.ok(connection.isConnected());
      return answers;
    } finally {
      await pool.close();
    }
  }

  /** Publishes for this long, 20 at a time. */
  async function publishFor(broker: Broker, topic: Topic, ms: number): Promise<number> {
    const until = performance.now() + ms;
    let count = 0;
    while (performance.now() < until) {
      await broker.publish(numbered(topic, 'acme', 'key', { first: count, count: 20 }));
      count += 20;
      await new Promise(setImmediate);
    }
    return count;
  }

  async function newTopic(name: string): Promise<Topic> {
    const broker = await openKafkaBroker({ url: kafka.url });
    await broker.createTopics([{ topic: name, partitions: 2 }]);
    await broker.close();
    return { topic: name, partitions: 2, from: 'start' };
  }

  describe('that end while we work', { concurrency: true }, () => {
    it('are shown anew on a busy connection, which stays', async () => {
      // Renewed when 3.2 of 4 seconds are over.
      const tokens = source(4000);
      const answers = await pipeline(bearer(tokens.token), 7500);
      assert.ok(tokens.count >= 3, `${tokens.count} tokens`);
      assert.ok(answers > 100, `${answers} answers`);
    });

    it('expire again and again while events flow, and nothing is lost', async (t) => {
      const topic = await newTopic('flow');
      const tokens = source(4000);
      const broker = await openKafkaBroker(bearer(tokens.token));
      t.after(() => broker.close());
      const member = await new Member({}).join(broker, 'flow', [topic]);
      const made = await publishFor(broker, topic, 7500);
      await member.received(made);
      assert.ok(tokens.count >= 3, `${tokens.count} tokens`);
      assertNoGap(member.numbers('key'), made, 'while tokens end');
      assert.deepEqual(member.problems, []);
    });

    it('may run out while their issuer is away: it goes on when there are new ones', async (t) => {
      const topic = await newTopic('away');
      const tokens = source(2000);
      const broker = await openKafkaBroker({ ...bearer(tokens.token), publishTimeoutMs: 1000 });
      t.after(() => broker.close());
      const member = await new Member({}).join(broker, 'away', [topic]);
      const publish = () => broker.publish(numbered(topic, 'acme', 'key', { count: 20 }));
      await publish();
      tokens.isAway = true;
      const failure = await within('no token is left', () =>
        publish().then(
          () => null,
          (error) => error,
        ),
      );
      assert.equal((failure as MillraceError).code, 'BROKER_UNAVAILABLE', inspect(failure));
      tokens.isAway = false;
      const before = member.deliveries.length;
      await within('it publishes again', () =>
        publish().then(
          () => true,
          () => false,
        ),
      );
      await member.received(before + 20);
      assertNoGap(member.numbers('key').slice(0, 20), 20, 'the first');
      assert.deepEqual(member.problems, []);
    });
  });

  describe('of MSK', () => {
    const msk = (token?: () => Promise<BrokerToken>): BrokerSettings => ({
      url: `msk://${kafka.hosts('msk')}?region=eu-central-1`,
      tls: { ca: pki.ca },
      token,
    });

    it('come in over TLS when the broker takes them', async () => {
      assert.equal(await attempt(msk(source(60_000).token)), null);
    });

    it('are sent as they were signed, which only AWS itself can check', async () => {
      process.env.AWS_ACCESS_KEY_ID = 'AKIAIOSFODNN7EXAMPLE';
      process.env.AWS_SECRET_ACCESS_KEY = 'hush/K7MDENG/bPxRfiCYEXAMPLEKEY';
      const error = await attempt(msk());
      assert.ok(error instanceof MillraceError, 'it was let in');
      assert.equal(error.code, 'BROKER_DENIED');
      assert.match(error.message, /token/);
      assert.doesNotMatch(inspect(error, { depth: 9 }), /hush|X-Amz-Signature=[0-9a-f]/);
    });
  });
});

/**
 * Certificates and passwords against a real Kafka: who comes in, who is refused, and what the error
 * says. One server has a listener for each case.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import {
  type Certificates,
  makeCertificates,
  noCertificates,
} from '../../../../test/support/certificates.ts';
import { type KafkaServer, noKafka, startKafka } from '../../../../test/support/kafka-server.ts';
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerSettings, BrokerTls } from '../../../ports/broker.ts';
import { openKafkaBroker } from '../broker.ts';

const hub =
  'Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=app;SharedAccessKey=c2VjcmV0LTE=';
const users = { alice: 'hush-alice', $ConnectionString: hub };

/** Null when we came in. */
async function attempt(settings: BrokerSettings): Promise<unknown> {
  try {
    const broker = await openKafkaBroker({ ...settings, connectTimeoutMs: 20_000 });
    await broker.close();
    return null;
  } catch (error) {
    return error;
  }
}

async function refused(settings: BrokerSettings, message: RegExp): Promise<void> {
  const error = await attempt(settings);
  assert.ok(error instanceof MillraceError, 'it was let in');
  assert.equal(error.code, 'BROKER_DENIED');
  assert.equal(error.retryable, false);
  assert.match(error.message, message);
  assert.ok(error.cause instanceof Error);
  assert.doesNotMatch(inspect(error, { depth: 9 }), /hush|c2VjcmV0/);
}

describe('logins at Kafka', { skip: noKafka || noCertificates }, () => {
  let pki: Certificates;
  let kafka: KafkaServer;
  let directory: string;

  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-certificates-'));
    pki = await makeCertificates(directory);
    const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
    kafka = await startKafka(null, {
      listeners: {
        open: { protocol: 'PLAINTEXT' },
        encrypted: { protocol: 'SSL', certificate: pki.server },
        expired: { protocol: 'SSL', certificate: pki.expiredServer },
        elsewhere: { protocol: 'SSL', certificate: pki.namedServer },
        mutual: { protocol: 'SSL', certificate: pki.server, clientAuth: 'required' },
        login: { protocol: 'SASL_PLAINTEXT', mechanisms },
        scram: { protocol: 'SASL_SSL', certificate: pki.server, mechanisms: ['SCRAM-SHA-512'] },
        hubs: { protocol: 'SASL_SSL', certificate: pki.server, mechanisms: ['PLAIN'] },
      },
      trustFile: pki.caFile,
      users,
    });
  });

  after(async () => {
    await kafka?.end();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  const over = (listener: string, tls: BrokerTls = {}): BrokerSettings => ({
    url: `kafkas://${kafka.hosts(listener)}`,
    tls: { ca: pki.ca, ...tls },
  });

  describe('TLS', () => {
    it('trusts the authority it was given', async () => {
      assert.equal(await attempt(over('encrypted')), null);
    });
    it('by its name as well as by its address', async () => {
      const url = `kafkas://${kafka.hosts('encrypted').replace('127.0.0.1', 'localhost')}`;
      assert.equal(await attempt({ ...over('encrypted'), url }), null);
    });
    it('refuses a broker of another authority', () =>
      refused(over('encrypted', { ca: pki.otherCa }), /certificate is not accepted/));
    it("refuses a broker that the system's list does not know", () =>
      refused({ url: over('encrypted').url }, /certificate is not accepted/));
    it('refuses an expired certificate', () => refused(over('expired'), /not accepted.*expired/));
    it('refuses a certificate of another host', () =>
      refused(over('elsewhere'), /ERR_TLS_CERT_ALTNAME_INVALID/));
    it('takes it when that host is meant', async () => {
      const settings = over('elsewhere', { serverName: 'broker.example.com' });
      assert.equal(await attempt(settings), null);
    });
    it('says so when the broker wants TLS', () =>
      refused({ url: `kafka://${kafka.hosts('encrypted')}` }, /wants TLS/));
  });

  describe('mutual TLS', () => {
    const mine = (which: 'client' | 'expiredClient' | 'foreignClient') => {
      const { cert, key } = pki[which];
      return over('mutual', { cert, key });
    };
    it('lets a client in whose certificate it trusts', async () => {
      assert.equal(await attempt(mine('client')), null);
    });
    it('reads certificates from files that the URL names', async () => {
      const file = (end: string) => path.join(directory, `client.${end}`);
      const files = `ca=${pki.caFile}&cert=${file('pem')}&key=${file('key')}`;
      assert.equal(await attempt({ url: `${over('mutual').url}?${files}` }), null);
    });
    it('refuses a client without one', () => refused(over('mutual'), /our certificate/));
    it('refuses an expired one', () => refused(mine('expiredClient'), /our certificate/));
    it('refuses one of another authority', () => refused(mine('foreignClient'), /our certificate/));
  });

  describe('passwords', () => {
    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
      const url = (user: string) =>
        `kafka://${user}@${kafka.hosts('login')}?mechanism=${mechanism}`;
      it(`comes in by ${mechanism}`, async () => {
        assert.equal(await attempt({ url: url('alice:hush-alice') }), null);
      });
      it(`is refused by ${mechanism} with a wrong password`, () =>
        refused({ url: url('alice:hush-wrong') }, /user and password/));
      it(`is refused by ${mechanism} as somebody unknown`, () =>
        refused({ url: url('mallory:hush-alice') }, /user and password/));
    }

    it('is refused where the listener has another mechanism', () =>
      refused(
        { ...over('scram'), username: 'alice', password: 'hush-alice' },
        /does not offer this SASL mechanism/,
      ));

    it('comes in by SCRAM over TLS, as at MSK', async () => {
      const url = `msk://alice:hush-alice@${kafka.hosts('scram')}`;
      assert.equal(await attempt({ ...over('scram'), url }), null);
    });

    it('shows the connection string as Event Hubs wants it', async () => {
      const url = `eventhubs://${kafka.hosts('hubs')}`;
      assert.equal(await attempt({ ...over('hubs'), url, password: hub }), null);
      const wrong = hub.replace('c2VjcmV0', 'c2VjcmV0c2VjcmV0');
      await refused({ ...over('hubs'), url, password: wrong }, /user and password/);
    });
  });
});

/** Whom RabbitMQ lets in, and with what: certificates, tokens, rights, sizes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';
import { noRabbitmq, RabbitmqServer } from '../../../test/support/rabbitmq-server.ts';
import { MillraceError } from '../../core/errors.ts';
import type { Broker, BrokerSettings } from '../../ports/broker.ts';
import { openRabbitmqBroker } from './broker.ts';
import { eventOf, events, patienceMs, TestMember } from './test-member.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

const coded = (code: string) => (error: unknown) =>
  error instanceof MillraceError && error.code === code;

describe('RabbitMQ and its administrator', { skip: noRabbitmq }, () => {
  let server: RabbitmqServer;
  let certificates: Certificates;

  before(async () => {
    certificates = await makeCertificates();
    const { ca, cert, key } = certificates;
    server = await RabbitmqServer.make({
      tls: { ca, cert, key, mutual: true },
      config: ['max_message_size = 200000'],
    });
    await server.start();
  });
  after(async () => {
    await server?.remove();
    await fs.rm(certificates.directory, { recursive: true, force: true });
  });

  async function open(t: TestContext, settings: Partial<BrokerSettings> = {}): Promise<Broker> {
    const broker = await openRabbitmqBroker({ url: server.url, ...settings });
    t.after(() => broker.close());
    return broker;
  }

  it('refuses what is too large for it by its index, the second time without asking', async (t) => {
    const broker = await open(t);
    const topic = 'large.events';
    await broker.createTopics([{ topic, partitions: 1 }]);
    const member = await TestMember.join(broker, [topic]);
    const large = eventOf(topic, 'x'.repeat(250_000));
    const refusedAt = (index: number) => (error: MillraceError) => {
      assert.equal(error.code, 'BROKER_EVENT_REFUSED', error.message);
      return error.details?.index === index;
    };
    const batch = [...events(topic, 2), large, ...events(topic, 1, { first: 9 })];
    await assert.rejects(broker.publish(batch), refusedAt(2));
    await assert.rejects(broker.publish([large]), refusedAt(0));
    await broker.publish(events(topic, 2));
    await eventually(
      'the rest comes',
      () => member.payloads.slice(-2).join() === '0,1',
      patienceMs,
    );
    assert.ok(!member.payloads.includes(9), 'what stood behind it was not stored');
  });

  it('lets in who has a certificate, and nobody else', async (t) => {
    const { ca, cert, key } = await readAll(certificates);
    const broker = await open(t, { url: server.tlsUrl, tls: { ca, cert, key } });
    await broker.createTopics([{ topic: 'tls.events', partitions: 1 }]);
    const member = await TestMember.join(broker, ['tls.events']);
    await broker.publish(events('tls.events', 3));
    await member.received(3);
    const denied = (tls: BrokerSettings['tls'], url = server.tlsUrl) =>
      assert.rejects(openRabbitmqBroker({ url, tls }), (error: MillraceError) => {
        assert.equal(error.code, 'BROKER_DENIED', error.message);
        return true;
      });
    await denied({ cert, key }); // who signed it?
    await denied({ ca }); // ours is missing
    await denied({ ca, cert, key, serverName: 'another.example' });
  });

  it('moves to a new connection before its token ends, and loses nothing', async (t) => {
    const { username, password } = new URL(server.url);
    let asked = 0;
    const broker = await open(t, {
      username,
      async token() {
        asked += 1;
        return { token: password, expiresAt: Date.now() + 2_500 };
      },
    });
    const topic = 'token.events';
    await broker.createTopics([{ topic, partitions: 4 }]);
    const member = await TestMember.join(broker, [topic]);
    await member.holds(4);
    const before = asked;
    let count = 0;
    while (asked < before + 4) {
      await broker.publish(events(topic, 10, { first: count }));
      count += 10;
      await sleep(10);
    }
    await eventually('all come', () => member.payloads.at(-1) === count - 1, patienceMs);
    assert.deepEqual(member.payloads, upTo(count));
    assert.deepEqual(member.lost, []);
  });

  it('gives users the rights of docs/rabbitmq.md, and no others', async (t) => {
    const admin = await open(t);
    await admin.createTopics([
      { topic: 'millrace.events', partitions: 2 },
      { topic: 'millrace.acme.events', partitions: 2 },
      { topic: 'millrace.globex.events', partitions: 2 },
    ]);
    for (const line of await rightsOfDocument()) await server.ctl(...line);
    const as = (username: string) => open(t, { username, password: 'secret' });
    const [worker, publisher, acme] = await Promise.all(
      ['millrace-worker', 'millrace-publisher', 'acme'].map(as),
    );
    assert.ok(worker && publisher && acme);
    const all = await TestMember.join(worker, ['millrace.events'], { group: 'millrace' });
    await publisher.publish(events('millrace.events', 3));
    await all.received(3);
    await assert.rejects(
      TestMember.join(publisher, ['millrace.events'], { group: 'millrace' }),
      coded('BROKER_DENIED'),
    );
    const own = await TestMember.join(acme, ['millrace.acme.events'], { group: 'millrace' });
    await acme.publish(events('millrace.acme.events', 2));
    await own.received(2);
    await assert.rejects(acme.publish(events('millrace.globex.events', 1)), coded('BROKER_DENIED'));
    await acme.publish(events('millrace.acme.events', 1));
    await own.received(3);
    await assert.rejects(
      TestMember.join(acme, ['millrace.globex.events'], { group: 'millrace' }),
      coded('BROKER_DENIED'),
    );
    await assert.rejects(
      acme.createTopics([{ topic: 'millrace.other.events', partitions: 1 }]),
      coded('BROKER_DENIED'),
    );
  });
});

interface Certificates {
  readonly directory: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** An authority, and one certificate for localhost that serves both sides. */
async function makeCertificates(): Promise<Certificates> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-certificates-'));
  const at = (name: string) => path.join(directory, name);
  const openssl = (...words: string[]) => promisify(execFile)('openssl', words);
  const fresh = ['-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  const [caKey, ca] = [at('ca.key'), at('ca.pem')];
  await openssl('req', '-x509', ...fresh, '-keyout', caKey, '-out', ca, '-subj', '/CN=test CA');
  const [key, cert, request, names] = [at('key.pem'), at('cert.pem'), at('request'), at('names')];
  await openssl('req', ...fresh, '-keyout', key, '-out', request, '-subj', '/CN=localhost');
  await fs.writeFile(names, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const signed = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2'];
  await openssl('x509', '-req', '-in', request, ...signed, '-extfile', names, '-out', cert);
  return { directory, ca, cert, key };
}

async function readAll({ ca, cert, key }: Certificates) {
  const read = (file: string) => fs.readFile(file, 'utf8');
  return { ca: await read(ca), cert: await read(cert), key: await read(key) };
}

/** Words of every `rabbitmqctl` line of the document. */
async function rightsOfDocument(): Promise<readonly (readonly string[])[]> {
  const file = new URL('../../../docs/rabbitmq.md', import.meta.url);
  const text = (await fs.readFile(file, 'utf8')).replaceAll('\\\n', ' ');
  const lines = [...text.matchAll(/^rabbitmqctl (.+)$/gm)].map(([, line]) => line as string);
  assert.ok(lines.length >= 6, 'the document shows how rights are given');
  return lines.map((line) =>
    [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? (plain as string)),
  );
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { brokerScheme } from '../../../connect.ts';
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerSettings } from '../../../ports/broker.ts';
import { kafkaPresets } from './presets.ts';
import { clientSettings } from './settings.ts';

const key = 'c2VjcmV0LXNlY3JldA==';
const endpoint = 'Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=app';
const connection = `${endpoint};SharedAccessKey=${key}`;
const hub = `${connection};EntityPath=orders`;
const namespace = 'ns.servicebus.windows.net';
const local = 'Endpoint=sb://localhost;SharedAccessKeyName=app;SharedAccessKey=abcd';
const emulator = `${local};UseDevelopmentEmulator=true;`;
const user = '$ConnectionString';
const token = async () => ({ token: 'never-asked', expiresAt: 0 });

type Expected = readonly [
  address: string,
  mechanism: string | null,
  tls: boolean,
  username?: string,
  password?: string,
];

const good: readonly (readonly [BrokerSettings, Expected])[] = [
  [{ url: 'kafka://a' }, ['kafka://a:9092', null, false]],
  [{ url: 'kafka://a:1,b,[::1]:3' }, ['kafka://a:1,b:9092,[::1]:3', null, false]],
  [{ url: 'KAFKA://a/' }, ['kafka://a:9092', null, false]],
  [{ url: 'kafka://a?tls=1' }, ['kafka://a:9092', null, true]],
  [{ url: 'kafka://u:p%40%2F%3A@a' }, ['kafka://a:9092', 'PLAIN', false, 'u', 'p@/:']],
  [{ url: 'kafka://u:p:q@a' }, ['kafka://a:9092', 'PLAIN', false, 'u', 'p:q']],
  [{ url: 'kafka://u:old@a', password: 'new' }, ['kafka://a:9092', 'PLAIN', false, 'u', 'new']],
  [
    { url: 'kafka://a?mechanism=scram-sha-256', username: 'u', password: 'p' },
    ['kafka://a:9092', 'SCRAM-SHA-256', false, 'u', 'p'],
  ],
  [{ url: 'kafkas://a' }, ['kafkas://a:9093', null, true]],
  [{ url: 'kafka+ssl://u:p@a' }, ['kafkas://a:9093', 'PLAIN', true, 'u', 'p']],
  [
    { url: 'kafkas://u:p@a:9?mechanism=SCRAM-SHA-512' },
    ['kafkas://a:9', 'SCRAM-SHA-512', true, 'u', 'p'],
  ],
  [{ url: 'kafka://a', token }, ['kafka://a:9092', 'OAUTHBEARER', false]],
  [{ url: 'kafkas://a?mechanism=oauthbearer', token }, ['kafkas://a:9093', 'OAUTHBEARER', true]],
  [
    { url: 'confluent://key:secret@pkc-1.confluent.cloud' },
    ['confluent://pkc-1.confluent.cloud:9092', 'PLAIN', true, 'key', 'secret'],
  ],
  [{ url: `${connection}\n` }, [`eventhubs://${namespace}:9093`, 'PLAIN', true, user, connection]],
  [{ url: hub }, [`eventhubs://${namespace}:9093`, 'PLAIN', true, user, hub]],
  [
    { url: `eventhubs://${namespace}`, password: connection },
    [`eventhubs://${namespace}:9093`, 'PLAIN', true, user, connection],
  ],
  [
    // The URL's host wins: a private endpoint, or a broker of a test.
    { url: 'eventhubs://127.0.0.1:1234', password: connection },
    ['eventhubs://127.0.0.1:1234', 'PLAIN', true, user, connection],
  ],
  [
    { url: `eventhubs://app:${encodeURIComponent(key)}@${namespace}` },
    [
      `eventhubs://${namespace}:9093`,
      'PLAIN',
      true,
      user,
      `Endpoint=sb://${namespace}/;SharedAccessKeyName=app;SharedAccessKey=${key}`,
    ],
  ],
  [
    { url: `eventhubs://${namespace}`, token },
    [`eventhubs://${namespace}:9093`, 'OAUTHBEARER', true],
  ],
  [{ url: emulator }, ['eventhubs://localhost:9092', 'PLAIN', false, user, emulator]],
  [
    { url: 'msk://b-1.x,b-2.x:9098?region=eu-central-1' },
    ['msk://b-1.x:9098,b-2.x:9098', 'OAUTHBEARER', true],
  ],
  [
    { url: 'msk://b-1.x.c2.kafka.us-gov-west-1.amazonaws.com' },
    ['msk://b-1.x.c2.kafka.us-gov-west-1.amazonaws.com:9098', 'OAUTHBEARER', true],
  ],
  [
    { url: 'msk://u:p@b-1.x,b-2.x:9196' },
    ['msk://b-1.x:9096,b-2.x:9196', 'SCRAM-SHA-512', true, 'u', 'p'],
  ],
];

/** What must not be printed is spelled `hush` in each. */
const bad: readonly (readonly [string, BrokerSettings, RegExp])[] = [
  ['another scheme', { url: 'http://u:hush@a' }, /begins with/],
  ['no scheme', { url: 'u:hush@a:9092' }, /begins with/],
  ['nothing', { url: '' }, /begins with/],
  ['no host', { url: 'kafka://' }, /Host 1/],
  ['an empty host', { url: 'kafka://u:hush@a,,b' }, /Host 2/],
  ['a host with a space', { url: 'kafka://u:hush@a b' }, /Host 1/],
  ['a password with a slash', { url: 'kafka://u:hush/hush@a' }, /no path/],
  ['a password with a comma and an at', { url: 'kafka://u:p@hush,hush!@a,%' }, /Host 2/],
  ['a path', { url: 'kafka://a/topic' }, /no path/],
  ['port 0', { url: 'kafka://u:hush@a:0' }, /port/],
  ['a port too high', { url: 'kafka://u:hush@a:65536' }, /port/],
  ['a port in words', { url: 'kafka://u:hush@a:hush' }, /port/],
  ['bad encoding', { url: 'kafka://u:hush%zz@a' }, /encodes nothing/],
  ['an unknown parameter', { url: 'kafka://u:hush@a?tsl=1' }, /"tsl"/],
  ['an unknown mechanism', { url: 'kafka://u:hush@a?mechanism=md5' }, /"md5"/],
  ['tls=yes', { url: 'kafka://u:hush@a?tls=yes' }, /tls/],
  ['kafkas without TLS', { url: 'kafkas://u:hush@a?tls=0' }, /encrypted/],
  ['a user alone', { url: 'kafka://hush@a' }, /no password/],
  ['a password alone', { url: 'kafka://a', password: 'hush' }, /no user/],
  ['SCRAM without a user', { url: 'kafka://a?mechanism=scram-sha-512' }, /no user/],
  ['a token that nobody makes', { url: 'kafka://a?mechanism=oauthbearer' }, /source of tokens/],
  ['a user and a token', { url: 'kafka://u:hush@a', token }, /too many/],
  ['certificates without TLS', { url: 'kafka://a', tls: { ca: 'hush' } }, /no TLS/],
  ['a certificate alone', { url: 'kafkas://a', tls: { cert: 'hush' } }, /without its key/],
  ['a key alone', { url: 'kafkas://a', tls: { key: 'hush' } }, /without its certificate/],
  ['a file that is not there', { url: 'kafkas://a?ca=/no/such.pem' }, /\?ca=.*ENOENT/],
  ['a file without TLS', { url: 'kafka://a?ca=/no/such.pem' }, /no TLS/],
  [
    'half of a pair of files',
    { url: `kafkas://a?cert=${import.meta.filename}` },
    /without its key/,
  ],
  ['a path as certificate', { url: 'kafkas://a', tls: { ca: '/etc/hush.pem' } }, /cannot be used/],
  ['Event Hubs without a key', { url: `eventhubs://${namespace}` }, /connection string/],
  ['half a string', { url: 'Endpoint=sb://a/;SharedAccessKeyName=hush' }, /no SharedAccessKey\./],
  ['a nameless key', { url: 'Endpoint=sb://a/;SharedAccessKey=hush' }, /no SharedAccessKeyName/],
  ['no endpoint', { url: 'Endpoint=sb:///;SharedAccessKey=hush' }, /no Endpoint/],
  ['a part without =', { url: 'Endpoint=sb://a/;hush' }, /without a name/],
  ['MSK without a region', { url: 'msk://b-1.x' }, /region/],
  ['MSK with half a user', { url: 'msk://hush@b-1.x' }, /no password/],
  ['Confluent without a key', { url: 'confluent://pkc-1' }, /no user/],
  ['a client id with blanks', { url: 'kafka://a', clientId: 'a b' }, /client id/],
  ['no time', { url: 'kafka://a', connectTimeoutMs: 0 }, /connectTimeoutMs/],
  ['no number', { url: 'kafka://a', publishTimeoutMs: Number.NaN }, /publishTimeoutMs/],
];

describe('settings of the Kafka client', () => {
  for (const [settings, expected] of good) {
    it(`takes ${settings.url}${settings.token ? ' with a token' : ''}`, async () => {
      const { address, mechanism, tls, client } = await clientSettings(settings);
      const { username, password } = client.sasl ?? {};
      const found = [address, mechanism, tls, username, password];
      assert.deepEqual(found.slice(0, expected.length), expected);
      if (expected.length === 3) assert.equal(password, undefined);
      assert.equal(client.tls !== undefined, tls);
    });
  }

  for (const [what, settings, message] of bad) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(clientSettings(settings), (error) => {
        assert.ok(error instanceof MillraceError, String(error));
        assert.equal(error.code, 'CONFIG_INVALID');
        assert.match(error.message, message);
        assert.ok(error.fix.length > 10);
        assert.doesNotMatch(inspect(error, { depth: 9 }).replaceAll(/file:\S+/g, ''), /hush/);
        return true;
      });
    });
  }

  it('asks for the name of the host where hosts are names, as clouds need', async () => {
    assert.equal((await clientSettings({ url: 'kafkas://a' })).client.tlsServerName, true);
    assert.equal((await clientSettings({ url: 'kafkas://127.0.0.1' })).client.tlsServerName, false);
    const named = await clientSettings({ url: 'kafkas://127.0.0.1', tls: { serverName: 'b' } });
    assert.equal(named.client.tls?.servername, 'b');
    assert.equal(named.client.tlsServerName, undefined);
  });

  it('takes secrets out of text', async () => {
    const { redact } = await clientSettings({ url: 'kafka://user:p%40ssword@a' });
    assert.equal(redact('user p@ssword and p%40ssword'), 'user *** and ***');
    const hubs = await clientSettings({ url: connection });
    assert.equal(hubs.redact(`a ${connection} b`), 'a *** b');
    assert.equal(hubs.redact(`key ${key}`), 'key ***');
    assert.equal(hubs.redact('SharedAccessKey=other;x'), 'SharedAccessKey=***;x');
    assert.equal(hubs.redact('kafka://u:other@a'), 'kafka://u:***@a');
    assert.equal(hubs.redact('X-Amz-Signature=0f&y=1'), 'X-Amz-Signature=***&y=1');
    const fresh = async () => ({ token: 'a.b.c-token', expiresAt: Date.now() + 60_000 });
    const bearer = await clientSettings({ url: 'kafka://a', token: fresh });
    assert.equal(bearer.redact('got a.b.c-token'), 'got a.b.c-token');
    const ask = bearer.client.sasl?.token;
    assert.ok(typeof ask === 'function');
    await ask();
    assert.equal(bearer.redact('got a.b.c-token'), 'got ***');
  });

  it('has each scheme once, and openBroker knows all of them', () => {
    const schemes = kafkaPresets.flatMap((preset) => preset.schemes);
    assert.equal(new Set(schemes).size, schemes.length);
    for (const scheme of schemes) assert.equal(brokerScheme(`${scheme}://a`), scheme);
    assert.equal(brokerScheme(connection), 'eventhubs');
  });
});

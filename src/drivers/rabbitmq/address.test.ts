import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from '../../core/errors.ts';
import type { BrokerSettings } from '../../ports/broker.ts';
import { addressOf } from './address.ts';

async function optionsOf(settings: BrokerSettings) {
  const address = addressOf(settings);
  return { hosts: address.hosts, ...(await address.options(address.hosts[0] as string)) };
}

test('reads hosts, credentials and the virtual host', async () => {
  const plain = await optionsOf({ url: 'amqp://rabbit' });
  assert.deepEqual(plain.hosts, ['rabbit:5672']);
  assert.deepEqual(
    [plain.username, plain.password, plain.vhost, plain.tls],
    ['guest', 'guest', '/', undefined],
  );
  const full = await optionsOf({ url: 'amqps://a%40b:p%3Aw%2F@one:1,two,[::1]:3/my%2Fhost?x=1' });
  assert.deepEqual(full.hosts, ['one:1', 'two:5671', '[::1]:3']);
  assert.deepEqual([full.username, full.password, full.vhost], ['a@b', 'p:w/', 'my/host']);
  assert.deepEqual(full.tls, { servername: 'one' });
  const six = addressOf({ url: 'amqp://[::1]:80' });
  assert.deepEqual(six.hosts, ['[::1]:80']);
  assert.equal((await six.options('[::1]:80')).hostname, '::1');
});

test('settings go before the URL, and a token before the password', async () => {
  const url = 'amqp://user:secret@host';
  const given = await optionsOf({ url, username: 'other', password: 'more' });
  assert.deepEqual([given.username, given.password], ['other', 'more']);
  const expiresAt = 1_900_000_000_000;
  const token = async () => ({ token: 'eyJ', expiresAt });
  const withToken = await optionsOf({ url, token });
  assert.deepEqual([withToken.username, withToken.password], ['user', 'eyJ']);
  assert.equal(withToken.expiresAt, expiresAt);
  const tls = await optionsOf({ url, tls: { ca: 'PEM', serverName: 'rabbit' } });
  assert.deepEqual(tls.hosts, ['host:5671']);
  assert.deepEqual(tls.tls, { servername: 'rabbit', ca: 'PEM', host: 'host' });
});

test('what is no address is told without its password', () => {
  const written = ['amqp://user:secret@a b', 'amqp://user:x@secret@host', 'amqp://u:1/secret@host'];
  for (const url of ['http://x', 'amqp://', 'amqp:host', '', ...written]) {
    assert.throws(
      () => addressOf({ url }),
      (error) => {
        assert.ok(error instanceof MillraceError && error.code === 'CONFIG_INVALID', url);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
});

/** A URL that cannot be used is told of without the password in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { connect, connectJobs, openBroker } from './connect.ts';
import { MillraceError } from './core/errors.ts';

const parts = ['user:s3cret@host', ':pa/s3cret@host', 'user:pa@s3cret@ho st', 'user:pa#s3cret@:x'];
const openers = {
  connect: { open: (url: string) => connect(url), schemes: ['mysql', 'jdbc:postgres'] },
  connectJobs: { open: (url: string) => connectJobs(url), schemes: ['mysql', 'redis+tls'] },
  openBroker: {
    open: (url: string) => openBroker(url),
    schemes: ['nats', 'kafka+tls', 'redis', 'rediss', 'amqp', 'amqps', 'kafka', 'msk'],
  },
};

for (const [name, { open, schemes }] of Object.entries(openers)) {
  for (const scheme of schemes) {
    test(`${name}: ${scheme}:// with a password`, async () => {
      for (const part of scheme.startsWith('mysql') ? parts : parts.slice(1)) {
        await assert.rejects(open(`${scheme}://${part}`), (error) => {
          assert.ok(error instanceof MillraceError && error.code === 'CONFIG_INVALID', `${error}`);
          assert.doesNotMatch(inspect(error, { depth: 9 }), /s3cret/, part);
          return true;
        });
      }
    });
  }
}

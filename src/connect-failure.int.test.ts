/** The first errors that a user of an own server meets, as `connect` says them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { connect, connectJobs } from './connect.ts';
import { connectFailure } from './drivers/postgres/connect-failure.ts';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from './drivers/postgres/embedded/launcher.ts';

let directory = '';
let postgres: EmbeddedPostgres;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-refused-'));
  postgres = await startEmbeddedPostgres({ directory });
});
after(async () => {
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
});

test('a database that is not there is named, with what to do', async () => {
  const url = postgres.url.replace('@/postgres?', '@/absent?');
  for (const open of [connect, connectJobs]) {
    await assert.rejects(open(url), {
      code: 'STORE_MISCONFIGURED',
      message: 'Postgres refuses: database "absent" does not exist',
      fix: /Create the database/,
    });
  }
});

test('so is a user who is unknown, and one who may not make the schema', async () => {
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  await client.query('create role weak login');
  await client.end();
  const as = (user: string) => connect(postgres.url.replace('//postgres@', `//${user}@`));
  await assert.rejects(as('weak'), {
    code: 'STORE_MISCONFIGURED',
    message: /Postgres refuses: permission denied/,
    fix: /CREATEROLE and CREATE on the database/,
  });
  await assert.rejects(as('nobody'), {
    code: 'STORE_MISCONFIGURED',
    fix: /user and password/,
  });
});

test('without migrations the roles are missing', async () => {
  await assert.rejects(connect(postgres.url, { migrate: false }), {
    code: 'STORE_MISCONFIGURED',
    fix: /migrate: true/,
  });
});

test('passwords, TLS and what it does not know', () => {
  const failure = (code: string, message: string) =>
    connectFailure(Object.assign(new Error(message), { code })) as { code: string; fix: string };
  assert.match(failure('28P01', 'password authentication failed').fix, /user and password/);
  assert.match(failure('', 'SASL: client password must be a string').fix, /user and password/);
  assert.match(failure('SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate').fix, /sslmode/);
  assert.equal(failure('42P01', 'relation "x" does not exist').code, '42P01');
});

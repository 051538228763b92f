/**
 * Databases for tests: one fresh database per file, on an embedded Postgres or on DATABASE_URL.
 *
 * Node runs each test file in a process of its own. When scripts/test.ts has started a server for
 * all of them, its URL is in MILLRACE_TEST_URL; otherwise the first file that asks starts one for
 * its process (0.7 s), stopped after the file's last test and by its own watcher if we are killed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { after, describe } from 'node:test';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/drivers/postgres/embedded/launcher.ts';

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  drop(): Promise<void>;
}

export interface TestServer {
  readonly name: string;
  fresh(): Promise<TestDatabase>;
}

const embedded: TestServer = { name: 'embedded Postgres', fresh: () => freshDatabase() };

let ownServer: Promise<string> | null = null;
let stopServer = async () => {};
let stopped = false;
// At the root of the file: inside a suite it would run at the end of that suite.
after(() => stopServer());

/** A new, empty database. Drop it when done: the server may be shared by the whole run. */
export async function freshDatabase(serverUrl?: string): Promise<TestDatabase> {
  ownServer ??= serverUrl === undefined ? startServer() : null;
  const server = serverUrl ?? ((await ownServer) as string);
  const name = `millrace_test_${crypto.randomUUID().replaceAll('-', '')}`;
  await administer(server, `create database ${name}`);
  const drop = async () => {
    if (stopped && serverUrl === undefined) return; // gone with its server
    await administer(server, `drop database if exists ${name} with (force)`);
  };
  return { url: databaseUrl(server, name), drop, [Symbol.asyncDispose]: drop };
}

/**
 * Runs a suite on the embedded Postgres always, and on DATABASE_URL when it is set. What is not run
 * shows up as skipped, with the reason.
 */
export function eachPostgres(name: string, suite: (server: TestServer) => void): void {
  describe(`${name} on the ${embedded.name}`, () => suite(embedded));
  const url = process.env.DATABASE_URL;
  if (url) {
    const outside = { name: 'Postgres of DATABASE_URL', fresh: () => freshDatabase(url) };
    describe(`${name} on the ${outside.name}`, () => suite(outside));
  } else {
    describe(`${name} on an outside Postgres`, { skip: 'DATABASE_URL is not set' }, () => {});
  }
}

async function startServer(): Promise<string> {
  const shared = process.env.MILLRACE_TEST_URL;
  if (shared) return shared;
  const root = await mkdtemp(path.join(tmpdir(), 'millrace-test-'));
  const postgres = await startEmbeddedPostgres({ directory: path.join(root, 'postgres') });
  stopServer = async () => {
    stopped = true;
    await postgres.stop('immediate'); // throw-away data: no checkpoint needed
    await rm(root, { recursive: true, force: true });
  };
  return postgres.url;
}

async function administer(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** The same server, another database. The embedded URL has no host, so `URL` cannot parse it. */
export function databaseUrl(server: string, name: string): string {
  return server.replace(/^(postgres(?:ql)?:\/\/[^/?]*)(?:\/[^?]*)?/, `$1/${name}`);
}

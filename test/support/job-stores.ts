/**
 * Places for tests of jobs through the faces: a fresh database on the embedded Postgres always, and
 * keys of its own on Redis when REDIS_URL is set. What is not run shows up as skipped.
 */
import { after, before, describe } from 'node:test';
import { freshPrefix } from '../../src/drivers/redis/test-keys.ts';
import { freshDatabase, type TestDatabase } from './database.ts';

/** What faces are made with to reach it. */
export type FaceConnection =
  | { readonly redis: { readonly url: string } }
  | { readonly postgres: { readonly url: string } };

export interface JobPlace {
  readonly name: string;
  /** Known once the suite runs. */
  connection(): FaceConnection;
}

/**
 * Runs a suite on each store. QUEUE_PREFIX keeps the tests of one file and store apart from all
 * others, as it does for users who share a server.
 */
function onEachStore(name: string, run: (place: JobPlace) => void): void {
  describe(`${name} on the embedded Postgres`, () => {
    let database: TestDatabase;
    before(async () => {
      database = await freshDatabase();
      process.env.QUEUE_PREFIX = `test-${crypto.randomUUID().slice(0, 8)}`;
    });
    after(() => database.drop());
    run({ name: 'postgres', connection: () => ({ postgres: { url: database.url } }) });
  });
  const url = process.env.REDIS_URL;
  if (url === undefined || url === '') {
    describe(`${name} on Redis`, { skip: 'REDIS_URL is not set' }, () => {});
    return;
  }
  describe(`${name} on Redis`, () => {
    const { prefix, remove } = freshPrefix(url);
    before(() => {
      process.env.QUEUE_PREFIX = prefix;
    });
    after(remove);
    run({ name: 'redis', connection: () => ({ redis: { url } }) });
  });
}

export const suite = { onEachStore };

/**
 * What the launcher's tests share: directories that go away, servers that are ended, one query.
 * Only processes that a test started are ended, by their handle.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { MillraceError } from '../../../core/errors.ts';
import { type EmbeddedOptions, type EmbeddedPostgres, startEmbeddedPostgres } from './launcher.ts';

interface Ending {
  readonly directory: string;
  end(): Promise<void>;
}

const endings = new Set<Ending>();

/** Registers what must end before a temporary directory goes. */
export function endBeforeRemoval(directory: string, end: () => Promise<void>): void {
  endings.add({ directory, end });
}

/** A directory that everybody may enter, as /tmp is; it goes after the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const made = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-test-'));
  await fs.chmod(made, 0o755);
  const directory = await fs.realpath(made);
  t.after(async () => {
    for (const ending of endings) {
      if (!ending.directory.startsWith(directory)) continue;
      endings.delete(ending);
      await ending.end();
    }
    await fs.rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  return directory;
}

/** Starts a small server that ends with the temporary directory it is in. */
export async function start(
  directory: string,
  options: Partial<EmbeddedOptions> = {},
): Promise<EmbeddedPostgres> {
  const settings = { shared_buffers: '16MB', ...options.settings };
  const server = await startEmbeddedPostgres({ ...options, directory, settings });
  endBeforeRemoval(server.directory, () => server.stop('immediate'));
  return server;
}

export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** Asserts that the promise rejects with this code and message; answers with the error. */
export async function assertRejectsWith(
  promise: Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<MillraceError> {
  const error = await promise.then(
    () => assert.fail('expected an error'),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof MillraceError, `unexpected: ${error}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return error;
}

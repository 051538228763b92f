/** Whether a lock file whose pid is somebody else's belongs to a server that is still there. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { type TestContext, test } from 'node:test';
import { isMillraceError } from '../../../core/errors.ts';
import { clearServer } from './server-lock.ts';

const skip = process.platform === 'win32' && 'there are no unix sockets';

/** A lock file of our own pid, which is no server's, and a socket where `serve` sits. */
async function clear(t: TestContext, serve: (socket: net.Socket) => void): Promise<string> {
  const root = await fs.mkdtemp(path.join(tmpdir(), 'lock-'));
  const server = net.createServer(serve);
  await new Promise<void>((resolve) => server.listen(path.join(root, '.s.PGSQL.5432'), resolve));
  t.after(async () => {
    server.close();
    await fs.rm(root, { recursive: true });
  });
  const lines = [process.pid, root, 0, 5432, root, '', '', 'ready'];
  await fs.writeFile(path.join(root, 'postmaster.pid'), `${lines.join('\n')}\n`);
  try {
    await clearServer(root, root, false, () => undefined);
    return 'cleared';
  } catch (error) {
    return isMillraceError(error) ? error.code : String(error);
  }
}

test('a socket that only the dying children of a killed server hold is nobody', {
  skip,
}, async (t) => {
  assert.equal(await clear(t, (socket) => void setTimeout(() => socket.destroy(), 100)), 'cleared');
});

test('a server answers, and keeps its data', { skip }, async (t) => {
  assert.equal(
    await clear(t, (socket) => void socket.once('data', () => socket.end('N'))),
    'EMBEDDED_BUSY',
  );
});

test('one that is silent is taken for a busy one', { skip }, async (t) => {
  const open: net.Socket[] = [];
  assert.equal(await clear(t, (socket) => void open.push(socket)), 'EMBEDDED_BUSY');
  for (const socket of open) socket.destroy();
});

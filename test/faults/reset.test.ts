/** A process that reset sockets in the middle of their end must end itself. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);

const moments = {
  'while its FIN is under way': 'socket.end(); reset(socket); destroy(socket);',
  'and destroyed in the same turn': 'reset(socket); destroy(socket);',
  'and destroyed a turn later': 'reset(socket); setImmediate(() => destroy(socket));',
  'with bytes that nobody reads':
    'socket.write(Buffer.alloc(50e6)); reset(socket); setTimeout(() => destroy(socket), 20);',
  twice: 'reset(socket); setImmediate(() => reset(socket));',
};

for (const [moment, act] of Object.entries(moments)) {
  test(`a socket is reset ${moment}: the process ends`, async () => {
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', scriptOf(act)], {
      timeout: 10_000,
    });
    assert.equal(stdout, 'closed\n');
  });
}

function scriptOf(act: string): string {
  return `
    import net from 'node:net';
    import { destroy, reset } from '${new URL('./reset.ts', import.meta.url)}';
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('close', () => console.log('closed'));
      ${act}
    });
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1');
      client.on('error', () => {});
      setTimeout(() => { client.destroy(); server.close(); }, 200);
    });
  `;
}

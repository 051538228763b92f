/** Ports on loopback: free ones for servers that a test starts, and whether somebody listens. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import * as net from 'node:net';

/**
 * Below the range from which the system gives ports to clients (32,768 and up): between now and the
 * server's start, or its restart, no connection of another test takes one of them.
 */
const [lowest, highest] = [12_000, 32_000];

/** Held all at once until all are found, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const held: net.Server[] = [];
  while (held.length < count) {
    const server = net.createServer();
    try {
      server.listen(randomInt(lowest, highest), '127.0.0.1');
      await once(server, 'listening');
      held.push(server);
    } catch {
      // Somebody has it.
    }
  }
  const ports = held.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(held.map((server) => once(server.close(), 'close')));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

export async function isListening(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * A TCP proxy in front of a broker, whose connections can be made slow, reset, silent or deaf. It
 * listens before its target is known, so that a broker can be told to advertise the proxy's port.
 */
import * as net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { destroy, reset } from './reset.ts';

export type OneWay = 'to-broker' | 'from-broker';

export class FaultyProxy {
  readonly #server: net.Server;
  readonly #pairs = new Set<Pair>();
  target = 0;
  port = 0;
  /** Each chunk is held for this long and up to half as long again; order is kept. */
  latencyMs = 0;
  /** New connections are closed at once. */
  refusing = false;
  /** Connections so far: proof that somebody comes this way. */
  connections = 0;

  private constructor() {
    this.#server = net.createServer((client) => this.#connect(client));
  }

  static async listening(target = 0): Promise<FaultyProxy> {
    const proxy = new FaultyProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.port = (proxy.#server.address() as net.AddressInfo).port;
    proxy.target = target;
    return proxy;
  }

  /** Ends every connection by a reset, in the middle of whatever it carries. */
  reset(): number {
    const count = this.#pairs.size;
    for (const pair of this.#pairs) pair.reset();
    return count;
  }

  /** From here on no byte passes on the connections there are, and none of them is closed. */
  silence(): number {
    for (const pair of this.#pairs) pair.swallow('both');
    return this.#pairs.size;
  }

  /** The connections there are lose what goes this way; the other way still works. */
  loseOneWay(way: OneWay): number {
    for (const pair of this.#pairs) pair.swallow(way);
    return this.#pairs.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs) pair.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #connect(client: net.Socket): void {
    client.on('error', () => {});
    if (this.refusing) {
      reset(client);
      return;
    }
    this.connections += 1;
    const pair: Pair = new Pair(client, this.target, this, () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
  }
}

class Pair {
  readonly #client: net.Socket;
  readonly #server: net.Socket;
  #swallows: OneWay | 'both' | null = null;

  constructor(client: net.Socket, port: number, proxy: FaultyProxy, closed: () => void) {
    this.#client = client;
    this.#server = net.connect({ port, host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    this.#carry(client, this.#server, 'to-broker', proxy);
    this.#carry(this.#server, client, 'from-broker', proxy);
    for (const [socket, other] of [
      [client, this.#server],
      [this.#server, client],
    ] as const) {
      socket.on('error', () => destroy(other));
      socket.on('close', () => {
        closed();
        // A silent connection stays open for whoever waits on it.
        if (this.#swallows === null || socket === client) destroy(other);
      });
    }
  }

  reset(): void {
    reset(this.#client);
    reset(this.#server);
  }

  swallow(way: OneWay | 'both'): void {
    this.#swallows = way;
  }

  #carry(from: net.Socket, to: net.Socket, way: OneWay, proxy: FaultyProxy): void {
    // Later chunks wait for earlier ones, whatever the latency says meanwhile.
    let sent: Promise<unknown> = Promise.resolve();
    let held = 0;
    from.on('data', (chunk) => {
      if (this.#swallows === way || this.#swallows === 'both') return;
      if (proxy.latencyMs === 0 && held === 0) {
        to.write(chunk);
        return;
      }
      held += 1;
      const delay = sleep(proxy.latencyMs * (1 + Math.random() / 2));
      sent = Promise.all([sent, delay]).then(() => {
        held -= 1;
        if (to.writable) to.write(chunk);
      });
    });
  }
}

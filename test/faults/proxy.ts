/**
 * A TCP proxy in front of Postgres that loses answers: on command it lets one client message
 * through and then cuts the connection before the client hears what became of it.
 */
import * as net from 'node:net';
import { destroy, reset } from './reset.ts';

export type CutMoment =
  /** Not by us: the message never arrives, and the connection stays until the server goes. */
  | 'withheld'
  /** As soon as the message is on its way: the server may or may not get to the commit. */
  | 'at-once'
  /** When the server has answered, so the commit has happened; the answer is swallowed. */
  | 'after-answer'
  /** Never: the connection stays, and says nothing any more. */
  | 'silent';

interface Trap {
  matches(message: Buffer): boolean;
  readonly moment: CutMoment;
  sprung(): void;
}

/** How a commit is sent: as the message of a simple query. */
export const commitMessage = 'Q\0\0\0\x0bcommit\0';

export class CuttingProxy {
  readonly #server: net.Server;
  readonly #connections = new Set<net.Socket>();
  readonly #target: number;
  #traps: Trap[] = [];
  #frozen = false;
  port = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = net.createServer((client) => this.#connect(client));
  }

  static async listening(target: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.port = (proxy.#server.address() as net.AddressInfo).port;
    return proxy;
  }

  /** Cuts the next connection that sends a message containing one of these texts. */
  cutNext(texts: readonly string[], moment: CutMoment): Promise<void> {
    return new Promise((resolve) => {
      const matches = (message: Buffer) => texts.some((text) => message.includes(text));
      this.#traps.push({ matches, moment, sprung: resolve });
    });
  }

  /** From here on no byte passes on the connections there are, and none of them is closed. */
  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#connections) socket.pause();
  }

  /** New connections work again; those that were frozen stay so. */
  thaw(): void {
    this.#frozen = false;
  }

  /** Ends the connections there are, frozen or not; new ones work. */
  cutAll(): void {
    for (const socket of this.#connections) reset(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) destroy(socket);
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #connect(client: net.Socket): void {
    const server = net.connect({ port: this.#target, host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    let swallowing = false;
    const cut = () => {
      reset(client);
      destroy(server);
    };
    client.on('data', (message) => {
      const at = swallowing ? -1 : this.#traps.findIndex((trap) => trap.matches(message));
      const [trap] = at < 0 ? [] : this.#traps.splice(at, 1);
      if (trap?.moment !== 'withheld') server.write(message);
      if (!trap) return;
      swallowing = true;
      trap.sprung();
      if (trap.moment === 'silent' || trap.moment === 'withheld') return;
      if (trap.moment === 'at-once') server.end(() => setImmediate(cut));
      else server.once('data', cut);
    });
    server.on('data', (message) => {
      if (!swallowing) client.write(message);
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#connections.add(socket);
      socket.on('error', () => destroy(other));
      socket.on('close', () => {
        this.#connections.delete(socket);
        destroy(other);
      });
    }
    if (this.#frozen) {
      client.pause();
      server.pause();
    }
  }
}

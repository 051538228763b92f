/**
 * One connection to the server that comes back by itself. The client's own reconnecting is not
 * used: each attempt is a connection of ours, so that it has a fresh token, the next node of a
 * cluster, and an error that somebody hears of.
 *
 *   opening ──▶ open ──lost, or the token ends──▶ waiting (50 ms … 3 s) ──▶ opening
 *
 * Invariant: channels of a connection are over before `onLost` listeners are told.
 */
import { type Channel, Connection } from 'rabbitmq-client';
import type { Address } from './address.ts';
import { frameMax } from './address.ts';
import { codeOf, translate, unavailable, within } from './failures.ts';

const backoffMsMin = 50;
const backoffMsMax = 3_000;
/** Of a token's life that is left when the connection is made anew. */
const renewShare = 0.2;
const farewellMsMax = 2_000;
/** The client's own backoff never comes to pass. */
const never = 2_000_000_000;

export interface LinkListener {
  /** The connection is gone; a new one is on its way. */
  onLost(error: unknown): void;
  /** It stands again. */
  onOpen(): void;
  /** It will be ended, in order, when the promise has resolved. */
  onLeaving(): Promise<void>;
}

export class Link {
  readonly #address: Address;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #listeners = new Set<LinkListener>();
  #connection: Connection | null = null;
  #opening: Promise<Connection> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #renewal: NodeJS.Timeout | null = null;
  #attempts = 0;
  #host = 0;
  #closed = false;
  #frameBytes = frameMax;
  #lastError: unknown = null;

  constructor(address: Address, onError: (error: unknown, where: string) => void) {
    this.#address = address;
    this.#onError = onError;
  }

  /** The largest frame that both sides take. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  get isOpen(): boolean {
    return this.#connection !== null;
  }

  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first time: every node is tried once.
   * @throws MillraceError BROKER_UNAVAILABLE, BROKER_DENIED
   */
  async open(): Promise<void> {
    for (let left = this.#address.hosts.length; ; left -= 1) {
      try {
        await this.#attempt();
        return;
      } catch (error) {
        const failure = translate(error, `connecting to ${this.#address.text}`);
        if (left <= 1 || failure.code === 'BROKER_DENIED') throw failure;
      }
    }
  }

  /**
   * A new channel. Waits for a connection that is coming back, as long as connecting may take.
   * @throws MillraceError BROKER_UNAVAILABLE, BROKER_DENIED
   */
  async channel(): Promise<Channel> {
    const connection = this.#connection ?? (await this.#awaited());
    try {
      const channel = await connection.acquire({ emitErrorsFromChannel: true });
      channel.on('error', () => {}); // every call hears of its own failure, the rest of 'close'
      return channel;
    } catch (error) {
      throw translate(error, 'opening a channel');
    }
  }

  /** For one thing to do: a refusal ends a channel, so each has its own. */
  async use<T>(work: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = await this.channel();
    try {
      return await work(channel);
    } finally {
      void channel.close();
    }
  }

  /**
   * What is sent in this turn of the loop leaves in one write. The client makes one per message,
   * and those writes take a quarter of the time that publishing costs.
   */
  gather(): void {
    const socket = this.#connection === null ? null : socketOf(this.#connection);
    if (socket === null) return;
    socket.cork();
    process.nextTick(() => socket.uncork());
  }

  /** Gives the connection up, with whatever waits to be sent. */
  drop(reason: unknown): void {
    if (this.#connection !== null) this.#lost(this.#connection, reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    await this.#opening?.catch(() => {});
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) await farewell(connection);
  }

  async #awaited(): Promise<Connection> {
    if (this.#closed) throw unavailable('the broker is closed');
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = this.listen({ onOpen: resolve, onLost() {}, async onLeaving() {} });
    this.#reconnect();
    try {
      await within(promise, this.#address.connectTimeoutMs, 'connecting');
    } catch (error) {
      throw this.#lastError === null ? error : translate(this.#lastError, 'connecting again');
    } finally {
      stop();
    }
    return this.#connection ?? this.#awaited();
  }

  #attempt(): Promise<Connection> {
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #connect(): Promise<Connection> {
    const { hosts } = this.#address;
    const host = hosts[this.#host % hosts.length] as string;
    this.#host += 1;
    try {
      const { expiresAt, ...options } = await this.#address.options(host);
      const own = { ...options, frameMax: this.#frameBytes, retryLow: never, retryHigh: never };
      const connection = new Connection(own);
      await opened(connection);
      const agreed = agreedFrameBytes(connection);
      if (agreed < this.#frameBytes) {
        // The client counts incoming frames by what it asked for, not by what was agreed.
        this.#frameBytes = agreed;
        connection.unsafeDestroy();
        this.#host -= 1;
        return await this.#connect();
      }
      if (this.#closed) {
        connection.unsafeDestroy();
        throw unavailable('the broker is closed');
      }
      this.#opened(connection, expiresAt);
      return connection;
    } catch (error) {
      this.#lastError = error;
      throw error;
    }
  }

  #opened(connection: Connection, expiresAt: number | null): void {
    this.#connection = connection;
    this.#attempts = 0;
    this.#lastError = null;
    connection.on('error', (error) => this.#lost(connection, error));
    if (expiresAt !== null) this.#renewBefore(connection, expiresAt);
    for (const listener of [...this.#listeners]) listener.onOpen();
  }

  #lost(connection: Connection, error: unknown): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    connection.unsafeDestroy();
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    this.#onError(translate(error, 'the connection'), 'connection');
    for (const listener of [...this.#listeners]) listener.onLost(error);
    this.#reconnect();
  }

  #reconnect(): void {
    if (this.#closed || this.#timer !== null || this.#opening !== null) return;
    if (this.#connection !== null) return;
    const most = Math.min(backoffMsMax, backoffMsMin * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#attempt().catch((error: unknown) => {
          const failure = translate(error, `connecting to ${this.#address.text} again`);
          if (!this.#closed) this.#onError(failure, 'connecting again');
          this.#reconnect();
        });
      },
      most * (0.5 + Math.random() / 2),
    );
  }

  /** A server ends connections with their token: ours moves before, with nothing under way. */
  #renewBefore(connection: Connection, expiresAt: number): void {
    const left = expiresAt - Date.now();
    const delay = Math.min(Math.max(left * (1 - renewShare), 1_000), 2_147_483_647);
    this.#renewal = setTimeout(() => {
      void Promise.allSettled([...this.#listeners].map((one) => one.onLeaving())).then(() => {
        if (this.#connection !== connection) return;
        this.#connection = null;
        void farewell(connection);
        this.#reconnect();
      });
    }, delay);
    this.#renewal.unref();
  }
}

async function opened(connection: Connection): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  connection.once('connection', resolve);
  connection.once('error', reject);
  try {
    await promise;
  } catch (error) {
    connection.on('error', () => {});
    connection.unsafeDestroy();
    throw codeOf(error) === 'CONN_CLOSE' ? unavailable('the server hung up', error) : error;
  }
  connection.off('error', reject);
}

/** The client does not tell; without its answer, what was asked for. */
function agreedFrameBytes(connection: Connection): number {
  const { _state } = connection as unknown as { readonly _state?: { readonly frameMax?: unknown } };
  return typeof _state?.frameMax === 'number' ? _state.frameMax : frameMax;
}

interface Corkable {
  cork(): void;
  uncork(): void;
}

/** The client has no word for it; without the socket, each message is a write as ever. */
export function socketOf(connection: Connection): Corkable | null {
  const { _socket } = connection as unknown as { readonly _socket?: Partial<Corkable> };
  const isThere = typeof _socket?.cork === 'function' && typeof _socket.uncork === 'function';
  return isThere ? (_socket as Corkable) : null;
}

/** Channels that stay open, or a server that is silent, would keep it waiting. */
async function farewell(connection: Connection): Promise<void> {
  try {
    await within(connection.close(), farewellMsMax, 'closing');
  } catch {
    connection.unsafeDestroy();
  }
}

/**
 * A broker that is opened when it is needed, and again after that failed: a process can start, take
 * commands and say what is wrong while its broker is away. Once open it only hands calls on.
 */
import { MillraceError } from '../core/errors.ts';
import type { Broker, BrokerCapabilities, BrokerHealth } from '../ports/broker.ts';

/** Until it has told: what every broker of ours but the log itself has in common. */
const assumed: BrokerCapabilities = {
  createsTopics: true,
  replays: true,
  keepsWithoutGroup: true,
  deduplicates: false,
  staticMembership: false,
  eventBytesMax: null,
};

export class PatientBroker implements Broker {
  readonly #name: string;
  readonly #open: () => Promise<Broker>;
  #broker: Broker | null = null;
  #opening: Promise<Broker> | null = null;
  #closed = false;

  /** @param open a client of its own at each call; rejects while the broker is away. */
  constructor(name: string, open: () => Promise<Broker>) {
    this.#name = name;
    this.#open = open;
  }

  get name(): string {
    return this.#broker?.name ?? this.#name;
  }

  get capabilities(): BrokerCapabilities {
    return this.#broker?.capabilities ?? assumed;
  }

  async publish(...given: Parameters<Broker['publish']>): Promise<void> {
    return (this.#broker ?? (await this.ready())).publish(...given);
  }

  async subscribe(...given: Parameters<Broker['subscribe']>): ReturnType<Broker['subscribe']> {
    return (this.#broker ?? (await this.ready())).subscribe(...given);
  }

  async createTopics(...given: Parameters<Broker['createTopics']>): Promise<void> {
    return (this.#broker ?? (await this.ready())).createTopics(...given);
  }

  async topics(...given: Parameters<Broker['topics']>): ReturnType<Broker['topics']> {
    return (this.#broker ?? (await this.ready())).topics(...given);
  }

  async deleteTopics(...given: Parameters<Broker['deleteTopics']>): Promise<void> {
    return (this.#broker ?? (await this.ready())).deleteTopics(...given);
  }

  async lag(...given: Parameters<Broker['lag']>): ReturnType<Broker['lag']> {
    return (this.#broker ?? (await this.ready())).lag(...given);
  }

  async health(): Promise<BrokerHealth> {
    try {
      return await (await this.ready()).health();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      return { ok: false, problem, latencyMs: null };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const broker = this.#broker ?? (await this.#opening?.catch(() => null));
    await broker?.close();
  }

  /** Opens it, if that has not succeeded before. One try for all who ask at the same time. */
  ready(): Promise<Broker> {
    if (this.#broker !== null) return Promise.resolve(this.#broker);
    if (this.#closed) {
      return Promise.reject(new MillraceError('SHUTTING_DOWN', 'The broker was closed.'));
    }
    this.#opening ??= this.#open()
      .then((broker) => {
        this.#broker = broker;
        return broker;
      })
      .finally(() => {
        this.#opening = null;
      });
    return this.#opening;
  }
}

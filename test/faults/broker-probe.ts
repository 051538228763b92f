/**
 * Looks at the broker itself, as a group of its own: does each partition of the topic have the log
 * in order and without holes? The workers would never tell, since they fill holes from the log.
 */
import { openBroker } from '../../src/connect.ts';
import type { Broker, BrokerSettings } from '../../src/ports/broker.ts';

export interface Seen {
  /** Highest log offset by partition. */
  readonly last: ReadonlyMap<number, number>;
  /** Stored again after an answer was lost: allowed, the receivers drop them. */
  readonly repeated: number;
  /** Offsets that came before one that belongs in front of them. */
  readonly holes: readonly string[];
}

export class BrokerProbe {
  readonly #settings: BrokerSettings;
  readonly #topic: string;
  readonly #last = new Map<number, number>();
  readonly #holes: string[] = [];
  #repeated = 0;
  #broker: Broker | null = null;

  constructor(settings: BrokerSettings, topic = 'millrace.events') {
    this.#settings = settings;
    this.#topic = topic;
  }

  get seen(): Seen {
    return { last: this.#last, repeated: this.#repeated, holes: this.#holes };
  }

  /** The topic must be there. */
  async start(): Promise<void> {
    this.#broker = await openBroker({ ...this.#settings, onError: () => {} });
    const subscription = await this.#broker.subscribe({
      group: 'probe',
      topics: [this.#topic],
      from: 'start',
      onDeliveries: (_, deliveries) => {
        for (const { event } of deliveries) if (event?.place) this.#note(event.place);
        const last = deliveries.at(-1);
        if (last) subscription.acknowledge([last]).catch(() => {});
      },
      onAssigned() {},
      onRevoked() {},
      onError() {},
    });
  }

  #note({ partition, offset }: { readonly partition: number; readonly offset: number }): void {
    const last = this.#last.get(partition);
    if (last !== undefined && offset <= last) {
      this.#repeated += 1;
      return;
    }
    if (last !== undefined && offset > last + 1) {
      this.#holes.push(`${partition}: ${offset} after ${last}`);
    }
    this.#last.set(partition, offset);
  }

  async stop(): Promise<void> {
    await this.#broker?.close();
  }
}

/**
 * Events of other systems: what lies on their topics as CloudEvents is appended to the log, and
 * handled from there like any event of ours. Made by `mill.receive(...)`.
 *
 * Invariant: a message is acknowledged after it is durable, as an event or as a refusal, and never
 * before. One that comes again has the same event id, so it is one event and has one effect. Events
 * of one partition of the broker are appended in their order, also across failures.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { EventDefinition, StoredEvent } from '../core/event.ts';
import type { Redactor } from '../core/redaction.ts';
import type { Publisher } from '../events/publisher.ts';
import type { AnyDefinition } from '../events/stream/subscription.ts';
import type { Broker, Delivery, TopicPartition } from '../ports/broker.ts';
import { type Position, placeAt, type RoutedEvent, type Store } from '../ports/store.ts';
import { Bell, sleep } from '../runtime/bell.ts';
import { type AdmissionRules, admitEvent } from './foreign-events.ts';
import { InletSession } from './inlet-session.ts';
import { type Refusal, Refusals } from './refusals.ts';
import { type TenantFinder, type TenantRule, tenantFinder } from './tenant-rule.ts';
import { type TopicNames, topicNames } from './topics.ts';

export interface InletOptions {
  /** Names, and templates such as `shop.{tenant}.orders`: topics that appear later are found. */
  readonly topics: readonly string[];
  /** Who reads: processes with one name share the topics. `millrace-inlet` by default. */
  readonly group?: string;
  /** Whose events are; by the attribute `tenantid`, or by the topic where a template names it. */
  readonly tenant?: TenantRule;
  /** Beside those that this process knows already. */
  readonly events?: readonly AnyDefinition[];
  /** Their names for our types: `{ 'com.shop.order.paid': 'OrderPaid' }`. */
  readonly types?: Readonly<Record<string, string>>;
  /** What to do with a type that nobody here defines; it is refused by default. */
  readonly unknownTypes?: 'refuse' | 'accept';
  /** Where a group that is new begins; `start` by default. */
  readonly from?: 'start' | 'end';
  /** A stable name of this process: after a quick restart it has its partitions back at once. */
  readonly memberId?: string;
  /** Events of one append at most; 500 by default. */
  readonly batchMax?: number;
  /** Of one partition, in memory; 1,000 by default. */
  readonly bufferMax?: number;
  /** How often topics of a template are looked for; 30,000 ms by default. */
  readonly lookMs?: number;
  /** How long stop() waits for the database; 10,000 ms by default. */
  readonly graceMs?: number;
}

/** What an inlet is built into. */
export interface InletSurroundings {
  readonly broker: Broker;
  readonly store: Pick<Store, 'log' | 'partitions'>;
  readonly publisher: Pick<Publisher, 'append' | 'route'>;
  /** Masks what is kept of refused messages; the publisher masks the rest. */
  readonly redactor?: Redactor | undefined;
  /** Definitions that this process knows. */
  definition(type: string): AnyDefinition | undefined;
  /** Durable in the log: groups may have them. */
  onAppended(events: readonly StoredEvent[]): void;
  onError(error: unknown, where: string): void;
}

export interface InletStatus {
  readonly group: string;
  readonly topics: readonly string[];
  /** False while the broker cannot be reached, or none of the topics is there. */
  readonly subscribed: boolean;
  readonly assigned: readonly TopicPartition[];
  /** Messages that came; those that came twice count twice. */
  readonly received: number;
  /** Events that became durable. */
  readonly appended: number;
  /** Came, and were in the log already. */
  readonly duplicates: number;
  /** By reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly buffered: number;
  readonly bufferedBytes: number;
  readonly errors: number;
  readonly lastError: string | null;
}

const bytesMax = 64 * 1024 * 1024;

export class Inlet {
  readonly #options: InletOptions;
  readonly #surroundings: InletSurroundings;
  readonly #group: string;
  readonly #namings: readonly TopicNames[];
  readonly #tenants: TenantFinder;
  readonly #definitions: ReadonlyMap<string, AnyDefinition>;
  readonly #rules: AdmissionRules;
  readonly #refusals: Refusals;
  readonly #bell = new Bell();
  #session: InletSession | null = null;
  #supervising: Promise<void> = Promise.resolve();
  #looking: Promise<void> = Promise.resolve();
  #state: 'new' | 'running' | 'stopped' = 'new';
  #received = 0;
  #appended = 0;
  #duplicates = 0;
  #errors = 0;
  #lastError: string | null = null;

  /** @throws MillraceError CONFIG_INVALID */
  constructor(options: InletOptions, surroundings: InletSurroundings) {
    const { topics, group = 'millrace-inlet', tenant = 'attribute', events = [] } = options;
    if (topics.length === 0) throw invalid('names no topic');
    checkRange('batchMax', options.batchMax, 10_000);
    checkRange('bufferMax', options.bufferMax, 100_000);
    this.#options = options;
    this.#surroundings = surroundings;
    this.#group = group;
    this.#namings = topics.filter((topic) => topic.includes('{')).map((one) => topicNames(one));
    this.#tenants = tenantFinder(tenant, this.#namings);
    this.#definitions = new Map(events.map((event) => [event.type, event]));
    this.#rules = {
      unknownTypes: options.unknownTypes ?? 'refuse',
      publisher: surroundings.publisher,
      definition: (type) => this.#definitionOf(type),
    };
    this.#refusals = new Refusals({
      topics: null,
      partitions: surroundings.store.partitions,
      // Of a broker that is away now, it is known once it is there.
      get stablePositions() {
        return surroundings.broker.capabilities.replays;
      },
      redactor: surroundings.redactor,
      append: (event) => surroundings.publisher.append(event),
      onError: (error) => this.#note(error, 'refusing'),
    });
  }

  /**
   * Resolves once the broker has taken us in. While it cannot be reached, or a topic of a template
   * is not there yet, it resolves as well and goes on trying.
   * @throws MillraceError BROKER_DENIED, BROKER_TOPIC_UNKNOWN
   */
  async start(): Promise<void> {
    if (this.#state !== 'new') throw invalid('was started before');
    this.#state = 'running';
    let failed = false;
    try {
      this.#looking = this.#look();
      await this.#looking;
    } catch (error) {
      if (!isMillraceError(error) || !error.retryable) {
        this.#state = 'stopped';
        throw error;
      }
      failed = true;
      this.#note(error, 'subscribing');
    }
    this.#supervising = this.#supervise(failed);
  }

  /** Takes what has come and acknowledges it, then leaves the group. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#bell.ring();
    await this.#supervising;
    await this.#looking.catch(() => {});
    const { graceMs = 10_000 } = this.#options;
    await this.#session?.close(graceMs);
    this.#session = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  status(): InletStatus {
    const session = this.#session;
    return {
      group: this.#group,
      topics: session?.topics ?? this.#options.topics,
      subscribed: session !== null,
      assigned: session?.assigned ?? [],
      received: this.#received,
      appended: this.#appended,
      duplicates: this.#duplicates,
      refused: this.#refusals.counts,
      buffered: session?.buffered ?? 0,
      bufferedBytes: session?.bufferedBytes ?? 0,
      errors: this.#errors,
      lastError: this.#lastError,
    };
  }

  async #supervise(failed: boolean): Promise<void> {
    const { lookMs = 30_000 } = this.#options;
    const rest = this.#namings.length > 0 ? lookMs : Number.POSITIVE_INFINITY;
    const first = 200;
    let delayMs = failed ? first : rest;
    while (this.#state === 'running') {
      await this.#bell.wait(delayMs * (0.75 + Math.random() / 2));
      if (this.#state !== 'running') return;
      try {
        await this.#look();
        delayMs = rest;
      } catch (error) {
        this.#note(error, 'subscribing');
        delayMs = delayMs === rest ? first : Math.min(delayMs * 2, 10_000);
      }
    }
  }

  /** Subscribes, or again when there are other topics than before. */
  async #look(): Promise<void> {
    const topics = await this.#topicsNow();
    const { graceMs = 10_000, from = 'start', batchMax = 500, bufferMax = 1_000 } = this.#options;
    const before = this.#session;
    if (before !== null && topics.every((topic) => before.topics.includes(topic))) return;
    if (topics.length === 0) return;
    this.#session = null;
    await before?.close(graceMs);
    const session = new InletSession({
      broker: this.#surroundings.broker,
      group: this.#group,
      topics,
      from,
      memberId: this.#options.memberId,
      batchMax,
      bufferMax,
      bytesMax,
      take: (batch, signal) => this.#take(batch, signal),
      onError: (error, where) => this.#note(error, where),
    });
    await session.open();
    if (this.#state === 'running') this.#session = session;
    else await session.close(graceMs);
  }

  async #topicsNow(): Promise<readonly string[]> {
    const named = this.#options.topics.filter((topic) => !topic.includes('{'));
    if (this.#namings.length === 0) return named;
    const there = await this.#surroundings.broker.topics();
    const found = there
      .map(({ topic }) => topic)
      .filter((topic) => this.#namings.some((names) => names.includes(topic)));
    return [...new Set([...named, ...found.sort()])];
  }

  async #take(batch: readonly Delivery[], signal: AbortSignal): Promise<void> {
    this.#received += batch.length;
    const admitted: RoutedEvent[] = [];
    const refusals: Refusal[] = [];
    for (const delivery of batch) {
      const outcome = this.#admit(delivery);
      if ('reason' in outcome) refusals.push(outcome);
      else admitted.push(outcome);
    }
    await Promise.all([
      this.#append(admitted, signal),
      refusals.length > 0 && this.#refusals.refuse(refusals, signal),
    ]);
  }

  #admit(delivery: Delivery): RoutedEvent | Refusal {
    const { topic, partition, position, event, problem, raw } = delivery;
    const refuse = (reason: string, message: string, tenantId: string | null): Refusal => ({
      ...{ topic, partition, position, event, raw },
      ...{ reason, message, tenantId },
    });
    try {
      if (event === null) {
        const whose = this.#tenants.decided(topic);
        return refuse('unreadable', `It cannot be read: ${problem}.`, whose);
      }
      const { tenantId, misplaced } = this.#tenants.find(event, delivery);
      if (misplaced !== null) return refuse(misplaced.reason, misplaced.message, tenantId);
      const admission = admitEvent(event, tenantId, this.#rules);
      if (admission.refusal === null) return admission.routed;
      return refuse(admission.refusal.reason, admission.refusal.message, tenantId);
    } catch (error) {
      // A rule or a definition of the user threw.
      return refuse('event-invalid', error instanceof Error ? error.message : String(error), null);
    }
  }

  #definitionOf(theirs: string): EventDefinition | undefined {
    const { types } = this.#options;
    const type = types !== undefined && Object.hasOwn(types, theirs) ? types[theirs] : theirs;
    if (type === undefined) return undefined;
    return this.#definitions.get(type) ?? this.#surroundings.definition(type);
  }

  /** In one transaction, so that no event overtakes another one; tried again without end. */
  async #append(events: readonly RoutedEvent[], signal: AbortSignal): Promise<void> {
    const { store, onAppended } = this.#surroundings;
    let left = events;
    for (let delayMs = 50; left.length > 0; delayMs = Math.min(delayMs * 2, 5_000)) {
      try {
        const positions = await store.log.append(left, { once: true });
        onAppended(this.#placed(left, positions));
        // Without a place: the same id stood in this batch for another tenant, who had it already.
        left = left.filter((_, i) => positions[i] === undefined);
        continue;
      } catch (error) {
        this.#note(error, 'appending');
        if (signal.aborted) throw error;
      }
      await sleep(delayMs * (0.5 + Math.random()), signal);
      if (signal.aborted) throw new MillraceError('SHUTTING_DOWN', 'This inlet stops.');
    }
  }

  #placed(events: readonly RoutedEvent[], positions: readonly Position[]): StoredEvent[] {
    const fresh: StoredEvent[] = [];
    for (const [i, { event }] of events.entries()) {
      const position = positions[i];
      if (position === undefined) continue;
      if (position.duplicate) this.#duplicates += 1;
      else fresh.push(placeAt(position.partition, position.offset, event));
    }
    this.#appended += fresh.length;
    return fresh.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  #note(error: unknown, where: string): void {
    this.#errors += 1;
    this.#lastError = `${where}: ${error instanceof Error ? error.message : String(error)}`;
    this.#surroundings.onError(error, `inlet ${this.#group}: ${where}`);
  }
}

function checkRange(name: string, value: number | undefined, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return;
  throw invalid(`has ${name} ${value}, not a whole number from 1 to ${most}`);
}

function invalid(problem: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `The inlet ${problem}.`);
}

/** What a driver's tests give to the suite of the broker port, and what its cases work with. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { defineEvent, type EventInput, prepareEvent } from '../core/event.ts';
import { partitionFor } from '../core/partition.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import type { Broker, BrokerSettings, LogPlace, OutgoingEvent } from './broker.ts';
import type { JoinOptions, Member } from './broker-member.conformance.ts';

/** A server to test against, and how to harm it. */
export interface BrokerFixture {
  /** For the titles of tests. */
  readonly name: string;
  /** A connection to the server under test. Every call is a client of its own, as of a process. */
  open(settings?: Partial<BrokerSettings>): Promise<Broker>;
  /** A name of a topic that no other test uses. Of the one topic, where topics are not made. */
  topic(): string;
  /** A name of a group that no other test uses. */
  group(): string;
  /** The same server with credentials that it must refuse; null: it asks for none. */
  openRefused: (() => Promise<Broker>) | null;
  /**
   * Kills the server without warning, runs `whileDown` and starts it again on the same data; null:
   * several suites share it, and it may not be harmed.
   */
  restart: ((whileDown?: () => Promise<void>) => Promise<void>) | null;
  /** How another process opens a client of the same server, to be killed; null: it cannot. */
  readonly elsewhere?: BrokerElsewhere | null;
  close(): Promise<void>;
}

/** `(await import(module))[opener](settings)` gives a broker; settings travel as JSON. */
export interface BrokerElsewhere {
  /** URL of a file: `import.meta.resolve('./broker.ts')`. */
  readonly module: string;
  readonly opener: string;
  readonly settings: object;
}

export interface Topic {
  readonly topic: string;
  readonly partitions: number;
  /** Where a new group finds the events of this case and none of an earlier one. */
  readonly from: 'start' | 'end';
}

export interface BrokerCase {
  readonly fixture: BrokerFixture;
  /** A client that all cases share; the names below belong to the case. */
  readonly broker: Broker;
  /** A client of its own, closed after the case. */
  another(settings?: Partial<BrokerSettings>): Promise<Broker>;
  /** A topic of the case, deleted after it; where topics are not made, the one there is. */
  topic(partitions?: number): Promise<Topic>;
  /** A member on a client of its own. What it saw wrong fails the case. */
  join(topics: Topic | readonly Topic[], options?: JoinOptions): Promise<Member>;
  readonly group: string;
  readonly tenant: string;
  readonly t: TestContext;
}

/** Title → test. */
export type BrokerCases = Readonly<Record<string, (context: BrokerCase) => Promise<void>>>;

/** Everything waits this long on a loaded machine; when all is well, milliseconds. */
export const patienceMs = 30_000;

export function within<T>(what: string, check: () => T | Promise<T>) {
  return eventually(what, check, patienceMs);
}

const anything: StandardSchemaV1<unknown, unknown> = {
  '~standard': { version: 1, vendor: 'conformance', validate: (value) => ({ value }) },
};
const Thing = defineEvent('conformance.Thing', { schema: anything });

/** An event for the partition that its tenant and key hash to. */
export function outgoing(
  { topic, partitions }: Topic,
  input: EventInput,
  place: LogPlace | null = null,
): OutgoingEvent {
  const { event, payloadJson, metadataJson } = prepareEvent(Thing, input);
  const partition = partitionFor(event.tenantId, event.key, partitions);
  return { topic, partition, event, payloadJson, metadataJson, place };
}

/** `count` events of one tenant and key, numbered in the payload. */
export function numbered(
  topic: Topic,
  tenantId: string,
  key: string,
  { count, first = 0 }: { count: number; first?: number },
): OutgoingEvent[] {
  return Array.from({ length: count }, (_, i) =>
    outgoing(topic, { tenantId, key, payload: { n: first + i } }),
  );
}

/** A key whose events of this tenant belong to the partition. */
export function keyIn({ partitions }: Topic, tenantId: string, partition: number): string {
  for (let n = 0; ; n += 1) {
    if (partitionFor(tenantId, `key-${n}`, partitions) === partition) return `key-${n}`;
  }
}

/** One key per partition. */
export function keysOf(topic: Topic, tenantId: string): readonly string[] {
  return Array.from({ length: topic.partitions }, (_, p) => keyIn(topic, tenantId, p));
}

/** One event of each, then the next of each: as many tenants' keys arrive in one batch. */
export function interleaved(lists: readonly (readonly OutgoingEvent[])[]): OutgoingEvent[] {
  const longest = Math.max(...lists.map((list) => list.length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat();
}

export const idsOf = (events: readonly OutgoingEvent[]) => events.map(({ event }) => event.eventId);

export const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/**
 * A key's events as they were handled: each is the next one, or one that came before; never one
 * that skips another.
 */
export function assertNoGap(numbers: readonly number[], count: number, what: string): void {
  let next = 0;
  for (const [i, n] of numbers.entries()) {
    assert.ok(n <= next, `${what}: ${n} came at ${i} before ${next}`);
    if (n === next) next += 1;
  }
  assert.equal(next, count, `${what}: ${next} of ${count} came`);
}

export const rejectsWith = (code: string) => (error: unknown) => {
  const found = (error as { code?: string }).code;
  assert.equal(found, code, `${(error as Error).stack}`);
  return true;
};

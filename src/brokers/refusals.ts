/**
 * Messages that are not let in: unreadable ones, of an unknown type, or of another tenant than
 * their place allows. Each is counted by reason and kept: an event `BrokerMessageRefused` in the
 * log, which the group `refused-messages` turns into a dead letter, so that it is seen, asked about
 * and discarded like any other.
 *
 * Invariant: `refuse` resolves after the durable commit, and only then may the message be
 * acknowledged. A message that comes again has the same event id, so it is kept once.
 */
import { createHash } from 'node:crypto';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import { isMillraceError, permanentFailure } from '../core/errors.ts';
import { defineEvent, type PreparedEvent, prepareEvent } from '../core/event.ts';
import { findTextFault } from '../core/event-fields.ts';
import { partitionFor } from '../core/partition.ts';
import type { Redactor } from '../core/redaction.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import type { SingleSubscription } from '../events/stream/subscription.ts';
import type { TopicPartition } from '../ports/broker.ts';
import { type RoutedEvent, routeTo } from '../ports/store.ts';
import { sleep } from '../runtime/bell.ts';
import { nameUuid } from './name-uuid.ts';
import type { TenantFault } from './tenants.ts';
import type { TopicNames } from './topics.ts';

/** Reasons of the inlets; the feed has reasons of its own beside them. */
export type RefusalReason =
  | TenantFault
  | 'unreadable'
  | 'place-invalid'
  | 'type-unknown'
  | 'version-unsupported'
  | 'event-invalid'
  | 'event-too-large';

export interface Refusal extends TopicPartition {
  readonly position: string;
  /** A RefusalReason or another word of the code, never of the message. */
  readonly reason: string;
  /** A sentence for people. */
  readonly message: string;
  /** Null when it could not be read. */
  readonly event: ReceivedEvent | null;
  /** Of one that could not be read; more than 64 KiB are cut off. */
  readonly raw: Uint8Array | null;
  /** Whose the topic is, where the receiver knows what its name does not say. */
  readonly tenantId?: string | null | undefined;
}

export interface RefusedMessage {
  readonly topic: string;
  readonly partition: number;
  readonly position: string;
  readonly reason: string;
  readonly message: string;
  /** What it said itself, cut to 512 characters; null when it said nothing. */
  readonly claimedTenant: string | null;
  readonly id: string | null;
  readonly source: string | null;
  readonly type: string | null;
  /** Base64 of its first 64 KiB: the whole message, or the data of one that could be read. */
  readonly raw: string;
}

/** Whose refusals are that name no tenant: `millrace dlq list --tenant _operator`. */
export const operatorTenant = '_operator';
export const refusedGroup = 'refused-messages';

const rawBytesMax = 65_536;
const textCharsMax = 512;
const tenantCharsMax = 128;
/** Stored at once at most: each may take 90 KB. */
const batchMax = 50;

const schema: StandardSchemaV1<unknown, RefusedMessage> = {
  '~standard': {
    version: 1,
    vendor: 'millrace',
    validate: (value) => ({ value: value as RefusedMessage }),
  },
};

export const BrokerMessageRefused = defineEvent('BrokerMessageRefused', {
  schema,
  description: 'A message from a broker was not let in.',
  redaction: false, // what is kept of the message is masked before it becomes base64
});

/** The group that makes refusals visible. It belongs to every process that receives messages. */
export function refusedMessages(): SingleSubscription<[typeof BrokerMessageRefused]> {
  return {
    group: refusedGroup,
    events: [BrokerMessageRefused],
    handle({ payload: { topic, partition, position, reason, message } }) {
      const place = `${topic}/${partition} at ${position}`;
      throw permanentFailure(`${reason}: ${message} Refused from ${place}.`, {
        fix: 'Correct the producer and have it sent again, then discard this dead letter.',
      });
    },
  };
}

export interface RefusalsOptions {
  /** Null where every topic is foreign. */
  readonly topics: TopicNames | null;
  /** Of the log. */
  readonly partitions: number;
  /**
   * The broker gives a message the same position each time (it `replays`). Otherwise two messages
   * of one content count as one that came twice.
   */
  readonly stablePositions: boolean;
  /** Masks what is kept of a message. */
  readonly redactor?: Redactor | undefined;
  /** Durable when it resolves; called with events of known ids. */
  append(event: RoutedEvent): Promise<unknown>;
  onError(error: unknown): void;
}

export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #counts = new Map<string, number>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** Messages refused by this process, by reason; one that came twice counts twice. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /**
   * Keeps them; resolves when all are durable. While the database is away it tries again without
   * end, until `signal` says that this process stops: then it rejects, and they come again.
   * @throws MillraceError SHUTTING_DOWN, STORE_UNAVAILABLE
   */
  async refuse(refusals: readonly Refusal[], signal?: AbortSignal): Promise<void> {
    for (const { reason } of refusals) {
      this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    }
    for (let from = 0; from < refusals.length; from += batchMax) {
      const batch = refusals.slice(from, from + batchMax);
      await Promise.all(batch.map((refusal) => this.#keep(this.#eventOf(refusal), signal)));
    }
  }

  async #keep(event: RoutedEvent, signal: AbortSignal | undefined): Promise<void> {
    for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 5_000)) {
      try {
        await this.#options.append(event);
        return;
      } catch (error) {
        const passes = isMillraceError(error) && error.retryable;
        if (!passes || signal?.aborted === true) throw error;
        this.#options.onError(error);
        await sleep(delayMs * (0.5 + Math.random()), signal);
      }
    }
  }

  #eventOf(refusal: Refusal): RoutedEvent {
    const { partitions, stablePositions } = this.#options;
    const { topic, partition, position, reason, message, event } = refusal;
    const bytes = contentOf(refusal);
    const digest = createHash('sha256').update(bytes).digest('base64url');
    const named = [topic, String(partition), stablePositions ? position : '', digest];
    const id = nameUuid([...named, event?.id ?? '', event?.source ?? '', event?.tenantId ?? '']);
    const tenantId = this.#tenantOf(refusal);
    const prepared = prepareEvent(BrokerMessageRefused, {
      tenantId,
      // A key of its own: a dead letter holds up the events of its key.
      key: id,
      eventId: id,
      payload: {
        topic,
        partition,
        position,
        reason,
        message: cut(this.#mask(tenantId, message)),
        claimedTenant: cut(event?.tenantId ?? null),
        id: cut(event?.id ?? null),
        source: cut(event?.source ?? null),
        type: cut(event?.type ?? null),
        raw: this.#rawOf(tenantId, bytes.subarray(0, rawBytesMax)).toString('base64'),
      },
    }) as PreparedEvent;
    return routeTo(partitionFor(tenantId, id, partitions), prepared);
  }

  #mask(tenantId: string, text: string): string {
    const { redactor } = this.#options;
    return redactor?.on ? redactor.text(tenantId, text) : text;
  }

  #rawOf(tenantId: string, bytes: Uint8Array): Buffer {
    const kept = Buffer.from(bytes);
    if (!this.#options.redactor?.on) return kept;
    return Buffer.from(this.#mask(tenantId, kept.toString())).subarray(0, rawBytesMax);
  }

  /** The topic's, which the producer cannot choose; else the one it names, if that can be one. */
  #tenantOf({ topic, event, tenantId }: Refusal): string {
    const { topics } = this.#options;
    const ofTopic = tenantId ?? topics?.tenantOf(topic) ?? null;
    if (isTenant(ofTopic)) return ofTopic;
    const claimed = event?.tenantId ?? null;
    if (!isTenant(claimed)) return operatorTenant;
    const itsOwn = topics === null || !topics.perTenant || topics.topicOf(claimed) === topic;
    return itsOwn ? claimed : operatorTenant;
  }
}

function isTenant(value: string | null): value is string {
  return findTextFault(value, tenantCharsMax) === null;
}

function contentOf({ raw, event }: Refusal): Uint8Array {
  if (raw !== null) return raw;
  return Buffer.from(event?.dataJson ?? '');
}

/** What others wrote: as much of it as fits, and nothing that a database cannot store. */
function cut<Text extends string | null>(text: Text): Text {
  if (text === null) return text;
  return text.slice(0, textCharsMax).replaceAll('\0', '\ufffd').toWellFormed() as Text;
}

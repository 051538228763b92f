/**
 * The store port: what the runtime asks of a database that keeps the log. Every method says what
 * happens on success, conflict, crash and retry; `store.conformance.ts` proves it for each driver.
 *
 * Invariants every driver keeps: offsets of a partition are dense, start at 1 and follow commit
 * order; an event that was acknowledged is never lost, unless `retention` is asked to remove it;
 * only the owner with the newest epoch settles; effects, follow-up events and cursor of one
 * settlement commit together or not at all.
 */
import type { Event, PreparedEvent, StoredEvent } from '../core/event.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import type { FailureStore } from './failures.ts';
import type { HistoryStore } from './history.ts';
import type { JobStore } from './jobs.ts';
import type { NoticeChannel } from './notices.ts';
import type { RetentionStore } from './retention.ts';
import type { StreamStore } from './streams.ts';
import type { WorkflowStore } from './workflows.ts';

/** An event with the partition it belongs to. */
export interface RoutedEvent extends PreparedEvent {
  readonly partition: number;
}

/** Written out member by member: an object spread here costs 0.3 µs, ten times as much. */
export function routeTo(partition: number, prepared: PreparedEvent): RoutedEvent {
  const { event, payloadJson, metadataJson, checkDuplicate } = prepared;
  return { event, payloadJson, metadataJson, checkDuplicate, partition };
}

/** The event as it reads once it stands in the log. */
export function placeAt(partition: number, offset: number, event: Event): StoredEvent {
  return Object.freeze({
    eventId: event.eventId,
    eventType: event.eventType,
    version: event.version,
    tenantId: event.tenantId,
    key: event.key,
    timestamp: event.timestamp,
    correlationId: event.correlationId,
    causationId: event.causationId,
    payload: event.payload,
    metadata: event.metadata,
    partition,
    offset,
  });
}

/** Where an event stands in the log. `duplicate`: it was there before this call. */
export interface Position {
  readonly partition: number;
  readonly offset: number;
  readonly duplicate: boolean;
}

export interface ReadRequest {
  readonly partition: number;
  /** Read offsets greater than this. */
  readonly after: number;
  /** At most this many events; the scan itself looks at 16 times as many rows at most. */
  readonly limit: number;
  /**
   * Only these event types; `null` for all. A `*` in one stands for any text. Filtered in the
   * store, before delivery.
   */
  readonly types: readonly string[] | null;
}

export interface ReadResult {
  readonly events: readonly StoredEvent[];
  /** Every offset up to this one has been looked at; the next read starts here. */
  readonly scannedTo: number;
  /** True when the log had no more to look at. */
  readonly atHead: boolean;
}

/** The append-only log. */
export interface LogStore {
  /**
   * Appends events and resolves after the durable commit, in the order given.
   * `once` looks for events that are there already (a caller's own ids, a repeated try) and answers
   * with their positions instead of storing them twice; without it a known id is STORE_CONFLICT.
   * Ids of events that retention removed are forgotten: they are new.
   * On a lost connection (STORE_UNAVAILABLE) the outcome is unknown: call again with `once`.
   */
  append(events: readonly RoutedEvent[], options: { once: boolean }): Promise<readonly Position[]>;
  /**
   * Reads forward from a position. Sees committed events only; never skips one. From before the
   * first that is left it goes on there.
   */
  read(request: ReadRequest): Promise<ReadResult>;
  /** The last offset of each partition, 0 for an empty one. */
  heads(): Promise<readonly number[]>;
}

export type { SqlTransaction };

/** Events written inside a caller's own transaction, appended after it commits. */
export interface StagingStore {
  /** Writes the events through `tx`; they become visible if and when `tx` commits. */
  stage(tx: SqlTransaction, events: readonly RoutedEvent[]): Promise<void>;
  /**
   * Moves committed staged events into the log. One caller at a time does the work, the others
   * return 0. Crash-safe: an event is either still staged or in the log.
   */
  sequence(limit: number): Promise<{ moved: number; partitions: readonly number[] }>;
}

/** What differs between drivers, as data. */
export interface StoreCapabilities {
  /** Handlers receive a SQL transaction that commits with the cursor. */
  readonly sqlTransactions: boolean;
  /** Notices cross processes. */
  readonly notices: boolean;
}

export interface Store {
  readonly capabilities: StoreCapabilities;
  /** Number of partitions, fixed when the database was made. */
  readonly partitions: number;
  /** Of this database for good, a UUID: says at a broker whose offsets an event carries. */
  readonly logId: string;
  readonly log: LogStore;
  readonly retention: RetentionStore;
  readonly staging: StagingStore;
  readonly streams: StreamStore;
  readonly failures: FailureStore;
  readonly history: HistoryStore;
  readonly notices: NoticeChannel;
  /** Queues on the same database; closed with the store. */
  readonly jobs: JobStore;
  /** Runs of workflows on the same database. */
  readonly workflows: WorkflowStore;
  /** Runs statements as the schema's owner once per name, in a transaction, in order of names. */
  migrate(namespace: string, migrations: readonly Migration[]): Promise<readonly string[]>;
  /** Runs `work` in a transaction that sees one tenant's rows only. */
  withTenant<T>(tenantId: string, work: (tx: SqlTransaction) => Promise<T>): Promise<T>;
  /** Answers when the store does; rejects with STORE_UNAVAILABLE otherwise. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** One forward-only step of a schema; never edited once released. */
export interface Migration {
  readonly name: string;
  readonly sql: string;
}

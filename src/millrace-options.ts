/** What a platform is made with, and what it says of how it is doing. */
import type { BrokerSummary } from './brokers/link.ts';
import type { BrokerOptions } from './brokers/options.ts';
import type { RedactionOptions } from './core/redaction.ts';
import type { DomainEventsOptions } from './events/domain/options.ts';
import type { AnyDefinition } from './events/stream/subscription.ts';
import type { StreamStatus } from './events/streams.ts';
import type { JobsHealth, JobsOptions } from './jobs/options.ts';
import type { Broker } from './ports/broker.ts';
import type { DeploymentMode } from './runtime/heads.ts';
import type { LogHealth } from './runtime/log-upkeep.ts';
import type { WorkflowsHealth, WorkflowsOptions } from './workflows/options.ts';

export interface MillraceOptions {
  /** Definitions beyond those that subscriptions name, for reading and editing events. */
  readonly events?: readonly AnyDefinition[];
  /** Which wakers feed the loops; Hybrid by default. */
  readonly mode?: DeploymentMode;
  /** Events of one append at most; 1,000 by default. */
  readonly appendMax?: number;
  /** Events accepted and not yet durable at most; 20,000 by default. */
  readonly bufferMax?: number;
  /** Newest events of each partition kept in memory; 4,096 by default. */
  readonly tailMax?: number;
  /**
   * How long an event stays in the log after it was stored; a minute at least. Null, the default:
   * for ever. What a group has not settled and what has an open dead letter stays at any age.
   */
  readonly logRetentionMs?: number | null;
  /** 1,000 ms by default. */
  readonly heartbeatMs?: number;
  /** A worker silent for this long is dead; 5,000 ms by default. */
  readonly timeToLiveMs?: number;
  /** How long stop() waits for handlers; 30,000 ms by default. */
  readonly graceMs?: number;
  /** Poll interval while busy or in PollingOnly, and while other wakers work; 50 and 1,000 ms. */
  readonly pollMs?: readonly [least: number, most: number];
  /** For queues; heartbeat, time to live, grace and onError are as for streams unless said. */
  readonly jobs?: JobsOptions;
  /** Of `events`: delivery, buffers, retries and dead letters of domain events. */
  readonly domainEvents?: DomainEventsOptions;
  /** Of `workflows`; grace and onError are as for streams unless said. */
  readonly workflows?: WorkflowsOptions;
  /** Personal data and secrets are masked before an event is written; off by default. */
  readonly redaction?: RedactionOptions | undefined;
  /** A broker that carries the events; `connect()` opens it from its option `broker`. */
  readonly link?: { readonly broker: Broker; readonly options: BrokerOptions };
  /** Told of errors that were survived; they are counted in `health()` as well. */
  readonly onError?: (error: unknown, where: string) => void;
}

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly ready: boolean;
  readonly mode: DeploymentMode;
  readonly problems: readonly string[];
  readonly workerId: string;
  readonly workers: number;
  readonly listening: boolean;
  readonly streams: readonly StreamStatus[];
  /** What this process removed of the log, and who holds what is old enough to go. */
  readonly log: LogHealth;
  /** Of the queues that this process works on. */
  readonly jobs: JobsHealth;
  /** Of the runs in this process. */
  readonly workflows: WorkflowsHealth;
  /** Null without a broker. */
  readonly broker: BrokerSummary | null;
  readonly errors: number;
  readonly lastError: string | null;
}

/** Counters of one process. */
export interface Totals {
  readonly handled: number;
  readonly failed: number;
  readonly settlements: number;
  readonly published: number;
  /** Events that retention removed from the log. */
  readonly removed: number;
}

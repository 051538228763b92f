/** What connect() is told of a broker, checked and with its defaults. */
import { MillraceError } from '../core/errors.ts';
import type { BrokerSettings } from '../ports/broker.ts';
import { sharedTopicDefault, topicNames } from './topics.ts';

export interface BrokerOptions extends BrokerSettings {
  /**
   * Where events go: `millrace.events` by default, or a name for each tenant, such as
   * `millrace.{tenant}.events`.
   */
  readonly topic?: string | undefined;
  /** Processes with the same name share what the broker brings; `millrace` by default. */
  readonly group?: string | undefined;
  /** A stable name of this process: after a quick restart it has its partitions back at once. */
  readonly memberId?: string | undefined;
  /** Topics that are missing are made; true by default. */
  readonly createTopics?: boolean | undefined;
  /** Copies of each partition of a topic that is made; the broker's default when left out. */
  readonly replicas?: number | undefined;
  /** How long messages of a topic that is made are kept; the broker's default when left out. */
  readonly retentionMs?: number | undefined;
  /**
   * Where the relay begins that was never there before: at what is published from now on (`end`, by
   * default), or with everything that the log has.
   */
  readonly from?: 'start' | 'end' | undefined;
  /**
   * How long groups wait for a broker that is away before they read the log themselves; null, by
   * default, for as long as it takes.
   */
  readonly patienceMs?: number | null | undefined;
  /** publish() is refused while the broker lags by more events; null, by default, never. */
  readonly lagMax?: number | null | undefined;
  /** Events of one publish at most; 1,000 by default. */
  readonly batchMax?: number | undefined;
  /** Characters of payload of one publish at most, about; 4,000,000 by default. */
  readonly batchBytesMax?: number | undefined;
  /** Events of one partition that are kept for a slow group; 5,000 by default. */
  readonly bufferMax?: number | undefined;
  /** What the broker has not brought after so long is read from the log; 2,000 by default. */
  readonly gapMs?: number | undefined;
}

/** Every option with its default; those of the connection are the driver's. */
export interface LinkSettings {
  readonly topic: string;
  readonly group: string;
  readonly memberId: string | undefined;
  readonly createTopics: boolean;
  readonly replicas: number | undefined;
  readonly retentionMs: number | undefined;
  readonly from: 'start' | 'end';
  readonly patienceMs: number | null;
  readonly lagMax: number | null;
  readonly batchMax: number;
  readonly batchBytesMax: number;
  readonly bufferMax: number;
  readonly gapMs: number;
}

const limits = {
  batchMax: [1, 10_000],
  batchBytesMax: [1_000, 100_000_000],
  bufferMax: [10, 1_000_000],
  gapMs: [10, 600_000],
  replicas: [1, 100],
  retentionMs: [1, Number.MAX_SAFE_INTEGER],
  patienceMs: [0, Number.MAX_SAFE_INTEGER],
  lagMax: [1, Number.MAX_SAFE_INTEGER],
} as const;

/** @throws MillraceError CONFIG_INVALID naming the option */
export function linkSettings(options: BrokerOptions): LinkSettings {
  for (const [name, [least, most]] of Object.entries(limits)) {
    const value = options[name as keyof typeof limits];
    if (value === undefined || value === null) continue;
    if (Number.isSafeInteger(value) && value >= least && value <= most) continue;
    throw new MillraceError(
      'CONFIG_INVALID',
      `broker.${name} is ${value}, not a whole number from ${least} to ${most}.`,
    );
  }
  const { topic = sharedTopicDefault, group = 'millrace' } = options;
  topicNames(topic);
  if (!/^[A-Za-z0-9][\w.-]{0,99}$/.test(group)) {
    throw new MillraceError('CONFIG_INVALID', `broker.group is '${group}', which is no name.`, {
      fix: 'Give up to 100 letters, digits, dots, _ or -.',
    });
  }
  return {
    topic,
    group,
    memberId: options.memberId || undefined,
    createTopics: options.createTopics ?? true,
    replicas: options.replicas,
    retentionMs: options.retentionMs,
    from: options.from ?? 'end',
    patienceMs: options.patienceMs ?? null,
    lagMax: options.lagMax ?? null,
    batchMax: options.batchMax ?? 1_000,
    batchBytesMax: options.batchBytesMax ?? 4_000_000,
    bufferMax: options.bufferMax ?? 5_000,
    gapMs: options.gapMs ?? 2_000,
  };
}

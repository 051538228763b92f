/** Counters of a worker event system, and what is read from them. */
import type { WakeSource } from '../../runtime/heads.ts';
import type { SystemStatistics } from './event-driven-system.ts';
import type { WorkerCommandType } from './worker-command.ts';

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

export interface WorkerEventStatistics extends SystemStatistics {
  /** Events by the path they came on; a notice that was missed and looked for counts as one. */
  readonly received: Readonly<Record<WakeSource, number>>;
  /** Looks of the fallback poller, and the messages that they found. */
  readonly polls: number;
  readonly polledMessages: number;
  /** Heard of or polled, and taken by the other path or another worker already. */
  readonly deduplicated: number;
  readonly messagesStarted: number;
  readonly messagesCompleted: number;
  readonly messagesFailed: number;
  /** Put aside because they were older than `max_age`. */
  readonly messagesTooOld: number;
  /** Events that became part of one that waited already. */
  readonly eventsMerged: number;
  /** Events that were not taken: the channel was full. Their messages are looked for later. */
  readonly eventsDropped: number;
  /** The same beyond the threshold of load shedding, or without a place in time. */
  readonly eventsShed: number;
  readonly catchUps: number;
  readonly reconnects: number;
  readonly running: number;
  readonly commands: Readonly<Record<WorkerCommandType, number>>;
  /** From the enqueue of a message to the start of its first try. */
  readonly startLatency: LatencySummary;
  /** Of handlers. */
  readonly duration: LatencySummary;
}

const samplesMax = 2_048;

/** The newest samples; older ones count in `count` and the mean only. */
export class LatencyRecorder {
  readonly #samples: number[] = [];
  #next = 0;
  #sum = 0;
  #max = 0;
  count = 0;

  note(ms: number): void {
    this.count += 1;
    this.#sum += ms;
    this.#max = Math.max(this.#max, ms);
    this.#samples[this.#next] = ms;
    this.#next = (this.#next + 1) % samplesMax;
  }

  get meanMs(): number {
    return this.count === 0 ? 0 : this.#sum / this.count;
  }

  summary(): LatencySummary {
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
    const { count, meanMs } = this;
    return { count, meanMs, p50Ms: at(0.5), p95Ms: at(0.95), maxMs: this.#max };
  }
}

const windowSeconds = 60;

/** How many in the last minute, by the second. */
export class MinuteRate {
  readonly #counts = new Map<number, number>();
  readonly #since = Date.now();

  note(nowMs = Date.now()): void {
    const second = Math.floor(nowMs / 1_000);
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + 1);
    for (const known of this.#counts.keys()) {
      if (known > second - windowSeconds) break;
      this.#counts.delete(known);
    }
  }

  inLastMinute(nowMs = Date.now()): number {
    const since = Math.floor(nowMs / 1_000) - windowSeconds;
    let sum = 0;
    for (const [second, count] of this.#counts) if (second > since) sum += count;
    return sum;
  }

  perSecond(nowMs = Date.now()): number {
    const seconds = Math.min(windowSeconds, Math.max(1, (nowMs - this.#since) / 1_000));
    return this.inLastMinute(nowMs) / seconds;
  }
}

/** What the parts count in. */
export class WorkerCounters {
  readonly received: Record<WakeSource, number> = { local: 0, notice: 0, poll: 0 };
  readonly startLatency = new LatencyRecorder();
  readonly duration = new LatencyRecorder();
  readonly processed = new MinuteRate();
  readonly errors = new MinuteRate();
  eventsProcessed = 0;
  eventsFailed = 0;
  polls = 0;
  polledMessages = 0;
  deduplicated = 0;
  messagesStarted = 0;
  messagesCompleted = 0;
  messagesFailed = 0;
  messagesTooOld = 0;
  eventsMerged = 0;
  eventsDropped = 0;
  eventsShed = 0;
  catchUps = 0;
  /** Failures of messages since the last one that went well. */
  consecutiveErrors = 0;

  read(more: {
    readonly reconnects: number;
    readonly running: number;
    readonly commands: Readonly<Record<WorkerCommandType, number>>;
  }): WorkerEventStatistics {
    const {
      startLatency,
      duration,
      processed,
      errors: _errors,
      consecutiveErrors: _c,
      ...counts
    } = this;
    return {
      ...counts,
      received: { ...this.received },
      processingRate: processed.perSecond(),
      averageLatencyMs: startLatency.meanMs,
      startLatency: startLatency.summary(),
      duration: duration.summary(),
      ...more,
    };
  }
}

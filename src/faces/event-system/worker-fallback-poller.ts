/**
 * Looks for step messages that nobody told of, in each namespace by itself. What it finds goes the
 * way of every message (ExecuteStep), and the claim decides: a message that the event path took in
 * the meantime is a duplicate, and counted as such.
 *
 * Only messages that have waited for `age_threshold` are polled, and `stop` ends every loop: no
 * look begins after it has resolved.
 */
import type { WorkerPollerConfig } from '../../configuration/configuration.ts';
import type { Jobs } from '../../jobs/jobs.ts';
import { sleep } from '../../runtime/bell.ts';
import type { StepReceipt, WorkerCommand } from './worker-command.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import { queueOf } from './worker-queue-event.ts';

type ExecuteStep = Extract<WorkerCommand, { type: 'ExecuteStep' }>;

export interface WorkerFallbackPollerOptions {
  readonly jobs: Pick<Jobs, 'list'>;
  readonly supportedNamespaces: readonly string[];
  readonly config: WorkerPollerConfig;
  readonly counters: WorkerCounters;
  /** Resolves when the message is claimed, here or by somebody else. */
  execute(command: ExecuteStep): Promise<StepReceipt>;
  /** Messages with a state of their own: delayed, tried before, of unique keys. */
  lookForRows(queueName: string): void;
  onError(error: unknown, where: string): void;
}

/** A message that is not claimed by then is looked for again: its claim may have been lost. */
const claimMsMax = 5_000;

export class WorkerFallbackPoller {
  readonly #options: WorkerFallbackPollerOptions;
  #stopping: AbortController | null = null;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(options: WorkerFallbackPollerOptions) {
    this.#options = options;
  }

  get isPolling(): boolean {
    return this.#stopping !== null;
  }

  /** The first look is at once. */
  startPolling(): void {
    if (this.#stopping !== null) return;
    const stopping = new AbortController();
    this.#stopping = stopping;
    const queues = this.#options.supportedNamespaces.map(queueOf);
    this.#loops = Promise.all(queues.map((queue) => this.#poll(queue, stopping.signal)));
  }

  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#loops;
    this.#stopping = null;
  }

  async #poll(queueName: string, signal: AbortSignal): Promise<void> {
    const { config, onError } = this.#options;
    while (!signal.aborted) {
      try {
        // Full batches follow each other at once, as fast as they are claimed.
        while ((await this.#look(queueName, signal)) && !signal.aborted);
      } catch (error) {
        onError(error, `polling ${queueName}`);
      }
      await sleep(config.pollingIntervalMs, signal);
    }
  }

  /** True when there may be more. */
  async #look(queueName: string, signal: AbortSignal): Promise<boolean> {
    const { jobs, config, counters, execute, lookForRows } = this.#options;
    counters.polls += 1;
    const to = new Date(Date.now() - config.ageThresholdMs).toISOString();
    const filter = { queue: queueName, status: 'waiting', to } as const;
    const found = await jobs.list(filter, { limit: config.batchSize });
    if (signal.aborted) return false;
    lookForRows(queueName);
    if (found.jobs.length === 0) return false;
    counters.received.poll += 1;
    counters.polledMessages += found.jobs.length;
    const commands = found.jobs.map(({ id }) =>
      execute({ type: 'ExecuteStep', message: { messageId: id }, queueName }),
    );
    const claimed = Promise.all(commands).then(
      () => true,
      () => false,
    );
    const patience = new AbortController();
    const limit = sleep(claimMsMax, AbortSignal.any([signal, patience.signal])).then(() => false);
    const all = await Promise.race([claimed, limit]);
    patience.abort();
    return all && found.jobs.length >= config.batchSize;
  }
}

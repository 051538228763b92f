/**
 * What a handler is called with: the facts of its job, and the tools that are made when it first
 * asks for them (a signal, a date or an id costs more than a no-op handler).
 */

import { formatJobId } from '../core/job.ts';
import type { JobContext, JobLog } from '../core/job-context.ts';
import type { JobSettings } from '../core/job-decoding.ts';
import type { JobDefinition } from '../core/job-definition.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import type { ClaimedJob } from '../ports/jobs.ts';

/** What contexts need of the worker. */
export interface ContextTools {
  progress(run: RunContext, value: unknown): void;
  results(job: ClaimedJob): Promise<unknown[]>;
  log(run: RunContext): JobLog;
}

export class RunContext implements Omit<JobContext, 'tx'> {
  readonly job: ClaimedJob;
  readonly definition: JobDefinition;
  readonly settings: JobSettings;
  tx: SqlTransaction | undefined = undefined;
  readonly #tools: ContextTools;
  #id: string | null = null;
  #controller: AbortController | null = null;
  #aborted: unknown = null;

  constructor(
    job: ClaimedJob,
    definition: JobDefinition,
    settings: JobSettings,
    tools: ContextTools,
  ) {
    this.job = job;
    this.definition = definition;
    this.settings = settings;
    this.#tools = tools;
  }

  get id(): string {
    this.#id ??= formatJobId(this.job);
    return this.#id;
  }
  get name(): string {
    return this.job.name;
  }
  get queue(): string {
    return this.job.queue;
  }
  get tenantId(): string {
    return this.job.tenantId;
  }
  get key(): string {
    return this.job.key;
  }
  get attempt(): number {
    return this.job.failures + 1;
  }
  get priority(): number {
    return this.job.priority;
  }
  get enqueuedAt(): Date {
    return new Date(this.job.enqueuedAt);
  }
  get metadata(): JobSettings['metadata'] {
    return this.settings.metadata;
  }
  get correlationId(): string | null {
    return this.settings.correlationId;
  }
  get traceparent(): string | null {
    return this.settings.traceparent;
  }
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }
  get log(): JobLog {
    return this.#tools.log(this);
  }

  // Getters that give a function: handlers take their context apart in the parameter list.
  get progress(): (value: unknown) => void {
    return (value) => this.#tools.progress(this, value);
  }
  get results(): () => Promise<unknown[]> {
    return () => this.#tools.results(this.job);
  }

  /** For the worker: the handler shall stop, and why. */
  abort(reason: unknown): void {
    this.#aborted ??= reason;
    this.#controller?.abort(reason);
  }
}

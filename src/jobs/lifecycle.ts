/**
 * What happens to jobs in this process, for listeners. Nothing is built for an event that nobody
 * listens to: the hot path asks `wants` first. A listener that throws is reported, no more.
 */

import type { JobErrorRecord } from '../core/error-record.ts';
import { formatJobId, type JobRef, type NewJob } from '../core/job.ts';

/** The job that an event is about. */
export interface JobIdentity {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly tenantId: string;
}

export interface JobAttempt extends JobIdentity {
  /** 1 for the first try. */
  readonly attempt: number;
}

/** Event → what its listeners are called with. */
export interface JobEvents {
  /** After the commit. */
  readonly enqueued: JobIdentity;
  readonly started: JobAttempt;
  readonly progress: JobAttempt & { readonly progress: unknown };
  /** After the commit of the completion, as are all that follow. */
  readonly completed: JobAttempt & { readonly result: unknown; readonly durationMs: number };
  readonly retrying: JobAttempt & { readonly error: JobErrorRecord; readonly delayMs: number };
  readonly dead: JobAttempt & { readonly error: JobErrorRecord };
  readonly cancelled: JobAttempt & { readonly reason: string };
  readonly quarantined: { readonly id: string };
  /** Taken over from a worker that died. */
  readonly recovered: { readonly id: string; readonly queue: string; readonly crashes: number };
  /** Settlements of this process that came too late, and so many jobs with them. */
  readonly refused: { readonly jobs: number };
  readonly error: { readonly error: unknown; readonly where: string };
}

export type JobEventName = keyof JobEvents;

type Listener = (event: never) => void;

export class Lifecycle {
  readonly #listeners = new Map<JobEventName, Set<Listener>>();

  on<Name extends JobEventName>(
    name: Name,
    listener: (event: JobEvents[Name]) => void,
  ): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(name);
    };
  }

  wants(name: JobEventName): boolean {
    return this.#listeners.has(name);
  }

  tellEnqueued(jobs: readonly NewJob[], results: readonly JobRef[]): void {
    for (const [i, { name, queue, tenantId }] of jobs.entries()) {
      const id = formatJobId(results[i] as JobRef);
      this.emit('enqueued', { id, name, queue, tenantId });
    }
  }

  emit<Name extends JobEventName>(name: Name, event: JobEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as (event: JobEvents[Name]) => void)(event);
      } catch (error) {
        if (name !== 'error') this.emit('error', { error, where: `a listener of '${name}'` });
      }
    }
  }
}

/**
 * Those who wait for a job's result. A job that ends in this process tells them at once; for others
 * a notice asks its worker to tell us (`want <id>`, answered by `done <id>`), and because notices
 * are hints only, the store is asked again in growing intervals.
 */
import type { JobErrorRecord } from '../core/error-record.ts';
import { MillraceError } from '../core/errors.ts';
import { formatJobId, type JobRef } from '../core/job.ts';
import type { JobSnapshot } from '../ports/job-queries.ts';
import type { JobStore } from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';

/** How a job ended, as a waiter needs it. */
export type Finish =
  | { readonly kind: 'completed'; readonly resultJson: string | null }
  | { readonly kind: 'failed'; readonly status: string; readonly error: JobErrorRecord | null };

interface Waiter {
  settle(finish: Finish): void;
}

const lookMs: readonly [least: number, most: number] = [50, 1_000];
/** Ids that other processes wait for: so many are remembered. */
const wantedMax = 10_000;

export class Waiters {
  readonly #store: JobStore;
  readonly #waiting = new Map<string, Set<Waiter>>();
  readonly #wanted = new Set<string>();
  readonly #bells = new Map<string, () => void>();
  readonly #closed = new AbortController();

  constructor(store: JobStore) {
    this.#store = store;
  }

  /** Whether anybody, here or elsewhere, wants to know that this job ended. */
  wants(id: string): boolean {
    return this.#waiting.has(id) || this.#wanted.has(id);
  }

  get any(): boolean {
    return this.#waiting.size > 0 || this.#wanted.size > 0;
  }

  /** A job ended here, durably. */
  finish(id: string, finish: Finish): void {
    for (const waiter of this.#waiting.get(id) ?? []) waiter.settle(finish);
    if (this.#wanted.delete(id)) this.#store.notices.send(`done ${id}`).catch(() => {});
  }

  hear(notice: string): void {
    const [what, ...ids] = notice.split(' ');
    for (const id of ids) {
      if (what === 'done') this.#bells.get(id)?.();
      else if (what === 'want' && !this.#waiting.has(id)) this.#remember(id);
    }
  }

  async wait(
    job: JobRef,
    { timeoutMs, signal }: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<Finish> {
    const id = formatJobId(job);
    const ended = new AbortController();
    const stop = AbortSignal.any([ended.signal, this.#closed.signal, ...(signal ? [signal] : [])]);
    try {
      return await new Promise<Finish>((resolve, reject) => {
        this.#add(id, { settle: resolve }, stop);
        stop.addEventListener('abort', () => reject(stop.reason), { once: true });
        if (stop.aborted) reject(stop.reason);
        if (timeoutMs !== undefined) {
          void sleep(timeoutMs, stop).then(() => reject(tooLate(id, timeoutMs)));
        }
        this.#look(job, id, stop).then(resolve, reject);
      });
    } finally {
      ended.abort();
    }
  }

  /** Whoever waits still is told that this process stops. */
  close(): void {
    this.#closed.abort(new MillraceError('SHUTTING_DOWN', 'This process waits for no more jobs.'));
  }

  #remember(id: string): void {
    if (this.#wanted.size >= wantedMax) {
      for (const oldest of this.#wanted) {
        this.#wanted.delete(oldest);
        break;
      }
    }
    this.#wanted.add(id);
  }

  #add(id: string, waiter: Waiter, signal: AbortSignal): void {
    const waiters = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiters);
    waiters.add(waiter);
    signal.addEventListener('abort', () => {
      waiters.delete(waiter);
      if (waiters.size === 0) this.#waiting.delete(id);
    });
  }

  /** Asks the store until the job has ended. */
  async #look(job: JobRef, id: string, signal: AbortSignal): Promise<Finish> {
    let [delayMs, most] = lookMs;
    for (let first = true; ; first = false) {
      const [found] = await this.#store.queries.find([job]).catch(() => [undefined]);
      if (found === null) {
        throw new MillraceError('NOT_FOUND', `There is no job ${id}.`);
      }
      const finish = found ? finishOf(found) : null;
      if (finish) return finish;
      if (signal.aborted) throw signal.reason;
      if (first) this.#store.notices.send(`want ${id}`).catch(() => {});
      await this.#pause(id, delayMs, signal);
      delayMs = Math.min(delayMs * 2, most);
    }
  }

  async #pause(id: string, ms: number, signal: AbortSignal): Promise<void> {
    const rung = new AbortController();
    const ring = () => rung.abort();
    this.#bells.set(id, ring);
    await sleep(ms, AbortSignal.any([signal, rung.signal]));
    if (this.#bells.get(id) === ring) this.#bells.delete(id);
  }
}

const failures: ReadonlySet<string> = new Set(['dead', 'cancelled', 'quarantined']);

function finishOf({ status, resultJson, error }: JobSnapshot): Finish | null {
  if (status === 'completed') return { kind: 'completed', resultJson };
  return failures.has(status) ? { kind: 'failed', status, error } : null;
}

function tooLate(id: string, timeoutMs: number): MillraceError {
  return new MillraceError('JOB_TIMEOUT', `Job ${id} has not ended within ${timeoutMs} ms.`);
}

/** The result, parsed. @throws MillraceError JOB_FAILED, JOB_CANCELLED */
export function resultOf(id: string, finish: Finish): unknown {
  if (finish.kind === 'completed') {
    return finish.resultJson === null ? undefined : JSON.parse(finish.resultJson);
  }
  const { status, error } = finish;
  const code = status === 'cancelled' ? 'JOB_CANCELLED' : 'JOB_FAILED';
  throw new MillraceError(code, `Job ${id} is ${status}${error ? `: ${error.message}` : ''}.`, {
    details: { id, status, error },
  });
}

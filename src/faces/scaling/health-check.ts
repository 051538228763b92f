/**
 * Asks one worker over HTTP whether it is well, and judges by several answers: one slow answer is
 * no reason to take a worker away, one good answer none to bring it back. The first counts at once.
 */
import { MillraceError } from '../../core/errors.ts';
import type { Worker } from './worker-address.ts';

export interface HealthCheckOptions {
  /** Milliseconds between checks; HEALTH_CHECK_INTERVAL by default, else 30,000. */
  readonly interval?: number | undefined;
  /** Milliseconds an answer may take; 5,000 by default. */
  readonly timeout?: number | undefined;
  /** Asked with GET; a status of 200 to 299 is healthy. `/health` by default. */
  readonly path?: string | undefined;
  /** Checks in a row that must fail; 2 by default. */
  readonly unhealthyAfter?: number | undefined;
  /** Checks in a row that must succeed; 2 by default. */
  readonly healthyAfter?: number | undefined;
  /** Sent with each check, for workers that ask who is there. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface HealthCheckSettings {
  readonly interval: number;
  readonly timeout: number;
  readonly path: string;
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** Resolves when the worker says that it is well, else throws why it is not. */
export async function probe(
  worker: Worker,
  { path, timeout, headers }: HealthCheckSettings,
  signal?: AbortSignal,
): Promise<void> {
  const url = `${worker.baseUrl}${path}`;
  const late = AbortSignal.timeout(timeout);
  const either = signal === undefined ? late : AbortSignal.any([late, signal]);
  let response: Response;
  try {
    response = await fetch(url, { headers: { ...headers }, redirect: 'manual', signal: either });
  } catch (error) {
    const cause = late.aborted ? `no answer for ${timeout} ms` : reasonOf(error);
    throw new MillraceError('WORKER_UNAVAILABLE', `GET ${url}: ${cause}.`, { cause: error });
  }
  // Unread, it would hold the connection.
  await response.body?.cancel().catch(() => {});
  if (response.ok) return;
  throw new MillraceError('WORKER_UNAVAILABLE', `GET ${url} answered ${response.status}.`);
}

/** fetch() says 'fetch failed'; why stands in its cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { readonly cause?: unknown; readonly message?: unknown };
  if (cause instanceof Error) return cause.message || String((cause as { code?: unknown }).code);
  return String(message);
}

/** What the checks of one worker have shown so far. */
export class Judgement {
  readonly #settings: Pick<HealthCheckSettings, 'unhealthyAfter' | 'healthyAfter'>;
  /** Checks in a row that said the opposite of `healthy`. */
  #against = 0;
  /** Null until the first check. */
  healthy: boolean | null = null;

  constructor(settings: Pick<HealthCheckSettings, 'unhealthyAfter' | 'healthyAfter'>) {
    this.#settings = settings;
  }

  /** Returns true when the worker is seen otherwise than before. */
  note(succeeded: boolean): boolean {
    if (this.healthy === succeeded) {
      this.#against = 0;
      return false;
    }
    this.#against += 1;
    const { unhealthyAfter, healthyAfter } = this.#settings;
    const needed = this.healthy === null ? 1 : succeeded ? healthyAfter : unhealthyAfter;
    if (this.#against < needed) return false;
    this.#against = 0;
    this.healthy = succeeded;
    return true;
  }
}

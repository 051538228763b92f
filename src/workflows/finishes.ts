/**
 * Those who wait for a run's end. A run that ends in this process tells them at once; for others a
 * notice asks its holder to tell us (`want-run <id>`, answered by `end-run <id>`), and because
 * notices are hints only, the store is asked again in growing intervals: once for all who wait.
 */
import type { JobErrorRecord } from '../core/error-record.ts';
import { MillraceError } from '../core/errors.ts';
import { isEnd, type TaskState } from '../core/workflow/states.ts';
import type { RunSummary } from '../ports/workflow-queries.ts';
import type { WorkflowStore } from '../ports/workflows.ts';

/** How a run ended, or that it is blocked, as a waiter needs it. */
export interface Finish {
  readonly state: TaskState;
  readonly resultJson: string | null;
  readonly error: JobErrorRecord | null;
}

export interface FinishesOptions {
  readonly store: Pick<WorkflowStore, 'queries'>;
  /** It runs here: its end will be told without asking. */
  isHeld(runId: string): boolean;
  /** A hint to other processes. */
  send(notice: string): void;
  onError(error: unknown): void;
}

interface Waiter {
  resolve(finish: Finish): void;
  reject(error: unknown): void;
}

interface Awaited {
  readonly waiters: Set<Waiter>;
  lookAt: number;
  delayMs: number;
  asked: boolean;
}

const lookMs: readonly [least: number, most: number] = [20, 1_000];
/** A run that is held here is looked for as well, in case that it is lost. */
const heldMs = 2_000;
const askMax = 500;
/** Ids that other processes wait for: so many are remembered. */
const wantedMax = 10_000;

export class Finishes {
  readonly #options: FinishesOptions;
  readonly #awaited = new Map<string, Awaited>();
  readonly #wanted = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #looking = false;
  #closed: MillraceError | null = null;

  constructor(options: FinishesOptions) {
    this.#options = options;
  }

  /** A run ended here, or is blocked, durably. */
  finish(runId: string, finish: Finish): void {
    const awaited = this.#awaited.get(runId);
    if (awaited !== undefined) {
      this.#awaited.delete(runId);
      for (const waiter of awaited.waiters) waiter.resolve(finish);
    }
    if (this.#wanted.size > 0 && this.#wanted.delete(runId)) {
      this.#options.send(`end-run ${runId}`);
    }
  }

  hear(notice: string): void {
    const [what, ...ids] = notice.split(' ');
    if (what === 'end-run') {
      for (const id of ids) this.#lookSoon(id);
    } else if (what === 'want-run') {
      for (const id of ids) if (!this.#awaited.has(id)) this.#remember(id);
    }
  }

  /** @throws MillraceError WORKFLOW_TIMEOUT, NOT_FOUND, SHUTTING_DOWN, or the signal's reason */
  wait(
    runId: string,
    { timeoutMs, signal }: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<Finish> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | null = null;
      const leave = () => {
        if (timer) clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#leave(runId, waiter);
      };
      const waiter: Waiter = {
        resolve: (finish) => {
          leave();
          resolve(finish);
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = () => waiter.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => waiter.reject(tooLate(runId, timeoutMs)), timeoutMs);
      }
      this.#add(runId, waiter);
    });
  }

  /** Whoever waits still is told that this process stops. */
  close(): void {
    this.#closed = new MillraceError('SHUTTING_DOWN', 'This process waits for no more runs.');
    if (this.#timer) clearTimeout(this.#timer);
    for (const { waiters } of [...this.#awaited.values()]) {
      for (const waiter of [...waiters]) waiter.reject(this.#closed);
    }
  }

  #add(runId: string, waiter: Waiter): void {
    const known = this.#awaited.get(runId);
    if (known) {
      known.waiters.add(waiter);
      return;
    }
    const held = this.#options.isHeld(runId);
    const lookAt = performance.now() + (held ? heldMs : 0);
    const delayMs = held ? lookMs[1] : lookMs[0];
    this.#awaited.set(runId, { waiters: new Set([waiter]), lookAt, delayMs, asked: false });
    this.#setTimer(lookAt);
  }

  #leave(runId: string, waiter: Waiter): void {
    const awaited = this.#awaited.get(runId);
    if (!awaited) return;
    awaited.waiters.delete(waiter);
    if (awaited.waiters.size === 0) this.#awaited.delete(runId);
    if (this.#awaited.size === 0 && this.#timer) {
      clearTimeout(this.#timer);
      this.#timer = null;
      this.#timerAt = Number.POSITIVE_INFINITY;
    }
  }

  #remember(runId: string): void {
    if (this.#wanted.size >= wantedMax) {
      const [oldest] = this.#wanted;
      this.#wanted.delete(oldest as string);
    }
    this.#wanted.add(runId);
  }

  #lookSoon(runId: string): void {
    const awaited = this.#awaited.get(runId);
    if (!awaited) return;
    awaited.lookAt = 0;
    this.#setTimer(0);
  }

  #setTimer(at: number): void {
    if (at >= this.#timerAt || this.#closed) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => void this.#look(), Math.max(0, at - performance.now()));
  }

  /** Asks the store about those whose time has come. */
  async #look(): Promise<void> {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (this.#looking) return;
    this.#looking = true;
    try {
      const due = this.#takeDue();
      if (due.length > 0) await this.#ask(due);
    } finally {
      this.#looking = false;
    }
    let next = Number.POSITIVE_INFINITY;
    for (const { lookAt } of this.#awaited.values()) next = Math.min(next, lookAt);
    if (next < Number.POSITIVE_INFINITY) this.#setTimer(next);
  }

  #takeDue(): string[] {
    const now = performance.now();
    const due: string[] = [];
    for (const [runId, awaited] of this.#awaited) {
      if (awaited.lookAt > now) continue;
      awaited.lookAt = now + awaited.delayMs;
      awaited.delayMs = Math.min(awaited.delayMs * 2, lookMs[1]);
      due.push(runId);
      if (due.length >= askMax) break;
    }
    return due;
  }

  async #ask(due: readonly string[]): Promise<void> {
    const { store, send, onError } = this.#options;
    let found: readonly RunSummary[];
    try {
      found = await store.queries.find(due);
    } catch (error) {
      onError(error);
      return;
    }
    const byId = new Map(found.map((run) => [run.runId, run]));
    const unknown: string[] = [];
    for (const runId of due) {
      const awaited = this.#awaited.get(runId);
      if (awaited === undefined) continue;
      const run = byId.get(runId);
      if (run === undefined) {
        for (const waiter of [...awaited.waiters]) waiter.reject(notFound(runId));
      } else if (isOver(run)) this.finish(runId, run);
      else if (!awaited.asked) {
        awaited.asked = true;
        unknown.push(runId);
      }
    }
    for (let from = 0; from < unknown.length; from += 100) {
      send(`want-run ${unknown.slice(from, from + 100).join(' ')}`);
    }
  }
}

/**
 * Not one that an operator has opened again a moment ago: its history still says how it ended, but
 * its end, or its rest, has been taken away.
 */
function isOver({ state, endedAt, resting, wakeAt }: RunSummary): boolean {
  if (isEnd(state)) return endedAt !== null;
  // One that is to be woken goes on undoing its steps.
  return state === 'blocked_by_failures' && resting && wakeAt === null;
}

/** Whoever waits is told: the end, or that nothing goes on without an operator. */
export function isFinish(state: TaskState): boolean {
  return isEnd(state) || state === 'blocked_by_failures';
}

function tooLate(runId: string, timeoutMs: number): MillraceError {
  return new MillraceError('WORKFLOW_TIMEOUT', `Run ${runId} has not ended in ${timeoutMs} ms.`);
}

function notFound(runId: string): MillraceError {
  return new MillraceError('NOT_FOUND', `There is no run ${runId}.`);
}

/** The result, parsed. @throws MillraceError WORKFLOW_FAILED, WORKFLOW_CANCELLED */
export function resultOf(runId: string, { state, resultJson, error }: Finish): unknown {
  if (state === 'complete' || state === 'resolved_manually') {
    return resultJson === null ? undefined : JSON.parse(resultJson);
  }
  const code = state === 'cancelled' ? 'WORKFLOW_CANCELLED' : 'WORKFLOW_FAILED';
  const words =
    state === 'error' ? 'failed' : state === 'cancelled' ? 'was cancelled' : 'is blocked';
  throw new MillraceError(code, `Run ${runId} ${words}${error ? `: ${error.message}` : '.'}`, {
    details: { runId, state, error },
  });
}

/**
 * Group commit of all runs that a process holds: what gathers while one commit is under way goes
 * out together in the next one. Idle, a commit leaves with the next turn of the event loop, after
 * every run that can go on has said what it wants. Each run has at most one change in a batch, so
 * their order is the order of its drafts.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { CommitOutcome, CommitResult, RunCommit, WorkflowStore } from '../ports/workflows.ts';
import { sleep } from '../runtime/bell.ts';

/** A run that has something to be stored. */
export interface CommitSource {
  readonly epoch: number;
  /** More than a link is to be stored: children, messages, an end. */
  readonly heavy: boolean;
  /** What is to be stored by now, as one commit; null: nothing any more. */
  take(): RunCommit | null;
  /** It is durable, or refused for good. In the turn in which the answer came. */
  settled(outcome: CommitOutcome): void;
  /** The store will not take it, whatever the reason. */
  failed(error: unknown): void;
}

export interface CommitterOptions {
  readonly store: Pick<WorkflowStore, 'commit'>;
  /** Runs of one commit at most. */
  readonly batchMax: number;
  /** Of them heavy ones: a step of a lone run shall not wait for 500 children of another. */
  readonly heavyMax: number;
  /** Characters of changes in one commit, about. */
  readonly charsMax: number;
  /** Commits under way at the same time, of different runs. */
  readonly underWayMax: number;
  /** False: nothing of that epoch can be stored any more. */
  isAlive(epoch: number): boolean;
  onWoken(queues: readonly string[]): void;
  /** The epoch was declared dead: everything held under it is lost. */
  onLost(epoch: number, cause: MillraceError): void;
  onError(error: unknown): void;
}

interface Load {
  readonly epoch: number;
  /** The answer to a commit that had these was lost. */
  readonly again?: boolean;
  readonly sources: readonly CommitSource[];
  readonly commits: readonly RunCommit[];
}

export class Committer {
  readonly #options: CommitterOptions;
  #waiting: CommitSource[] = [];
  #underWay = 0;
  #scheduled = false;
  #idle: (() => void)[] = [];
  readonly totals = { batches: 0, commits: 0, retried: 0 };

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** It will be asked what it has when the next commit leaves. Not again before it was answered. */
  add(source: CommitSource): void {
    this.#waiting.push(source);
    this.#schedule();
  }

  /** Resolves when nothing waits and nothing is under way. */
  async flush(): Promise<void> {
    if (this.#waiting.length === 0 && this.#underWay === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay >= this.#options.underWayMax) return;
    this.#scheduled = true;
    // Drivers that went on because of the last answer, and those that take a turn of the event loop
    // to gather, have said by then what they want: 31,000 steps/s of 100 durable functions, where a
    // tick right after the answer gives 21,000 and two turns give 20,000.
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    while (this.#underWay < this.#options.underWayMax) {
      const load = this.#gather();
      if (load === null) break;
      this.#underWay += 1;
      void this.#send(load);
    }
    if (this.#waiting.length > 0 || this.#underWay > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  };

  #gather(): Load | null {
    const { batchMax, heavyMax, charsMax } = this.#options;
    const sources: CommitSource[] = [];
    const commits: RunCommit[] = [];
    const later: CommitSource[] = [];
    let epoch = 0;
    let chars = 0;
    let heavy = 0;
    let next = 0;
    for (; next < this.#waiting.length; next += 1) {
      const source = this.#waiting[next] as CommitSource;
      if (sources.length > 0 && source.epoch !== epoch) break;
      if (sources.length >= batchMax || chars >= charsMax) break;
      if (source.heavy) {
        // Light ones behind it go first; it is the first of the next batch.
        if (heavy >= heavyMax) {
          later.push(source);
          continue;
        }
        heavy += 1;
      }
      const commit = source.take();
      if (commit === null) continue;
      epoch = source.epoch;
      sources.push(source);
      commits.push(commit);
      chars += commit.changeJson.length;
    }
    const rest = next >= this.#waiting.length ? [] : this.#waiting.slice(next);
    this.#waiting = later.length === 0 ? rest : [...later, ...rest];
    return sources.length === 0 ? null : { epoch, sources, commits };
  }

  async #send(load: Load): Promise<void> {
    try {
      await this.#store(load);
    } finally {
      this.#underWay -= 1;
      if (this.#waiting.length > 0) this.#schedule();
      else if (this.#underWay === 0 && !this.#scheduled) {
        for (const resolve of this.#idle.splice(0)) resolve();
      }
    }
  }

  async #store(load: Load): Promise<void> {
    const { sources, commits, epoch } = load;
    const tries = { again: load.again ?? false };
    let result: CommitResult;
    try {
      result = await this.#patiently(load, tries);
    } catch (error) {
      if (isLost(error)) {
        for (const source of sources) source.failed(error);
        this.#options.onLost(epoch, error as MillraceError);
      } else if (sources.length === 1) {
        this.#options.onError(error);
        sources[0]?.failed(error);
      } else {
        // Somebody's change is at fault; the others shall not pay for it.
        for (const [i, source] of sources.entries()) {
          const { again } = tries;
          await this.#store({
            epoch,
            again,
            sources: [source],
            commits: [commits[i] as RunCommit],
          });
        }
      }
      return;
    }
    this.totals.batches += 1;
    this.totals.commits += commits.length;
    for (const [i, source] of sources.entries()) {
      try {
        source.settled(result.outcomes[i] as CommitOutcome);
      } catch (error) {
        // Of one run: the others of the batch shall hear of theirs.
        this.#options.onError(error);
        source.failed(error);
      }
    }
    if (result.woken.length > 0) this.#options.onWoken(result.woken);
  }

  /** Again while the store is away, for as long as the epoch may be alive. */
  async #patiently({ epoch, commits }: Load, tries: { again: boolean }): Promise<CommitResult> {
    const { store, isAlive, onError } = this.#options;
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      if (!isAlive(epoch)) throw epochOver();
      try {
        return await store.commit({ epoch, commits, again: tries.again });
      } catch (error) {
        if (!isAway(error)) throw error;
        onError(error);
        tries.again = true;
        this.totals.retried += 1;
        await sleep(delayMs * (0.5 + Math.random()));
      }
    }
  }
}

/** The store did not answer, or not now: the same call may be sent again. */
export function isAway(error: unknown): boolean {
  return isMillraceError(error) && error.retryable && error.code !== 'BACKPRESSURE';
}

export function isLost(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'LEASE_LOST';
}

function epochOver(): MillraceError {
  return new MillraceError('LEASE_LOST', "This worker's epoch is over; its runs go on elsewhere.");
}

/**
 * A process's epoch, for what else it holds under it than jobs (workflow runs), and the few things
 * such holders need of the queues: to tell that a queue got jobs, to claim no more, and to hear
 * notices. Made by `Jobs`, one for each.
 */
import type { MillraceError } from '../core/errors.ts';
import type { NoticeChannel } from '../ports/notices.ts';
import type { Session } from './session.ts';

/** Told of each epoch that this process works under. */
export interface EpochListener {
  begun(epoch: number): void;
  /** Nothing held under it counts any more. */
  lost(epoch: number, cause: MillraceError): void;
}

export interface TenureOptions {
  readonly session: Pick<Session, 'epoch' | 'workers' | 'lose'>;
  readonly notices: NoticeChannel;
  /** State rows of these queues may be due: workers here and elsewhere shall look. */
  tell(queue: string): void;
  hold(queue: string): void;
  listen(): void;
  listens(): boolean;
}

export class Tenure {
  readonly #options: TenureOptions;
  readonly #listeners: EpochListener[] = [];
  readonly #ears: ((notice: string) => void)[] = [];

  constructor(options: TenureOptions) {
    this.#options = options;
  }

  /** Null while there is none: before the start, after the end, between two. */
  get epoch(): number | null {
    return this.#options.session.epoch;
  }

  /** False while this process knows that no other is there to be told anything. */
  get othersListen(): boolean {
    return this.epoch === null || this.#options.session.workers !== 1;
  }

  /** True while notices reach this process. */
  get listens(): boolean {
    return this.#options.listens();
  }

  /** Before the start of the jobs, or the first epoch is missed. */
  follow(listener: EpochListener): void {
    this.#listeners.push(listener);
  }

  /** Every notice on the channel of the jobs. */
  hear(onNotice: (notice: string) => void): void {
    this.#ears.push(onNotice);
  }

  /** Connects for notices, in a process that was not started too. */
  listen(): void {
    this.#options.listen();
  }

  /** The store refused the epoch: everything held under it is given up, and a new one begins. */
  lose(epoch: number, cause: MillraceError): void {
    this.#options.session.lose(epoch, cause);
  }

  /** Queues got jobs that did not come through enqueue(). */
  tell(queues: readonly string[]): void {
    for (const queue of queues) this.#options.tell(queue);
  }

  /** Claims nothing more from these queues and hands back what was not started. */
  hold(queues: readonly string[]): void {
    for (const queue of queues) this.#options.hold(queue);
  }

  /** A hint to other processes; it may get lost. */
  send(notice: string): void {
    this.#options.notices.send(notice).catch(() => {});
  }

  /** For Jobs. */
  begun(): void {
    const { epoch } = this;
    if (epoch !== null) for (const listener of this.#listeners) listener.begun(epoch);
  }

  /** For Jobs. */
  lost(epoch: number, cause: MillraceError): void {
    for (const listener of this.#listeners) listener.lost(epoch, cause);
  }

  /** For Jobs. */
  heard(notice: string): void {
    for (const ear of this.#ears) ear(notice);
  }
}

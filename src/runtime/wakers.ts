/**
 * Everything that tells a process how far the log reaches, and that tells others: its own appends,
 * notices of other processes, the poller, and the watchdog behind them. All of them only raise
 * heads; the mode decides which of them count (DESIGN.md section 6).
 */
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import type { Store } from '../ports/store.ts';
import { type DeploymentMode, deploymentModes, Heads } from './heads.ts';
import { Listener } from './listener.ts';
import { decodeHeads, Notifier } from './notifier.ts';
import { Poller } from './poller.ts';
import { LogSource } from './source.ts';
import { Tail } from './tail.ts';
import { Watchdog } from './watchdog.ts';

export interface WakersOptions {
  readonly store: Store;
  readonly mode: DeploymentMode;
  readonly tailMax: number;
  readonly pollMs: readonly [least: number, most: number];
  /** False while this process knows that nobody else listens. */
  othersListen(): boolean;
  /** A notice that is not about heads. */
  onNotice(notice: string): void;
  /** Notices may have been missed before now. */
  onConnected(): void;
  /** Wakes streams that should work and do not; returns how many there were. */
  nudge(): number;
  onError(error: unknown, where: string): void;
}

export class Wakers {
  readonly heads: Heads;
  readonly tail: Tail;
  /** The log as streams read it. */
  readonly source: LogSource;
  readonly #options: WakersOptions;
  readonly #notifier: Notifier;
  readonly #listener: Listener;
  readonly #poller: Poller;
  readonly #watchdog: Watchdog;
  #started = false;

  constructor(options: WakersOptions) {
    this.#options = options;
    const { store, onError } = options;
    this.heads = new Heads(store.partitions, checkMode(options.mode));
    this.tail = new Tail({ partitions: store.partitions, eventsMax: options.tailMax });
    this.source = new LogSource(this.heads, this.tail, store.log);
    this.#poller = new Poller({
      log: store.log,
      heads: this.heads,
      everyMs: options.pollMs,
      onError: (error) => onError(error, 'poller'),
    });
    this.#notifier = new Notifier(store.notices, {
      pauseMs: 3,
      wanted: () => store.capabilities.notices && options.othersListen(),
    });
    this.#listener = new Listener(store.notices, {
      probeEveryMs: 5_000,
      backoffMs: [100, 5_000],
      onNotice: (notice) => this.#hear(notice),
      onConnected: () => {
        options.onConnected();
        this.#poller.catchUp().catch((error) => onError(error, 'poller'));
      },
    });
    this.#watchdog = new Watchdog({
      everyMs: 5_000,
      nudge: options.nudge,
      catchUp: () => this.#poller.catchUp(),
      prune: () => store.streams.prune(10_000),
      onError: (error) => onError(error, 'watchdog'),
    });
  }

  /** True unless notices are wanted and the connection for them is being rebuilt. */
  get listens(): boolean {
    return this.#listener.connected;
  }

  async start(): Promise<void> {
    this.#started = true;
    // Not fatal: a start that fails half-way could not be tried again, and the wakers catch up too.
    await this.catchUp().catch((error) => this.#options.onError(error, 'poller'));
    this.#poller.start();
    if (this.#options.store.capabilities.notices) this.#listener.start();
    this.#watchdog.start();
  }

  async stop(): Promise<void> {
    await this.#notifier.flush();
    if (!this.#started) return;
    await Promise.all([this.#poller.stop(), this.#listener.stop(), this.#watchdog.stop()]);
  }

  /** Changes which wakers count, while running; nothing is lost or restarted by it. */
  async switchMode(mode: DeploymentMode): Promise<void> {
    this.heads.mode = checkMode(mode);
    if (this.#started && mode !== 'PollingOnly') await this.catchUp();
  }

  /** Asks the store now how far the log reaches. */
  catchUp(): Promise<void> {
    return this.#poller.catchUp();
  }

  /** Events became durable: keep them for the groups here, wake them, and tell other processes. */
  announce(events: readonly StoredEvent[]): void {
    for (let from = 0, to = 0; from < events.length; from = to) {
      const { partition } = events[from] as StoredEvent;
      while (events[to]?.partition === partition) to += 1;
      const batch = from === 0 && to === events.length ? events : events.slice(from, to);
      this.tail.push(partition, batch);
      const { offset } = batch.at(-1) as StoredEvent;
      this.heads.raise(partition, offset, 'local');
      this.#notifier.note(partition, offset);
    }
  }

  /** For those who have heard nothing yet: a worker that is alone sends no notices. */
  tellHeads(): void {
    for (let partition = 0; partition < this.#options.store.partitions; partition += 1) {
      const head = this.heads.of(partition);
      if (head > 0) this.#notifier.note(partition, head);
    }
  }

  /** Sends any other notice; it may be lost, as all of them. */
  tell(notice: string): void {
    const { store, onError } = this.#options;
    if (!store.capabilities.notices) return;
    store.notices.send(notice).catch((error) => onError(error, 'notices'));
  }

  #hear(notice: string): void {
    const heads = decodeHeads(notice);
    if (heads === null) this.#options.onNotice(notice);
    else for (const [partition, head] of heads) this.heads.raise(partition, head, 'notice');
  }
}

function checkMode(mode: DeploymentMode): DeploymentMode {
  if (deploymentModes.includes(mode)) return mode;
  throw new MillraceError(
    'CONFIG_INVALID',
    `The mode is '${mode}'; it can be ${deploymentModes.join(', ')}.`,
  );
}

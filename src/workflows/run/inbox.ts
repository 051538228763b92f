/**
 * The messages of a run that is held here and that its history has not read. Asks the store only
 * when somebody said that there are some. Verbs that the engine carries out are taken out of it and
 * obeyed at once, whatever the driver is doing.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredMessage } from '../../ports/workflows.ts';
import { sleep } from '../../runtime/bell.ts';
import type { LiveRun } from './live-run.ts';
import type { RunHost } from './run-host.ts';
import { draftOfVerb, endsRun, isEngineVerb, readVerb } from './verbs.ts';

const none: readonly StoredMessage[] = Object.freeze([]);
const nothing = Promise.resolve(none);
const awayMs = 250;

export class Inbox {
  readonly #run: LiveRun;
  readonly #host: RunHost;
  #messages: StoredMessage[];
  /** The store knows of none beyond it, as far as it was asked. */
  #known: number;
  /** The driver was shown those up to this number. */
  #seen = 0;
  /** Obeyed by the engine, and not read by the history yet. */
  readonly #obeyed = new Set<number>();
  /** Never rejects. */
  #obeying: Promise<void> = Promise.resolve();
  #stale = false;
  #looking: Promise<void> | null = null;

  constructor(run: LiveRun, host: RunHost, messages: readonly StoredMessage[]) {
    this.#run = run;
    this.#host = host;
    this.#messages = [...messages];
    this.#known = messages.at(-1)?.no ?? run.record.read;
  }

  /** Messages that the driver was not shown yet. */
  get hasNews(): boolean {
    for (let i = this.#messages.length - 1; i >= 0; i -= 1) {
      const message = this.#messages[i] as StoredMessage;
      if (message.no <= this.#seen) return false;
      if (!this.#isForEngine(message)) return true;
    }
    return false;
  }

  /** What the driver sees. */
  read(): Promise<readonly StoredMessage[]> {
    if (this.#stale || this.#looking !== null) return this.look().then(() => this.#show());
    return this.#messages.length === 0 ? nothing : Promise.resolve(this.#show());
  }

  /** Asks the store, obeys what is the engine's, and wakes the driver for the rest. */
  look(): Promise<void> {
    this.#stale = true;
    this.#looking ??= this.#lookAround();
    return this.#looking;
  }

  /** The number for the next commit, if it is a new one: what the engine obeyed counts as read. */
  readBy(read: number | undefined): number | undefined {
    const before = this.#run.record.read;
    let now = Math.max(before, read ?? 0);
    if (this.#obeyed.size > 0) while (this.#obeyed.has(now + 1)) now += 1;
    return now > before ? now : undefined;
  }

  /** Forgets what the history has read. */
  forget(): void {
    if (this.#messages.length === 0) return;
    const { read } = this.#run.record;
    let count = 0;
    while (count < this.#messages.length && (this.#messages[count] as StoredMessage).no <= read) {
      this.#obeyed.delete((this.#messages[count] as StoredMessage).no);
      count += 1;
    }
    if (count > 0) this.#messages.splice(0, count);
  }

  /** In order. What fails is tried again with the next look, or by the next holder. */
  obey(): Promise<void> {
    // One after the other: a resume that passed its pause would find nothing to resume.
    this.#obeying = this.#obeying.then(() => this.#obeyAll());
    return this.#obeying;
  }

  async #obeyAll(): Promise<void> {
    for (const message of [...this.#messages]) {
      if (this.#run.status !== 'held') return;
      if (this.#obeyed.has(message.no) || !this.#isForEngine(message)) continue;
      await this.#obeyOne(message);
    }
  }

  #isForEngine(message: StoredMessage): boolean {
    return isEngineVerb(message, this.#run.ownVerbs);
  }

  #show(): readonly StoredMessage[] {
    if (this.#run.status !== 'held' || this.#messages.length === 0) return none;
    this.#seen = (this.#messages.at(-1) as StoredMessage).no;
    return this.#messages.filter((message) => !this.#isForEngine(message));
  }

  async #lookAround(): Promise<void> {
    try {
      while (this.#stale && this.#run.status === 'held') {
        this.#stale = false;
        await this.#fetch();
        await this.obey();
      }
    } finally {
      this.#looking = null;
    }
    if (this.hasNews) this.#run.wake('go');
  }

  async #fetch(): Promise<void> {
    const { store, onError } = this.#host;
    const { runId } = this.#run.info;
    try {
      for (const message of await store.messages(runId, this.#known)) {
        this.#messages.push(message);
        this.#known = message.no;
      }
    } catch (error) {
      onError(error, `messages of run ${runId}`);
      this.#stale = true;
      await sleep(awayMs);
    }
  }

  async #obeyOne(message: StoredMessage): Promise<void> {
    const run = this.#run;
    const blocked = run.record.state === 'blocked_by_failures';
    try {
      if (endsRun(message) || (message.name === 'give_up' && blocked)) {
        await run.seize(endedByHand(message));
        await this.#host.cancelChildren(run.info.runId);
      }
      if (run.status !== 'held') return;
      const draft = draftOfVerb(run.record, message);
      this.#obeyed.add(message.no);
      await run.store(draft ?? { transitions: [] });
      // A driver that was told to begin nothing looks at the record when it is woken.
      run.wake('go');
    } catch (error) {
      this.#obeyed.delete(message.no);
      if (run.status === 'held') this.#host.onError(error, `verb ${message.name}`);
    }
  }
}

function endedByHand(message: StoredMessage): MillraceError {
  const { by, reason } = readVerb(message);
  const why = reason === undefined ? '' : `: ${reason}`;
  const what = message.name === 'cancel' ? 'cancelled' : 'ended';
  return new MillraceError('WORKFLOW_CANCELLED', `The run was ${what} by ${by}${why}`);
}

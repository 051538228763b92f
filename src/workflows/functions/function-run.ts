/**
 * One holding of a run of a durable function: calls the function, wakes what waits, reads messages,
 * and lets go when every branch can only wait.
 *
 *   forward ──(threw, or cancelled, with steps to undo)──> undoing ──> error | cancelled
 *      │                                                      ▲
 *      └──(returned)──> complete                              │
 *   rewinding: taken over while undoing: called once more to learn how steps are undone
 *
 * Invariant: what an abandoned call of the function does has no effect: its context never answers,
 * and the ends of its handlers are ignored.
 */
import { isMillraceError, MillraceError } from '../../core/errors.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { Drive, HeldRun } from '../run/driver.ts';
import { FunctionCall } from './function-call.ts';
import type { FunctionRules } from './function-rules.ts';
import { Inbox } from './inbox.ts';
import { Journal } from './journal.ts';
import { type Entry, Ledger } from './ledger.ts';
import { readMessages } from './messages.ts';
import { endRun } from './run-end.ts';
import { settleUndo, startUndoing, type UndoReason, undoNote } from './undo.ts';
import { timeOut } from './waits.ts';

/** How the run ends, once it does. */
export type Verdict =
  | { readonly kind: 'returned'; readonly value: unknown }
  | { readonly kind: 'threw'; readonly error: unknown }
  | { readonly kind: 'nondeterministic'; readonly error: MillraceError }
  | { readonly kind: 'cancelled'; readonly by: string; readonly reason: string | undefined }
  | { readonly kind: 'undone'; readonly why: UndoReason; readonly failed: MillraceError | null };

export type Phase = 'forward' | 'rewinding' | 'undoing';

/** Messages are looked for while handlers run, too, but not during the first moments. */
const lookAfterMs = 25;

/** One for all: an error takes 20 µs to make. */
const letGo = new MillraceError('LEASE_LOST', 'This process let go of the run.');

export class FunctionRun {
  readonly run: HeldRun;
  readonly rules: FunctionRules;
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly inbox: Inbox;
  /** As they will be once everything is stored. */
  readonly notes: Map<string, string>;
  phase: Phase = 'forward';
  verdict: Verdict | null = null;
  /** Handlers under way. */
  running = 0;
  /** Messages up to this number have had their effect, stored or about to be. */
  readTo: number;
  undoing: UndoReason | null;
  call: FunctionCall;
  #lost = false;
  #resting = false;
  /** Steps that may not begin now: the run is paused, or about to rest. */
  #parked: (() => void)[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(run: HeldRun, rules: FunctionRules) {
    this.run = run;
    this.rules = rules;
    this.journal = new Journal(run, {
      target: () => this.#target(),
      ending: () => this.verdict !== null,
      onStored: () => this.changed(),
      onLost: () => this.#lose(),
    });
    this.ledger = new Ledger(run, this.journal);
    this.notes = new Map(run.record.notes);
    this.inbox = new Inbox(this.notes);
    this.readTo = run.record.read;
    this.undoing = undoNote(this.notes);
    this.call = new FunctionCall(this);
  }

  /** Never rejects. */
  async drive(): Promise<Drive> {
    const { run } = this;
    const onAbort = () => this.#lose();
    run.signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (run.signal.aborted) return 'lost';
      this.#open();
      if (run.record.seq > 0) await readMessages(this);
      this.phase = this.undoing === null ? 'forward' : 'rewinding';
      this.call.begin();
      return await this.#loop();
    } catch (error) {
      if (this.lost || run.signal.aborted || isLoss(error)) return 'lost';
      run.log(null).error('the driver of a durable function failed', { error });
      return 'lost';
    } finally {
      run.signal.removeEventListener('abort', onAbort);
      this.call.abandon(letGo);
      this.journal.close();
    }
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** No step may begin just now. */
  get halted(): boolean {
    return this.#resting || this.#lost || this.run.record.paused || this.verdict !== null;
  }

  /** Begins once it may. */
  park(begin: () => void): void {
    this.#parked.push(begin);
  }

  /** Something happened that the loop should see. */
  changed(): void {
    this.#changed.resolve();
  }

  /** Its function has waited for it: it goes on in this turn. */
  settled(entry: Entry): void {
    const { answer } = entry;
    entry.answer = null;
    answer?.(entry);
    this.changed();
  }

  decide(verdict: Verdict): void {
    if (this.verdict !== null) return;
    this.verdict = verdict;
    this.changed();
  }

  /** Until what has gathered is stored, or the run is lost. */
  async flushed(): Promise<void> {
    const { signal } = this.run;
    if (signal.aborted) return;
    const { promise: lost, resolve } = Promise.withResolvers<void>();
    const leave = () => resolve();
    signal.addEventListener('abort', leave, { once: true });
    await Promise.race([this.journal.flush(), lost]);
    signal.removeEventListener('abort', leave);
  }

  /** Until it is known how steps ended whose transactions are committing, or the run is lost. */
  async unblocked(): Promise<void> {
    while (this.journal.blocked && !this.#lost) {
      this.#changed = Promise.withResolvers<void>();
      await this.#changed.promise;
    }
  }

  /** Calls the function anew, with what is kept: after steps were forgotten. */
  restart(reason: string): void {
    this.call.abandon(new MillraceError('WORKFLOW_STATE', reason));
    for (const entry of this.ledger.entries) {
      entry.recorded = true;
      entry.asked = false;
      entry.answer = null;
      entry.begin = null;
      entry.cancel?.abort(new MillraceError('WORKFLOW_STATE', reason));
      entry.cancel = null;
    }
    this.#parked = [];
    this.verdict = null;
    this.call = new FunctionCall(this);
    this.phase = this.undoing === null ? 'forward' : 'rewinding';
    this.call.begin();
    this.changed();
  }

  async #loop(): Promise<Drive> {
    for (;;) {
      if (this.#lost) return 'lost';
      this.#wakeDue(Date.now());
      if (this.verdict !== null) {
        const drive = await this.#conclude(this.verdict);
        if (drive !== null) return drive;
        continue;
      }
      const next = await this.#pause();
      if (this.#lost) return 'lost';
      if (next === 'go') await readMessages(this);
      if (next === 'rest' && (await this.#rest())) return this.#lost ? 'lost' : 'rested';
      this.#unpark();
    }
  }

  /** Null: it goes on, to undo what was done. */
  async #conclude(verdict: Verdict): Promise<Drive | null> {
    if (this.journal.blocked) {
      await this.unblocked();
      if (this.#lost || this.verdict !== verdict) return this.#lost ? 'lost' : null;
    }
    if (verdict.kind === 'threw' || verdict.kind === 'cancelled') {
      if (startUndoing(this, verdict)) return null;
    }
    if (this.phase === 'rewinding') {
      settleUndo(this, verdict);
      return null;
    }
    await endRun(this, verdict);
    return this.#lost ? 'lost' : 'ended';
  }

  async #pause(): Promise<'changed' | 'go' | 'rest'> {
    // What was just answered goes on in this turn; afterwards it is known whether all wait.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.verdict !== null || this.#lost) return 'changed';
    this.#changed = Promise.withResolvers<void>();
    const { promise: changed } = this.#changed;
    if (this.#idle) {
      const until = this.run.record.paused ? null : this.#nextWake();
      const answer = await Promise.race([changed, this.run.wait(until)]);
      return answer ?? 'changed';
    }
    if (await isSooner(changed, lookAfterMs)) return 'changed';
    const answer = await Promise.race([changed, this.run.wait(this.#nextWake(), changed)]);
    // While handlers run nobody lets go; 'go' may be said because they ended.
    return answer === 'go' ? 'go' : 'changed';
  }

  /** Every branch of the function waits for a time or for somebody. */
  get #idle(): boolean {
    if (this.running > 0 || !this.journal.calm) return false;
    return this.ledger.waiting.size > 0 || this.#parked.length > 0;
  }

  #nextWake(): number | null {
    let next: number | null = null;
    for (const { step, begin } of this.ledger.waiting) {
      if (step.wakeAt === null || (step.kind === 'run' && begin === null)) continue;
      if (next === null || step.wakeAt < next) next = step.wakeAt;
    }
    return next;
  }

  #wakeDue(now: number): void {
    if (this.run.record.paused) return;
    for (const entry of this.ledger.waiting) {
      const { wakeAt, kind } = entry.step;
      if (wakeAt === null || wakeAt > now) continue;
      if (kind !== 'run') timeOut(this, entry);
      else if (entry.begin !== null) {
        this.ledger.waiting.delete(entry);
        entry.begin();
      }
    }
  }

  async #rest(): Promise<boolean> {
    if (!this.#idle) return false;
    this.#resting = true;
    const wakeAt = this.run.record.paused ? null : this.#nextWake();
    const outcome = await this.journal.rest(wakeAt);
    this.#resting = false;
    if (outcome === 'unread') await readMessages(this);
    return outcome !== 'unread';
  }

  #unpark(): void {
    if (this.halted || this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    for (const begin of parked) begin();
  }

  /** What the run is in as a whole, when something is stored. */
  #target(): TaskState | null {
    if (this.running > 0) return 'steps_in_process';
    const { waiting } = this.ledger;
    if (waiting.size === 0) return null;
    for (const { step } of waiting) if (step.kind !== 'run') return 'waiting_for_dependencies';
    return 'waiting_for_retry';
  }

  /** An operator opened it again after its end; the message that says how comes next. */
  #open(): void {
    const { journal } = this;
    const before = journal.state;
    if (before === 'error' || before === 'cancelled') journal.force('pending');
    if (journal.state === 'pending') journal.moveTo('initializing');
    if (before === 'steps_in_process') journal.moveTo('evaluating_results');
    if (journal.state !== before) journal.addLazily({});
  }

  #lose(): void {
    this.#lost = true;
    this.journal.close();
    this.call.abandon(this.run.signal.reason);
    this.changed();
  }
}

function isLoss(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'LEASE_LOST';
}

async function isSooner(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const sooner = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return sooner;
}

/**
 * A run that this process holds: its record in memory, the line of drafts that wait to be stored,
 * and whoever waits for messages or a time. Everything that a driver can do goes through here.
 *
 * Invariant: one commit of the run is under way at a time, and the record is what is stored.
 *
 *   held ──> ended | rested | lost (another holder, dead epoch) | released (this process stops)
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobLog } from '../../core/job-context.ts';
import { parseStored } from '../../core/json.ts';
import {
  printChange,
  type RunChange,
  type RunRecord,
  type StepKind,
  type StepRecord,
} from '../../core/workflow/run-record.ts';
import type {
  CommitOutcome,
  RunCommit,
  RunInfo,
  RunRest,
  RunTransaction,
  StoredMessage,
} from '../../ports/workflows.ts';
import { sleep } from '../../runtime/bell.ts';
import { type CommitSource, isLost } from '../committer.ts';
import type { Sleeper } from './alarms.ts';
import type { Draft, HeldRun, HeldTransaction } from './driver.ts';
import { Inbox } from './inbox.ts';
import { merge, mergeable, stateAfter } from './merge.ts';
import { applyObserved, type LetGo, type Observers, tellObservers } from './observer.ts';
import type { Holding, RunHost } from './run-host.ts';

/** One draft in the line. */
interface Entry {
  readonly draft: Draft;
  readonly rest: (RunRest & { readonly read?: number }) | null;
  /** It is stored by its own transaction. */
  readonly transaction: RunTransaction | null;
  resolve(outcome: CommitOutcome): void;
  reject(error: unknown): void;
}

interface UnderWay {
  readonly entries: number;
  readonly change: RunChange;
  readonly commit: RunCommit;
}

/** Steps of these kinds wait while they are in progress; the others have a handler at work. */
const waitingKinds: ReadonlySet<StepKind> = new Set([
  'sleep',
  'event',
  'signal',
  'approval',
  'child',
]);
/** A message number that no run reaches. */
const allMessages = 2_147_483_647;
const releaseTriesMax = 5;
/** A run whose steps could not be stored is tried again after so long. */
const refusedMs = 5_000;

export class LiveRun implements HeldRun, CommitSource, Sleeper {
  readonly info: RunInfo;
  readonly epoch: number;
  readonly born: boolean;
  readonly record: RunRecord;
  readonly ownVerbs: readonly string[];
  /** How the holding ended; once. */
  readonly over: Promise<LetGo>;
  readonly #host: RunHost;
  readonly #inbox: Inbox;
  #status: 'held' | LetGo = 'held';
  #finish: (how: LetGo) => void = () => {};
  #controller: AbortController | null = null;
  #input: unknown = undefined;
  #line: Entry[] = [];
  #underWay: UnderWay | null = null;
  #busy = false;
  /** Numbers of steps that are promised to somebody. */
  #nextStep: number;
  /** Why the driver's drafts are not taken any more. */
  #refusal: unknown = null;
  #quiet: (() => void)[] = [];
  #waiter: ((answer: 'go' | 'rest') => void) | null = null;
  #waitsUntil: number | null = null;
  /** The waiter may be told to rest. */
  #mayRest = false;
  /** Tries to rest in a row that found no message to read, and yet no rest. */
  #unreadRests = 0;
  /** Handlers that were at work when this process began to stop. */
  #draining: Set<number> | null = null;

  constructor(host: RunHost, holding: Holding) {
    this.#host = host;
    this.info = holding.info;
    this.epoch = holding.epoch;
    this.born = holding.born;
    this.record = holding.record;
    this.ownVerbs = holding.ownVerbs;
    this.#nextStep = holding.record.steps.length;
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#inbox = new Inbox(this, host, holding.messages);
  }

  get workerId(): string {
    return this.#host.workerId;
  }
  get stepEvents(): HeldRun['stepEvents'] {
    return this.#host.stepEvents;
  }

  get observers(): Observers {
    return this.#host.observers;
  }
  get status(): 'held' | LetGo {
    return this.#status;
  }
  get input(): unknown {
    if (this.#input === undefined) this.#input = parseStored(this.info.inputJson);
    return this.#input;
  }
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }
  /** The engine ends it or hands it on: nothing of the driver is taken any more. */
  get seized(): boolean {
    return this.#refusal !== null;
  }
  /** A step of it waits for an event of the log. */
  get awaitsEvents(): boolean {
    return this.record.steps.some((it) => it.kind === 'event' && it.state === 'in_progress');
  }
  /** It has nothing to do but to wait. */
  get waits(): boolean {
    return this.#waiter !== null && this.#mayRest;
  }

  log(step: StepRecord | null): JobLog {
    return this.#host.log(this.info, step);
  }

  reserve(count: number): number {
    const first = this.#nextStep;
    this.#nextStep += count;
    return first;
  }

  commit(draft: Draft): Promise<void> {
    return this.#enter(draft, null, null) as Promise<unknown> as Promise<void>;
  }

  async begin(): Promise<HeldTransaction> {
    if (this.#refusal !== null) throw this.#refusal;
    const transaction = await this.#host.store.begin(this.epoch, this.info.tenantId);
    let begun = false;
    const commit: RunTransaction['commit'] = (change) => {
      begun = true;
      return transaction.commit(change);
    };
    return {
      tx: transaction.tx,
      commit: (draft) =>
        this.#enter(draft, null, { ...transaction, commit }).then(
          () => {},
          async (error) => {
            // Refused before its turn came: nobody else ends it, and it holds a connection.
            if (!begun) await transaction.rollback().catch(() => {});
            throw error;
          },
        ),
      rollback: () => transaction.rollback(),
    };
  }

  messages(): Promise<readonly StoredMessage[]> {
    return this.#inbox.read();
  }

  wait(until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'> {
    this.wake('go'); // whoever waited before waits no longer
    const now = Date.now();
    if (this.#inbox.hasNews || (until !== null && until <= now)) return Promise.resolve('go');
    if (busy === undefined && (this.#draining !== null || this.#host.crowded())) {
      return Promise.resolve('rest');
    }
    return new Promise((resolve) => {
      this.#waiter = resolve;
      this.#waitsUntil = until;
      this.#mayRest = busy === undefined;
      const { alarms, residencyMs } = this.#host;
      if (busy === undefined) {
        alarms.set(this, Math.min(until ?? Number.POSITIVE_INFINITY, now + residencyMs));
        this.#host.idle(this, true);
        return;
      }
      if (until !== null) alarms.set(this, until);
      const done = () => {
        if (this.#waiter === resolve) this.wake('go');
      };
      busy.then(done, done);
    });
  }

  async rest(rest: RunRest, draft: Draft): Promise<'rested' | 'unread'> {
    const outcome = await this.#enter(draft, rest, null);
    if (outcome !== 'unread') return 'rested';
    await this.#inbox.look();
    // Somebody is delivering and has not committed: not so often, or each try is a link.
    if (this.#inbox.hasNews) this.#unreadRests = 0;
    else await sleep(Math.min(1_000, 5 * 2 ** this.#unreadRests++));
    return 'unread';
  }

  /** There may be messages. */
  nudge(): void {
    if (this.#status === 'held') this.#inbox.look().catch(() => {});
  }

  /** Whoever waits goes on, or rests. */
  wake(answer: 'go' | 'rest'): void {
    const waiter = this.#waiter;
    if (waiter === null) return;
    this.#waiter = null;
    this.#host.alarms.clear(this);
    if (this.#mayRest) this.#host.idle(this, false);
    waiter(answer);
  }

  /** For alarms. */
  ring(): void {
    const due = this.#waitsUntil !== null && this.#waitsUntil <= Date.now();
    this.wake(due || !this.#mayRest ? 'go' : 'rest');
  }

  // The committer's side.

  get heavy(): boolean {
    const draft = this.#line[0]?.draft;
    if (draft === undefined) return false;
    const { end, starts, messages, jobs } = draft;
    return (end ?? starts?.[0] ?? messages?.[0] ?? jobs?.[0]) !== undefined;
  }

  take(): RunCommit | null {
    if (this.#line.length === 0) {
      this.#idle();
      return null;
    }
    const drafts: Draft[] = [];
    for (const entry of this.#line) {
      if (entry.transaction !== null) break;
      drafts.push(entry.draft);
      if (entry.rest !== null) break;
    }
    const count = drafts.length === 1 ? 1 : mergeable(drafts);
    const last = this.#line[count - 1] as Entry;
    return this.#print(merge(drafts, count), count, last.rest);
  }

  settled(outcome: CommitOutcome): void {
    const underWay = this.#underWay as UnderWay;
    this.#underWay = null;
    if (this.#status !== 'held') {
      this.#giveUpStarts(underWay);
      return;
    }
    if (outcome === 'fenced') {
      this.#giveUpStarts(underWay);
      this.lose(fenced(this.info.runId));
      return;
    }
    const entries = this.#line.splice(0, underWay.entries);
    this.#apply(underWay, outcome);
    for (const entry of entries) entry.resolve(outcome);
    this.#advance();
  }

  failed(error: unknown): void {
    const underWay = this.#underWay;
    this.#underWay = null;
    if (underWay !== null) this.#giveUpStarts(underWay);
    if (this.#status !== 'held') return;
    if (isLost(error)) {
      this.lose(error);
      return;
    }
    const refused = this.#line.splice(0, underWay?.entries ?? 1);
    // Steps that were promised their numbers do not exist: the driver cannot count on from here,
    // and what it has asked for since is about steps that are not there.
    const lost = refused.some(({ draft }) => (draft.create?.length ?? 0) > 0);
    const rest = lost ? this.#line.splice(0) : [];
    for (const { reject, transaction } of [...refused, ...rest]) {
      transaction?.rollback().catch(() => {});
      reject(error);
    }
    this.#advance();
    if (lost) {
      this.release(error, refusedMs).catch((cause) => this.lose(cause));
    }
  }

  // The engine's side.

  /** Nothing of it can be stored any more, or shall be. */
  lose(cause: unknown): void {
    this.#end('lost', cause);
  }

  /** Handlers are told to stop, the driver's drafts refused; resolves when none is under way. */
  async seize(cause: unknown): Promise<void> {
    this.#refusal ??= cause;
    this.abort(cause);
    this.wake('go');
    const keep = this.#underWay?.entries ?? (this.#busy ? 1 : 0);
    for (const entry of this.#line.splice(keep)) entry.reject(cause);
    if (this.#busy) await new Promise<void>((resolve) => this.#quiet.push(resolve));
  }

  /** As a driver, but for the engine's own drafts, which are taken after `seize` as well. */
  store(draft: Draft): Promise<CommitOutcome> {
    return this.#push(draft, null, null);
  }

  abort(cause: unknown): void {
    if (this.#controller === null) this.#controller = new AbortController();
    if (!this.#controller.signal.aborted) this.#controller.abort(cause);
  }

  /** This process stops: handlers at work may finish, nothing new is to begin. */
  drain(cause: unknown): void {
    const { steps } = this.record;
    const atWork = steps.filter((it) => it.state === 'in_progress' && !waitingKinds.has(it.kind));
    this.#draining = new Set(atWork.map(({ no }) => no));
    if (this.waits) this.wake('rest');
    else if (this.#draining.size === 0) this.abort(cause);
  }

  /** Another process shall have it, after `delayMs`; if that cannot be stored, when we are gone. */
  async release(cause: unknown, delayMs: number): Promise<void> {
    await this.seize(cause);
    for (let tries = 1; this.#status === 'held'; tries += 1) {
      const rest = { state: this.record.state, wakeAt: Date.now() + delayMs, read: allMessages };
      const outcome = await this.#push({ transitions: [] }, rest, null);
      if (outcome === 'stored') return;
      // Somebody delivers a message to it just now. A process that stops does not wait for long:
      // who recovers its epoch has the run. Any other keeps at it, or nobody would have it.
      if (delayMs === 0 && tries >= releaseTriesMax) this.lose(cause);
      else await sleep(Math.min(1_000, tries * 10));
    }
  }

  /** Verbs that came with it. True: the run is to be driven. */
  async obey(): Promise<boolean> {
    await this.#inbox.obey();
    return this.#status === 'held';
  }

  #enter(
    draft: Draft,
    rest: RunRest | null,
    transaction: RunTransaction | null,
  ): Promise<CommitOutcome> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal);
    return this.#push(draft, rest, transaction);
  }

  #push(
    draft: Draft,
    rest: Entry['rest'],
    transaction: RunTransaction | null,
  ): Promise<CommitOutcome> {
    if (this.#status !== 'held') return Promise.reject(this.#refusal ?? over(this.info.runId));
    return new Promise((resolve, reject) => {
      this.#line.push({ draft, rest, transaction, resolve, reject });
      if (!this.#busy) this.#advance();
    });
  }

  #advance(): void {
    const [head] = this.#line;
    if (head === undefined) {
      this.#idle();
      return;
    }
    this.#busy = true;
    if (head.transaction === null) this.#host.committer.add(this);
    else void this.#storeIn(head.transaction, head);
  }

  #idle(): void {
    this.#busy = false;
    for (const resolve of this.#quiet.splice(0)) resolve();
  }

  async #storeIn(transaction: RunTransaction, { draft }: Entry): Promise<void> {
    const commit = this.#print(draft, 1, null);
    try {
      const { outcomes, woken } = await transaction.commit(commit);
      this.settled(outcomes[0] as CommitOutcome);
      if (woken.length > 0) this.#host.woken(woken);
    } catch (error) {
      this.failed(error);
    }
  }

  #print(draft: Draft, entries: number, rest: Entry['rest']): RunCommit {
    const { info, record } = this;
    const read = this.#inbox.readBy(draft.read);
    const change: RunChange = {
      at: Date.now(),
      by: draft.by ?? this.#host.workerId,
      create: draft.create,
      transitions: draft.transitions,
      facts: draft.facts,
      read,
      notes: draft.notes,
      reason: draft.reason,
    };
    const commit: RunCommit = {
      runId: info.runId,
      tenantId: info.tenantId,
      seq: record.seq + 1,
      state: stateAfter(record, draft),
      changeJson: printChange(change),
      starts: draft.starts?.map((start) => this.#host.adopt(start)),
      messages: draft.messages,
      jobs: draft.jobs,
      events: draft.events,
      waits: draft.waits,
      unwait: draft.unwait,
      end: draft.end,
      rest: rest === null ? undefined : { read: read ?? record.read, ...rest },
    };
    this.#underWay = { entries, change, commit };
    return commit;
  }

  #apply({ change, commit }: UnderWay, outcome: CommitOutcome): void {
    const { observers, onError } = this.#host;
    if (observers.length === 0) this.record.apply(change);
    else applyObserved(observers, onError, this, change, commit.waits ?? []);
    this.#inbox.forget();
    if (commit.starts !== undefined) this.#host.adopted(commit.starts, true, this.epoch);
    if (this.#draining !== null) this.#drained();
    if (commit.end !== undefined) this.#end('ended', over(this.info.runId));
    else if (commit.rest !== undefined && outcome === 'stored') {
      const released = commit.rest.read === allMessages;
      this.#end(released ? 'released' : 'rested', over(this.info.runId));
    }
    this.#host.applied(this, commit);
  }

  #giveUpStarts({ commit }: UnderWay): void {
    if (commit.starts !== undefined) this.#host.adopted(commit.starts, false, this.epoch);
  }

  #drained(): void {
    for (const no of this.#draining as Set<number>) {
      if (this.record.steps[no]?.state !== 'in_progress') this.#draining?.delete(no);
    }
    if (this.#draining?.size === 0) this.abort(stopping());
  }

  #end(how: LetGo, cause: unknown): void {
    if (this.#status !== 'held') return;
    this.#status = how;
    this.#refusal ??= cause;
    if (how === 'lost') this.abort(cause);
    this.wake('go');
    for (const entry of this.#line.splice(0)) {
      if (how === 'lost') entry.reject(cause);
      else entry.reject(this.#refusal);
    }
    this.#idle();
    const { observers, onError } = this.#host;
    tellObservers(observers, onError, (it) => it.letGo?.(this, how));
    this.#finish(how);
  }
}

export function stopping(): MillraceError {
  return new MillraceError('SHUTTING_DOWN', 'This process stops; the run goes on elsewhere.');
}

function fenced(runId: string): MillraceError {
  return new MillraceError('LEASE_LOST', `Another worker holds run ${runId} by now.`, {
    fix: 'Nothing is lost: the other worker goes on from what is stored.',
  });
}

function over(runId: string): MillraceError {
  return new MillraceError('LEASE_LOST', `Run ${runId} is not held here any more.`);
}

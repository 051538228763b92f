/**
 * What a durable function has brought about and what of it is stored. Facts are added as they
 * happen and gather in one draft: the end of a step and the start of the next one are one commit.
 *
 *   add ──> draft ──(the turn is over, or 25 ms for starts only)──> commit ──> stored
 *
 * Invariant: a handler is called only after every result that its function has seen is stored.
 */
import type { NewStep, StepFacts } from '../../core/workflow/run-record.ts';
import type { StepState, TaskState } from '../../core/workflow/states.ts';
import type { Draft, HeldRun, HeldTransaction } from '../run/driver.ts';
import { statePath } from '../run/state-path.ts';

/** What is shown of a running step is at most so old. */
const lazyMs = 25;

type Part = Omit<Draft, 'transitions'> & { readonly transitions?: Draft['transitions'] };

interface Gathered {
  create: NewStep[];
  transitions: (readonly [number, TaskState | StepState])[];
  facts: StepFacts[];
  notes: (readonly [string, string | null])[];
  starts: NonNullable<Draft['starts']>[number][];
  messages: NonNullable<Draft['messages']>[number][];
  jobs: NonNullable<Draft['jobs']>[number][];
  events: NonNullable<Draft['events']>[number][];
  waits: NonNullable<Draft['waits']>[number][];
  unwait: number[];
  read: number | undefined;
  by: string | undefined;
  reason: string | undefined;
  end: Draft['end'];
  /** The function has seen it: no handler begins before it is stored. */
  urgent: boolean;
  readonly stored: Promise<void>;
  readonly onStored: () => void;
}

export interface JournalHooks {
  /** Where the run stands, when a draft is about to be stored; null: as before. */
  target(): TaskState | null;
  /** The run is about to end: what has gathered goes with its last commit. */
  ending(): boolean;
  onStored(): void;
  onLost(error: unknown): void;
}

export class Journal {
  readonly #run: HeldRun;
  readonly #hooks: JournalHooks;
  /** As it will be once everything is stored. */
  state: TaskState;
  #draft: Gathered | null = null;
  /** Since the run was last moved. */
  #stepsEnded = false;
  #timer: NodeJS.Timeout | null = null;
  #scheduled = false;
  /**
   * The last of the steps' transactions that commit, one after the other: drafts wait for it,
   * because it may be undone.
   */
  #commits: Promise<void> | null = null;
  /** Somebody waits for the draft, even if the run is about to end. */
  #asked = false;
  #closed = false;
  #flying = 0;
  /** The last draft under way that a handler must wait for. */
  #urgentFlying: Promise<void> | null = null;

  constructor(run: HeldRun, hooks: JournalHooks) {
    this.#run = run;
    this.#hooks = hooks;
    this.state = run.record.state;
  }

  /** Nothing is waiting to be stored. */
  get calm(): boolean {
    return this.#draft === null && this.#flying === 0 && !this.blocked;
  }

  /** A step's transaction is committing: how that step ended is not known yet. */
  get blocked(): boolean {
    return this.#commits !== null;
  }

  /** Adds facts that the function has seen, or will see at once. */
  add(part: Part): void {
    this.#gather(part);
    (this.#draft as Gathered).urgent = true;
    this.#soon();
  }

  /** Does something once what has gathered is stored. */
  onceStored(action: () => unknown): void {
    void this.#open().stored.then(action);
  }

  /** Adds what nobody waits for: the start of a step. It goes with whatever comes next. */
  addLazily(part: Part): void {
    this.#gather(part);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.flush();
    }, lazyMs);
  }

  /** The next draft says that steps ended: the run evaluates their results. */
  noteStepEnded(): void {
    this.#stepsEnded = true;
  }

  /** Moves the run, through the states between. */
  moveTo(state: TaskState): void {
    const draft = this.#open();
    for (const next of statePath(this.state, state)) draft.transitions.push([-1, next]);
    this.state = state;
  }

  /** A transition that no way leads to: by hand, and out of an end. */
  force(state: TaskState): void {
    if (this.state === state) return;
    this.#open().transitions.push([-1, state]);
    this.state = state;
  }

  /** Resolves at once when nothing is open that a handler must wait for. Never rejects. */
  durable(): Promise<void> | null {
    if (this.#draft?.urgent) return this.#draft.stored;
    return this.#urgentFlying;
  }

  /** Stores what has gathered. Resolves when that is durable; never when the run is lost. */
  flush(): Promise<void> {
    if (this.blocked || this.#closed) {
      this.#asked = this.#draft !== null;
      return this.#draft?.stored ?? Promise.resolve();
    }
    const draft = this.take();
    if (draft === null) return this.#urgentFlying ?? Promise.resolve();
    this.#send(draft, this.#run.commit(printDraft(draft)));
    return draft.stored;
  }

  /** What has gathered, for a commit of another kind. Call `settled` of it afterwards. */
  take(): Gathered | null {
    this.#stopTimer();
    if (this.#draft !== null) this.#settleState();
    const draft = this.#draft;
    this.#draft = null;
    this.#asked = false;
    return draft;
  }

  /** Lets go of the run; `unread`: it goes on, and the draft is stored. */
  async rest(wakeAt: number | null): Promise<'rested' | 'unread' | 'lost'> {
    const draft = this.take();
    const given: Draft = draft === null ? { transitions: [] } : printDraft(draft);
    try {
      const outcome = await this.#run.rest({ state: this.state, wakeAt }, given);
      draft?.onStored();
      return outcome;
    } catch (error) {
      this.#lose(error);
      return 'lost';
    }
  }

  /**
   * Stores what has gathered and `part` in a step's transaction. Rejects with what its commit
   * threw: nothing of the part is stored then, and the rest is with the next draft.
   * @param apply called when it is stored, before anything else is.
   */
  async commitIn(transaction: HeldTransaction, part: Part, apply: () => void): Promise<void> {
    const before = this.#commits;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    this.#commits = over;
    if (before !== null) await before;
    const draft = this.take() ?? createGathered();
    this.#urgentFlying = draft.stored;
    try {
      await transaction.commit(printDraft(merge(copyOf(draft), part)));
      apply();
      draft.onStored();
    } catch (error) {
      this.#giveBack(draft);
      throw error;
    } finally {
      if (this.#commits === over) this.#commits = null;
      end();
      if (this.#urgentFlying === draft.stored) this.#urgentFlying = null;
      if (this.#draft !== null) this.#soon();
      this.#hooks.onStored();
    }
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer();
  }

  #giveBack(draft: Gathered): void {
    const later = this.#draft;
    this.#draft = draft;
    this.#asked = true;
    draft.urgent = true;
    if (later === null) return;
    merge(draft, later);
    void draft.stored.then(later.onStored);
  }

  #send(draft: Gathered, commit: Promise<void>): void {
    this.#flying += 1;
    if (draft.urgent) this.#urgentFlying = draft.stored;
    commit.then(
      () => {
        this.#flying -= 1;
        if (this.#urgentFlying === draft.stored) this.#urgentFlying = null;
        draft.onStored();
        this.#hooks.onStored();
      },
      (error) => this.#lose(error),
    );
  }

  #lose(error: unknown): void {
    this.close();
    this.#hooks.onLost(error);
  }

  #settleState(): void {
    const draft = this.#draft as Gathered;
    if (draft.end !== undefined) return;
    if (this.#stepsEnded && this.state === 'steps_in_process') this.moveTo('evaluating_results');
    this.#stepsEnded = false;
    const target = this.#hooks.target();
    if (target !== null && target !== this.state) this.moveTo(target);
  }

  #gather(part: Part): void {
    merge(this.#open(), part);
  }

  #open(): Gathered {
    this.#draft ??= createGathered();
    return this.#draft;
  }

  /** After the turn: by then the function has asked for what comes next. */
  #soon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#asked || !this.#hooks.ending()) void this.flush();
    });
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function createGathered(): Gathered {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    create: [],
    transitions: [],
    facts: [],
    notes: [],
    starts: [],
    messages: [],
    jobs: [],
    events: [],
    waits: [],
    unwait: [],
    read: undefined,
    by: undefined,
    reason: undefined,
    end: undefined,
    urgent: false,
    stored: promise,
    onStored: resolve,
  };
}

const lists = [
  'create',
  'transitions',
  'facts',
  'notes',
  'starts',
  'messages',
  'jobs',
  'events',
  'waits',
  'unwait',
] as const;

/** Waits that were begun in the same draft are dropped: stores take away before they add. */
function unwaitStored(into: Gathered, unwait: readonly number[]): readonly number[] {
  const begun = new Set(into.waits.map(({ step }) => step));
  if (begun.size === 0) return unwait;
  into.waits = into.waits.filter(({ step }) => !unwait.includes(step));
  return unwait.filter((step) => !begun.has(step));
}

function merge(into: Gathered, part: Part): Gathered {
  const unwait = part.unwait === undefined ? undefined : unwaitStored(into, part.unwait);
  for (const list of lists) {
    const more = (list === 'unwait' ? unwait : part[list]) as readonly never[] | undefined;
    if (more === undefined || more.length === 0) continue;
    for (const one of more) (into[list] as unknown[]).push(one);
  }
  into.read = part.read ?? into.read;
  into.by = part.by ?? into.by;
  into.reason = part.reason ?? into.reason;
  into.end = part.end ?? into.end;
  return into;
}

function copyOf(draft: Gathered): Gathered {
  return merge(createGathered(), draft as Part);
}

function printDraft(draft: Gathered): Draft {
  const printed: Record<string, unknown> = { transitions: draft.transitions };
  for (const list of lists) if (draft[list].length > 0) printed[list] = draft[list];
  for (const member of ['read', 'by', 'reason', 'end'] as const) {
    if (draft[member] !== undefined) printed[member] = draft[member];
  }
  return printed as unknown as Draft;
}

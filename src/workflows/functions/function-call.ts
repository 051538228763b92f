/**
 * One call of a durable function: which steps it has asked for, and the promises it waits for. A
 * run that rested, moved or was reset calls its function again; the older call is abandoned then.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StepKind } from '../../core/workflow/run-record.ts';
import { createContext } from './function-context.ts';
import type { FunctionRun } from './function-run.ts';
import { answerOf, type Entry, isFinal } from './ledger.ts';
import { inScope, Scope, scopeOf } from './scope.ts';
import { limitRewinding, lookAtUndos, type Undo } from './undo.ts';
import { isUndoable, undoPrefix } from './undo-names.ts';

const never = new Promise<never>(() => {});
const keyCharsMax = 200;

/** What a step is asked for as: beside its key. */
export interface Question {
  readonly name: string;
  readonly kind: StepKind;
  /** What it is about, as its inputs say: a signal, an event, a workflow. Null: not compared. */
  readonly about?: string | null;
}

export class FunctionCall {
  readonly #room: FunctionRun;
  /** Made when somebody asks for the signal: most functions never do. */
  #controller: AbortController | null = null;
  #reason: unknown = null;
  readonly #root = new Scope('');
  readonly #asked = new Set<string>();
  /** How to undo the steps that say so, by name. */
  readonly undos = new Map<string, Undo>();
  /** Steps of the history that this call has not come to. */
  #ahead = 0;
  #abandoned = false;
  #begun = false;

  constructor(room: FunctionRun) {
    this.#room = room;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#abandoned) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get begun(): boolean {
    return this.#begun;
  }

  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** The history goes on beyond this place. */
  get replays(): boolean {
    return this.#ahead > 0;
  }

  get scope(): Scope {
    return scopeOf(this) ?? this.#root;
  }

  /** Calls the function. How it ends is told to the run. */
  begin(): void {
    if (this.#abandoned) return;
    this.#begun = true;
    const { run, rules, ledger } = this.#room;
    this.#ahead = ledger.entries.filter(isAhead).length;
    const context = createContext(this.#room, this);
    const ended = inScope(this, this.#root, async () => rules.body(context, run.input));
    ended.then(
      (value) => {
        if (!this.#abandoned) this.#room.decide({ kind: 'returned', value });
      },
      (error) => {
        if (!this.#abandoned) this.#room.decide({ kind: 'threw', error });
      },
    );
    if (this.#room.phase !== 'rewinding') return;
    limitRewinding(this.#room);
    lookAtUndos(this.#room);
  }

  /** Nothing that it does has an effect from now on. */
  abandon(reason: unknown): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** A scope of its own for a branch. */
  branch<T>(name: string, run: () => T): T {
    return inScope(this, new Scope(`${this.scope.label(name)}/`), run);
  }

  /**
   * The answer of a step: what the history has, or what `begin` leads to. It never comes when the
   * call is abandoned meanwhile.
   * @param begin starts the step; `entry` is null when the run has none of that name yet.
   */
  answer(question: Question, begin: (entry: Entry | null) => Entry): Promise<unknown> {
    if (this.#abandoned) return never;
    const found = this.#ask(question);
    if (found === 'never') return never;
    const cancelled = found?.step.state === 'cancelled';
    if (found !== null && isFinal(found) && !cancelled) return settledPromise(found);
    if (this.#room.phase !== 'forward') return never;
    // The run had ended, and an operator opened it again: it waits again.
    if (found !== null && cancelled) this.#room.journal.add(this.#room.ledger.forget(found));
    const { scope } = this;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    // A step that nobody awaits may fail: that must not end the process.
    promise.catch(() => {});
    scope.open += 1;
    const answer = (entry: Entry) => {
      scope.open -= 1;
      if (this.#abandoned) return;
      try {
        resolve(answerOf(entry));
      } catch (error) {
        reject(error);
      }
    };
    if (found !== null) found.answer = answer;
    let entry: Entry;
    try {
      entry = begin(found);
    } catch (error) {
      scope.open -= 1;
      throw error;
    }
    entry.asked = true;
    if (found === null) entry.answer = answer;
    // Steps without work of their own are over at once; others that the history had may be.
    if (isFinal(entry) && entry.answer === answer) {
      entry.answer = null;
      answer(entry);
    }
    return promise;
  }

  /** Steps that the history has and this call has not asked for. */
  unasked(): readonly Entry[] {
    return this.#room.ledger.entries.filter((entry) => isAhead(entry) && !entry.asked);
  }

  /** Every step that shall be undone has been asked for, so it is known how. */
  get knowsUndos(): boolean {
    return this.#room.ledger.entries.every(
      (entry) => !isUndoable(entry.step) || this.undos.has(entry.step.name),
    );
  }

  #ask({ name, kind, about = null }: Question): Entry | 'never' | null {
    checkKey(name);
    if (this.#asked.has(name)) {
      throw new MillraceError('WORKFLOW_INVALID', `The key '${name}' is used twice in one run.`, {
        fix: `Make keys unique: in a loop add what it counts, such as \`${name}-\${i}\`.`,
        details: { step: name },
      });
    }
    this.#asked.add(name);
    const entry = this.#room.ledger.find(name);
    if (entry === undefined) return null;
    if (isAhead(entry) && !entry.asked) this.#ahead -= 1;
    entry.asked = true;
    const recorded = aboutOf(entry);
    if (entry.step.kind === kind && (about === null || recorded === null || recorded === about)) {
      return entry;
    }
    this.#room.decide({ kind: 'nondeterministic', error: differs(entry, kind, about) });
    return 'never';
  }
}

function isAhead({ recorded, step }: Entry): boolean {
  return recorded && step.state !== 'pending' && !step.name.startsWith(undoPrefix);
}

function settledPromise(entry: Entry): Promise<unknown> {
  try {
    return Promise.resolve(answerOf(entry));
  } catch (error) {
    const failed = Promise.reject(error);
    failed.catch(() => {});
    return failed;
  }
}

/** @throws MillraceError WORKFLOW_INVALID */
export function checkKey(key: unknown): asserts key is string {
  const usable = typeof key === 'string' && key !== '' && key.length <= keyCharsMax;
  if (usable && !key.startsWith(undoPrefix) && key.isWellFormed() && !key.includes('\0')) return;
  throw new MillraceError('WORKFLOW_INVALID', `A step's key is no usable text.`, {
    fix: `Give 1 to ${keyCharsMax} characters that do not begin with '${undoPrefix}'.`,
  });
}

/** Name of the signal, event type or workflow, as the inputs of a step keep it. */
function aboutOf({ step }: Entry): string | null {
  if (step.inputsJson === null) return null;
  const { about } = JSON.parse(step.inputsJson) as { about?: unknown };
  return typeof about === 'string' ? about : null;
}

function differs(entry: Entry, kind: StepKind, about: string | null): MillraceError {
  const { name, kind: was } = entry.step;
  const before = [was, aboutOf(entry)].filter((part) => part !== null).join(' of ');
  const now = [kind, about].filter((part) => part !== null).join(' of ');
  return new MillraceError(
    'WORKFLOW_NONDETERMINISTIC',
    `The history has '${name}' as ${before}; the function asks for it as ${now}.`,
    { details: { step: name, recorded: before, asked: now } },
  );
}

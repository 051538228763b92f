/**
 * Runs held in memory, for tests of what drives them: every change goes through its stored form and
 * is checked against the tables of transitions. A history outlives its holders, and a holder can
 * die after any commit, or just before it is stored.
 */
import { MillraceError } from '../../src/core/errors.ts';
import type { JobLog } from '../../src/core/job-context.ts';
import { parseStored } from '../../src/core/json.ts';
import { parseChange, printChange, RunRecord } from '../../src/core/workflow/run-record.ts';
import { isEnd } from '../../src/core/workflow/states.ts';
import { checkTransition } from '../../src/core/workflow/transitions.ts';
import type {
  EventWait,
  MessageKind,
  NewMessage,
  NewRun,
  RunEnd,
  RunInfo,
  RunRest,
  StoredMessage,
} from '../../src/ports/workflows.ts';
import { type AnyWorkflowDefinition, jobNameOf, queueOf } from '../../src/workflows/definition.ts';
import type { Draft, Drive, HeldRun, HeldTransaction } from '../../src/workflows/run/driver.ts';
import { merge, mergeable } from '../../src/workflows/run/merge.ts';
import { draftOfVerb, endsRun, isEngineVerb } from '../../src/workflows/run/verbs.ts';

export interface MemoryOptions {
  /** It rests as soon as nothing can be done. */
  readonly rests?: boolean;
  /** The holder dies when this change (1, 2, …) was stored, and does not learn that it was. */
  readonly crashAt?: number;
  /** It dies as it is about to be stored. */
  readonly crashBefore?: number;
}

/** What is stored of a run. */
export class MemoryHistory {
  readonly info: RunInfo;
  readonly ownVerbs: readonly string[];
  readonly changes: string[] = [];
  /** Messages that came to it. */
  readonly inbox: StoredMessage[] = [];
  /** Messages that it sent. */
  readonly sent: NewMessage[] = [];
  readonly starts: NewRun[] = [];
  readonly waits: EventWait[] = [];
  readonly warnings: string[] = [];
  /** Numbers of messages that the engine obeyed. */
  readonly obeyed = new Set<number>();
  end: RunEnd | null = null;
  rest: RunRest | null = null;
  /** A holder died as it was told to. */
  died = false;
  /** After each change. */
  onCommit: (draft: Draft) => void = () => {};
  holder: MemoryRun | null = null;

  constructor(
    definition: AnyWorkflowDefinition,
    input: unknown = null,
    runId = '01890a5d-ac96-774b-bcce-b302099a8057',
  ) {
    const { namespace, name, version, template, ownVerbs = [] } = definition;
    this.ownVerbs = ownVerbs;
    this.info = {
      ...{ runId, tenantId: 'default', namespace, name, version },
      ...{ templateHash: template?.hash ?? '', identity: null, key: '', priority: 0 },
      ...{ correlationId: runId, traceparent: null, parent: null, metadataJson: null },
      inputJson: definition.printInput(input),
      queue: queueOf(definition),
      jobName: jobNameOf(definition),
      startedAt: Date.now(),
    };
  }

  get record(): RunRecord {
    const record = new RunRecord();
    for (const change of this.changes) record.apply(parseChange(change));
    return record;
  }

  /** As the store does: once by its id, and to a run that has ended only what opens it again. */
  deliver(kind: MessageKind, name: string, payload: unknown, messageId?: string): void {
    const no = this.inbox.length + 1;
    const id = messageId ?? `message-${no}`;
    if (this.inbox.some((message) => message.messageId === id)) return;
    const opens = kind === 'verb' && /^(retry|reset)/.test(name);
    if (this.end !== null && !opens) return;
    this.end = null;
    const { runId } = this.info;
    const payloadJson = JSON.stringify(payload) ?? 'null';
    this.inbox.push({ runId, messageId: id, kind, name, payloadJson, no, sentAt: Date.now() });
    this.holder?.hear();
  }

  /** What its history has not read. */
  unread(record: RunRecord): readonly StoredMessage[] {
    return this.inbox.filter(({ no }) => no > record.read && !this.obeyed.has(no));
  }

  /** Resolves when a run that rests is to go on. */
  async due(): Promise<void> {
    const record = this.record;
    for (;;) {
      if (this.unread(record).length > 0) return;
      const { wakeAt = null } = this.rest ?? {};
      if (wakeAt !== null && wakeAt <= Date.now()) return;
      if (wakeAt === null) throw new Error(`${this.info.name} rests for ever (${record.state})`);
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, wakeAt - Date.now())));
    }
  }
}

interface Entry {
  readonly draft: Draft;
  resolve(): void;
  reject(error: unknown): void;
}

/** One holding of a run. */
export class MemoryRun implements HeldRun {
  readonly info: RunInfo;
  readonly input: unknown;
  readonly record: RunRecord;
  readonly workerId = 'worker';
  readonly #history: MemoryHistory;
  readonly #options: MemoryOptions;
  readonly #controller = new AbortController();
  #line: Entry[] = [];
  #busy = false;
  #dead = false;
  #next: number;
  #seen = 0;
  #waiter: { resolve(answer: 'go' | 'rest'): void; timer: NodeJS.Timeout | null } | null = null;

  constructor(history: MemoryHistory, options: MemoryOptions = {}) {
    this.#history = history;
    this.#options = options;
    this.info = history.info;
    this.input = parseStored(history.info.inputJson);
    this.record = history.record;
    this.#next = this.record.steps.length;
    history.rest = null;
    history.holder = this;
    this.#obey();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  log(): JobLog {
    const silent = () => {};
    const warn = (message: string) => void this.#history.warnings.push(message);
    return { debug: silent, info: silent, warn, error: silent };
  }

  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** The process dies. */
  crash(): void {
    this.#dead = true;
    this.#stop(lost());
  }

  commit(draft: Draft): Promise<void> {
    if (this.signal.aborted) return Promise.reject(this.signal.reason);
    return new Promise((resolve, reject) => {
      this.#line.push({ draft, resolve, reject });
      if (!this.#busy) void this.#work();
    });
  }

  async begin(): Promise<HeldTransaction> {
    return {
      tx: { query: () => Promise.resolve([]) },
      commit: (draft) => this.commit(draft),
      rollback: () => Promise.resolve(),
    };
  }

  messages(): Promise<readonly StoredMessage[]> {
    this.#seen = this.#history.inbox.length;
    return Promise.resolve(this.#history.unread(this.record));
  }

  wait(until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'> {
    this.#wake('go');
    const now = Date.now();
    const news = this.#history.unread(this.record).some(({ no }) => no > this.#seen);
    if (news) return Promise.resolve('go');
    if (busy === undefined && this.#options.rests) return Promise.resolve('rest');
    if (until !== null && until <= now) return Promise.resolve('go');
    return new Promise((resolve) => {
      const timer =
        until === null ? null : setTimeout(() => this.#wake('go'), Math.max(1, until - now));
      const waiter = { resolve, timer };
      this.#waiter = waiter;
      const done = () => {
        if (this.#waiter === waiter) this.#wake('go');
      };
      busy?.then(done, done);
    });
  }

  async rest(rest: RunRest, draft: Draft): Promise<'rested' | 'unread'> {
    await this.commit(draft);
    if (this.#history.unread(this.record).length > 0) return 'unread';
    this.#history.rest = rest;
    this.#history.holder = null;
    return 'rested';
  }

  /** A message came. */
  hear(): void {
    if (this.#dead) return;
    this.#obey();
    this.#wake('go');
  }

  #wake(answer: 'go' | 'rest'): void {
    const waiter = this.#waiter;
    if (waiter === null) return;
    this.#waiter = null;
    if (waiter.timer) clearTimeout(waiter.timer);
    waiter.resolve(answer);
  }

  #stop(cause: unknown): void {
    if (!this.signal.aborted) this.#controller.abort(cause);
    for (const { reject } of this.#line.splice(0)) reject(cause);
    this.#wake('go');
  }

  /** Verbs that are the engine's. */
  #obey(): void {
    const { inbox, obeyed, ownVerbs } = this.#history;
    for (const message of inbox) {
      const { no } = message;
      if (no <= this.record.read || obeyed.has(no) || !isEngineVerb(message, ownVerbs)) continue;
      obeyed.add(no);
      const blocked = this.record.state === 'blocked_by_failures';
      const ends = endsRun(message) || (message.name === 'give_up' && blocked);
      if (ends) this.#stop(new MillraceError('WORKFLOW_CANCELLED', 'The run was ended by hand.'));
      this.#store(draftOfVerb(this.record, message) ?? { transitions: [] });
    }
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#line.length > 0) {
      await Promise.resolve(); // others gather meanwhile
      if (this.#line.length === 0) break;
      const count = mergeable(this.#line.map(({ draft }) => draft));
      const draft = merge(
        this.#line.map((entry) => entry.draft),
        count,
      );
      const entries = this.#line.splice(0, count);
      try {
        this.#storeOrDie(draft);
        for (const { resolve } of entries) resolve();
      } catch (error) {
        for (const { reject } of entries) reject(error);
      }
    }
    this.#busy = false;
  }

  #storeOrDie(draft: Draft): void {
    const no = this.#history.changes.length + 1;
    const { crashAt, crashBefore } = this.#options;
    if (no === crashBefore) this.#die();
    this.#store(draft);
    if (no === crashAt) this.#die();
  }

  #die(): never {
    this.#history.died = true;
    this.crash();
    throw lost();
  }

  #store(draft: Draft): void {
    const history = this.#history;
    const { by = this.workerId, ...rest } = draft;
    const json = printChange({ ...rest, by, at: Date.now(), read: this.#readBy(draft.read) });
    history.changes.push(json);
    this.record.apply(parseChange(json), (step, from, to) =>
      checkTransition(step === null ? 'task' : 'step', from, to),
    );
    history.starts.push(...(draft.starts ?? []));
    history.sent.push(...(draft.messages ?? []));
    history.waits.push(...(draft.waits ?? []));
    if (draft.end) {
      if (!isEnd(this.record.state)) throw new Error(`it ends as ${this.record.state}`);
      history.end = draft.end;
      history.holder = null;
    }
    history.onCommit(draft);
  }

  #readBy(read: number | undefined): number | undefined {
    let now = Math.max(this.record.read, read ?? 0);
    while (this.#history.obeyed.has(now + 1)) now += 1;
    return now > this.record.read ? now : undefined;
  }
}

const holdingsMax = 1_000;

/** Holds the run again and again until it has ended; it dies once, if it is told to. */
export async function driveToEnd(
  definition: AnyWorkflowDefinition,
  history: MemoryHistory,
  options: MemoryOptions = {},
): Promise<void> {
  const { rests = false } = options;
  for (let i = 0; history.end === null; i += 1) {
    if (i === holdingsMax) throw new Error(`${definition.name} does not come to its end`);
    const run = new MemoryRun(history, history.died ? { rests } : options);
    const drive: Drive = history.end === null ? await definition.drive(run) : 'ended';
    if (drive === 'rested' && history.end === null) await history.due();
  }
}

function lost(): MillraceError {
  return new MillraceError('LEASE_LOST', 'Another holder has the run.');
}

/**
 * Runs in memory, for drivers: commits are kept as they would be stored, and a holder can be made
 * to crash after any of them, or instead of storing it. Every transition is checked against the
 * table.
 */
import assert from 'node:assert/strict';
import { MillraceError } from '../../src/core/errors.ts';
import { newEventId } from '../../src/core/ids.ts';
import type { JobLog } from '../../src/core/job-context.ts';
import { parseChange, printChange, RunRecord } from '../../src/core/workflow/run-record.ts';
import { checkTransition } from '../../src/core/workflow/transitions.ts';
import type {
  EventWait,
  NewMessage,
  NewRun,
  RunEnd,
  RunInfo,
  RunRest,
  StoredMessage,
} from '../../src/ports/workflows.ts';
import type { AnyWorkflowDefinition } from '../../src/workflows/definition.ts';
import type { Draft, Drive, HeldRun, HeldTransaction } from '../../src/workflows/run/driver.ts';

const quiet: JobLog = { debug() {}, info() {}, warn() {}, error() {} };

/** What a store would keep of one run. */
export class MemoryHistory {
  readonly info: RunInfo;
  readonly changes: string[] = [];
  readonly inbox: StoredMessage[] = [];
  readonly starts: NewRun[] = [];
  readonly sent: NewMessage[] = [];
  readonly waits: EventWait[] = [];
  readonly warnings: string[] = [];
  end: RunEnd | null = null;
  rest: RunRest | null = null;
  /** A holder died instead of storing a commit. */
  died = false;
  /** Told of each commit, after it was stored. */
  onCommit: (draft: Draft) => void = () => {};
  #bell = Promise.withResolvers<void>();

  constructor(definition: AnyWorkflowDefinition, input?: unknown, runId = newEventId()) {
    this.info = {
      runId,
      tenantId: 'tenant',
      namespace: definition.namespace,
      name: definition.name,
      version: definition.version,
      templateHash: '',
      identity: null,
      key: '',
      priority: 0,
      correlationId: 'correlation',
      traceparent: null,
      parent: null,
      inputJson: definition.printInput(input),
      metadataJson: null,
      queue: 'default_queue',
      jobName: 'run',
      startedAt: Date.now(),
    };
  }

  get record(): RunRecord {
    const record = new RunRecord();
    for (const change of this.changes) record.apply(parseChange(change));
    return record;
  }

  /** The same id again is passed over. Verbs that reopen take the end away. */
  deliver(
    kind: StoredMessage['kind'],
    name: string,
    payload: unknown,
    messageId: string = newEventId(),
  ): void {
    if (this.inbox.some((known) => known.messageId === messageId)) return;
    if (this.end !== null) {
      if (kind !== 'verb' || !/^(retry|retry_from|reset)$/.test(name)) return;
      this.end = null;
    }
    this.inbox.push({
      runId: this.info.runId,
      messageId,
      kind,
      name,
      payloadJson: JSON.stringify(payload) ?? 'null',
      no: this.inbox.length + 1,
      sentAt: Date.now(),
    });
    this.#bell.resolve();
    this.#bell = Promise.withResolvers();
  }

  get bell(): Promise<void> {
    return this.#bell.promise;
  }

  unread(after: number): readonly StoredMessage[] {
    return this.inbox.filter(({ no }) => no > after);
  }
}

export interface HoldOptions {
  /** The process dies once that many commits of the history are stored. */
  readonly crashAt?: number;
  /** The process dies instead of storing that commit: what it did is done, and nobody knows. */
  readonly crashBefore?: number;
  /** Runs that can only wait are let go of at once. */
  readonly rests?: boolean;
}

interface Waiting {
  readonly draft: Draft;
  readonly rest: RunRest | null;
  readonly resolve: (outcome: 'stored' | 'unread') => void;
  readonly reject: (error: unknown) => void;
}

export class MemoryRun implements HeldRun {
  readonly info: RunInfo;
  readonly input: unknown;
  readonly record: RunRecord;
  readonly workerId = 'worker';
  readonly #history: MemoryHistory;
  readonly #options: HoldOptions;
  readonly #lost = new AbortController();
  #line: Waiting[] = [];
  #storing = false;
  #next: number;
  #seen = 0;

  constructor(history: MemoryHistory, options: HoldOptions = {}) {
    this.#history = history;
    this.#options = options;
    this.info = history.info;
    this.input = JSON.parse(history.info.inputJson);
    this.record = history.record;
    this.#next = this.record.steps.length;
    history.rest = null;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  log(): JobLog {
    return { ...quiet, warn: (message) => void this.#history.warnings.push(message) };
  }

  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  async commit(draft: Draft): Promise<void> {
    await this.#enter(draft, null);
  }

  async begin(): Promise<HeldTransaction> {
    return {
      tx: { query: async () => [] },
      commit: (draft) => this.commit(draft),
      rollback: async () => {},
    };
  }

  async messages(): Promise<readonly StoredMessage[]> {
    const unread = this.#history.unread(this.record.read);
    this.#seen = unread.at(-1)?.no ?? this.#seen;
    return unread;
  }

  async wait(until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'> {
    const seen = Math.max(this.#seen, this.record.read);
    if (this.#history.unread(seen).length > 0) return 'go';
    if (until !== null && until <= Date.now()) return 'go';
    if (busy === undefined && this.#options.rests === true) return 'rest';
    let timer: NodeJS.Timeout | undefined;
    const time = new Promise<void>((resolve) => {
      if (until !== null) timer = setTimeout(resolve, Math.max(1, until - Date.now()));
    });
    await Promise.race([this.#history.bell, time, ...(busy ? [busy] : [])]);
    clearTimeout(timer);
    return 'go';
  }

  async rest(rest: RunRest, draft: Draft): Promise<'rested' | 'unread'> {
    const outcome = await this.#enter(draft, rest);
    return outcome === 'stored' ? 'rested' : 'unread';
  }

  /** The process dies here. */
  crash(): MillraceError {
    const error = new MillraceError('LEASE_LOST', 'The process died.');
    this.#lost.abort(error);
    for (const { reject } of this.#line.splice(0)) reject(error);
    return error;
  }

  #enter(draft: Draft, rest: RunRest | null): Promise<'stored' | 'unread'> {
    if (this.signal.aborted) return Promise.reject(this.signal.reason);
    return new Promise((resolve, reject) => {
      this.#line.push({ draft, rest, resolve, reject });
      if (!this.#storing) void this.#storeAll();
    });
  }

  async #storeAll(): Promise<void> {
    this.#storing = true;
    while (this.#line.length > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      const waiting = this.#line.shift();
      if (waiting === undefined) break;
      this.#store(waiting);
    }
    this.#storing = false;
  }

  #store({ draft, rest, resolve, reject }: Waiting): void {
    const history = this.#history;
    if (history.changes.length + 1 === this.#options.crashBefore && !history.died) {
      history.died = true;
      reject(this.crash());
      return;
    }
    const json = printChange({ at: Date.now(), by: draft.by ?? this.workerId, ...pick(draft) });
    this.#check(draft, rest);
    history.changes.push(json);
    history.starts.push(...(draft.starts ?? []));
    history.sent.push(...(draft.messages ?? []));
    history.waits.push(...(draft.waits ?? []));
    if (draft.end !== undefined) history.end = draft.end;
    history.onCommit(draft);
    const read = draft.read ?? this.record.read;
    const unread = rest !== null && history.unread(read).length > 0;
    if (rest !== null && !unread) history.rest = rest;
    if (history.changes.length === this.#options.crashAt) {
      reject(this.crash());
      return;
    }
    this.record.apply(parseChange(json));
    resolve(unread ? 'unread' : 'stored');
  }

  #check(draft: Draft, rest: RunRest | null): void {
    const shadow = this.#history.record;
    let { state } = shadow;
    const steps = shadow.steps.map((step) => step.state);
    for (const step of draft.create ?? []) {
      assert.equal(shadow.step(step.name), undefined, `${step.name} is created once`);
      steps.push('pending');
    }
    for (const [no, to] of draft.transitions) {
      if (no < 0) {
        checkTransition('task', state, to);
        state = to as typeof state;
      } else {
        const from = steps[no];
        assert.ok(from, `step ${no} exists`);
        checkTransition('step', from, to);
        steps[no] = to as typeof from;
      }
    }
    if (draft.end !== undefined) assert.equal(state, draft.end.state);
    if (rest !== null) assert.equal(state, rest.state);
  }
}

function pick(draft: Draft) {
  const { create, transitions, facts, read, notes, reason } = draft;
  return { create, transitions, facts, read, notes, reason };
}

/**
 * Holds the run again and again until it has ended, as workers would: after a crash, and when its
 * time has come or a message is there.
 */
export async function driveToEnd(
  definition: AnyWorkflowDefinition,
  history: MemoryHistory,
  options: HoldOptions = {},
): Promise<void> {
  for (let holdings = 0; history.end === null; holdings += 1) {
    assert.ok(holdings < 2_000, 'the run goes on');
    const drive: Drive = await definition.drive(new MemoryRun(history, options));
    if (drive === 'ended') assert.ok(history.end, 'it has an end');
    if (drive !== 'rested' || history.rest === null) continue;
    if (history.unread(history.record.read).length > 0) continue;
    await restOf(history, history.rest);
  }
}

async function restOf(history: MemoryHistory, { wakeAt }: RunRest): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const time = new Promise<void>((resolve, reject) => {
    if (wakeAt !== null) timer = setTimeout(resolve, Math.max(0, wakeAt - Date.now()));
    else timer = setTimeout(() => reject(new Error('nobody wakes it')), 10_000);
  });
  await Promise.race([history.bell, time]);
  clearTimeout(timer);
}

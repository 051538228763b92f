/**
 * A held run in memory, for tests of drivers: commits are folded through the stored form, one after
 * the other, and checked against the tables of transitions. Time is the test's own: waiting for it
 * costs nothing. It can be taken over after a crash before or after any commit.
 */
import assert from 'node:assert/strict';
import { MillraceError } from '../../src/core/errors.ts';
import type { NewJob } from '../../src/core/job.ts';
import type { JobLog } from '../../src/core/job-context.ts';
import { parseStored } from '../../src/core/json.ts';
import {
  auditOf,
  parseChange,
  printChange,
  type RunChange,
  RunRecord,
  type Transition,
} from '../../src/core/workflow/run-record.ts';
import { checkTransition } from '../../src/core/workflow/transitions.ts';
import type {
  MessageKind,
  RunEnd,
  RunInfo,
  RunRest,
  StoredMessage,
} from '../../src/ports/workflows.ts';
import type { DagDefinition } from '../../src/workflows/dag/definition.ts';
import { driveDag } from '../../src/workflows/dag/driver.ts';
import { DagPlan } from '../../src/workflows/dag/plan.ts';
import type { Draft, HeldRun, HeldTransaction } from '../../src/workflows/run/driver.ts';

const silent: JobLog = { debug() {}, info() {}, warn() {}, error() {} };

/** What outlives a holder. */
export class StoredRun {
  readonly info: RunInfo;
  readonly changes: string[] = [];
  readonly messages: StoredMessage[] = [];
  readonly jobs: NewJob[] = [];
  /** What transactions of handlers wrote. */
  readonly effects: string[] = [];
  readonly warnings: string[] = [];
  end: RunEnd | null = null;
  rest: RunRest | null = null;
  now = 1_000;
  /** The commit (1, 2, …) at which the holder dies, and whether it is stored by then. */
  crash: { readonly at: number; readonly stored: boolean } | null = null;
  commits = 0;
  /** Called after each commit. */
  onCommit: () => void = () => {};
  holder: MemoryRun | null = null;

  constructor(input: unknown, info: Partial<RunInfo> = {}) {
    this.info = {
      runId: '018f0000-0000-7000-8000-000000000001',
      tenantId: 'default',
      namespace: 'default',
      name: 'test',
      version: '1.0.0',
      templateHash: '',
      identity: null,
      key: '',
      priority: 0,
      correlationId: 'correlation',
      traceparent: null,
      parent: null,
      inputJson: JSON.stringify(input ?? null),
      metadataJson: null,
      queue: 'default_queue',
      jobName: 'run',
      startedAt: 0,
      ...info,
    };
  }

  hold(): MemoryRun {
    this.rest = null;
    this.holder = new MemoryRun(this);
    return this.holder;
  }

  get record(): RunRecord {
    const record = new RunRecord();
    for (const change of this.changes) record.apply(parseChange(change));
    return record;
  }

  get result(): unknown {
    const { resultJson } = this.end ?? { resultJson: null };
    return resultJson === null ? null : JSON.parse(resultJson);
  }

  audit(): readonly Transition[] {
    return auditOf(this.changes.map(parseChange));
  }

  /** The states of a step, or of the run, as arrows. */
  path(step: string | null = null): string {
    return this.audit()
      .filter((one) => one.step === step)
      .map(({ to }) => to)
      .join(' ');
  }

  send(kind: MessageKind, name: string, payload: unknown = {}): void {
    const no = this.messages.length + 1;
    const { runId } = this.info;
    const payloadJson = JSON.stringify(payload);
    const message = { runId, messageId: `m${no}`, kind, name, payloadJson, no, sentAt: this.now };
    this.messages.push(message);
    // As the store does: what takes an ended run up again takes its end away.
    if (kind === 'verb' && /^(retry|reset)/.test(name)) this.end = null;
    this.holder?.wake();
  }

  verb(name: string, payload: object = {}): void {
    this.send('verb', name, { by: 'ann', ...payload });
  }
}

export class MemoryRun implements HeldRun {
  readonly record: RunRecord;
  readonly input: unknown;
  readonly info: RunInfo;
  readonly workerId = 'worker-1';
  readonly #stored: StoredRun;
  readonly #controller = new AbortController();
  #line: Promise<unknown> = Promise.resolve();
  #next: number;
  #seen = 0;
  #wakeUp: (() => void) | null = null;
  stepEvents: HeldRun['stepEvents'];

  constructor(stored: StoredRun) {
    this.#stored = stored;
    this.info = stored.info;
    this.record = stored.record;
    this.input = parseStored(stored.info.inputJson);
    this.#next = this.record.steps.length;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  log(): JobLog {
    return { ...silent, warn: (message) => void this.#stored.warnings.push(message) };
  }

  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  lose(): void {
    this.#controller.abort(lost());
    this.wake();
  }

  wake(): void {
    this.#wakeUp?.();
  }

  commit(draft: Draft): Promise<void> {
    return this.#inLine(() => this.#store(draft));
  }

  async begin(): Promise<HeldTransaction> {
    const effects: string[] = [];
    return {
      tx: {
        query: async (text) => {
          effects.push(text);
          return [];
        },
      },
      commit: (draft) =>
        this.#inLine(() => {
          if (effects.includes('break the commit')) throw new Error('constraint violated');
          this.#store(draft, effects);
        }),
      rollback: () => Promise.resolve(),
    };
  }

  async messages(): Promise<readonly StoredMessage[]> {
    this.#seen = this.#stored.messages.length;
    return this.#stored.messages.filter(({ no }) => no > this.record.read);
  }

  async wait(until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'> {
    if (this.#stored.messages.length > this.#seen) return 'go';
    if (busy !== undefined) {
      if (until !== null && until <= this.#stored.now) return 'go';
      const woken = new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
      await Promise.race([busy, woken]);
      this.#wakeUp = null;
      return 'go';
    }
    if (until === null || this.#stored.rest !== null) return 'rest';
    this.#stored.now = Math.max(this.#stored.now, until);
    return 'go';
  }

  async rest(rest: RunRest, draft: Draft): Promise<'rested' | 'unread'> {
    await this.commit(draft);
    if (this.#stored.messages.length > this.record.read) return 'unread';
    this.#stored.rest = rest;
    return 'rested';
  }

  #inLine<T>(work: () => T): Promise<T> {
    const next = this.#line.then(async () => {
      await Promise.resolve();
      if (this.signal.aborted) throw lost();
      return work();
    });
    this.#line = next.catch(() => {});
    return next;
  }

  #store(draft: Draft, effects: readonly string[] = []): void {
    const stored = this.#stored;
    stored.commits += 1;
    const { crash } = stored;
    const dies = crash?.at === stored.commits;
    if (dies && !crash?.stored) {
      this.lose();
      throw lost();
    }
    const change: RunChange = { ...draft, at: stored.now, by: draft.by ?? this.workerId };
    const json = printChange(change);
    stored.changes.push(json);
    stored.effects.push(...effects);
    this.record.apply(parseChange(json), (step, from, to) =>
      checkTransition(step === null ? 'task' : 'step', from, to),
    );
    stored.jobs.push(...(draft.jobs ?? []));
    if (draft.end) stored.end = draft.end;
    if (dies) {
      this.lose();
      throw lost();
    }
    stored.onCommit();
  }
}

function lost(): MillraceError {
  return new MillraceError('LEASE_LOST', 'Another worker holds the run.');
}

type Dag = Pick<DagDefinition, 'compiled' | 'registry'>;

/** Holds the run once. */
export async function drive(dag: Dag, run: StoredRun): Promise<string> {
  const plan = new DagPlan(dag.compiled, dag.registry);
  return driveDag(run.hold(), plan, () => run.now);
}

/** Holds the run once, to its end. */
export async function finish(dag: Dag, run = new StoredRun(null)) {
  assert.equal(await drive(dag, run), 'ended');
  return run;
}

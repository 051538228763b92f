/**
 * Recorded histories, and the proof that a function still fits them. What is recorded is what the
 * store keeps: an input and a chain of changes. A replay calls the function with the answers of the
 * history and runs no step: everything new that it asks for is a divergence.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobLog } from '../../core/job-context.ts';
import { parseStored } from '../../core/json.ts';
import { auditOf, parseChange, RunRecord } from '../../core/workflow/run-record.ts';
import { isEnd } from '../../core/workflow/states.ts';
import type { LoadedRun, RunInfo } from '../../ports/workflows.ts';
import { type AnyWorkflowDefinition, jobNameOf, queueOf } from '../definition.ts';
import type { Draft, HeldRun } from '../run/driver.ts';
import { rulesOf } from './define-workflow.ts';
import { FunctionRun } from './function-run.ts';

/** As a file: JSON, version 1. */
export interface RecordedHistory {
  readonly format: 'millrace-history-1';
  readonly workflow: string;
  readonly namespace: string;
  readonly version: string;
  readonly runId: string;
  readonly startedAt: number;
  readonly input: unknown;
  readonly result: unknown;
  readonly state: string;
  /** In order, as `printChange` prints them. */
  readonly changes: readonly string[];
}

export interface ReplayReport {
  readonly ok: boolean;
  /** What is different, and where; null: nothing. */
  readonly divergence: string | null;
  /** Steps of the history that the function asked for. */
  readonly asked: number;
  /** Steps of the history that it did not ask for. */
  readonly unasked: readonly string[];
}

/** A run as the store has it, to be kept in a file beside the tests. */
export function recordHistory(run: LoadedRun): RecordedHistory {
  const { info, changes, end } = run;
  const record = fold(changes);
  return {
    format: 'millrace-history-1',
    workflow: info.name,
    namespace: info.namespace,
    version: info.version,
    runId: info.runId,
    startedAt: info.startedAt,
    input: JSON.parse(info.inputJson) as unknown,
    result: end?.resultJson ? (JSON.parse(end.resultJson) as unknown) : null,
    state: record.state,
    changes: [...changes],
  };
}

const replayMs = 10_000;
const quiet: JobLog = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Calls the function of a definition with a recorded history.
 * @param options.input instead of the recorded one, which is the usual.
 * @throws MillraceError WORKFLOW_INVALID for what is no history of that workflow.
 * @example
 * const report = await replayHistory(Order, { history: JSON.parse(readFileSync(file, 'utf8')) });
 * assert.equal(report.divergence, null);
 */
export async function replayHistory(
  definition: AnyWorkflowDefinition,
  options: { readonly history: RecordedHistory; readonly input?: unknown },
): Promise<ReplayReport> {
  const { history } = options;
  check(definition, history);
  const rules = rulesOf(definition);
  const input = options.input === undefined ? history.input : options.input;
  const run = new ReplayedRun(definition, history, JSON.stringify(input));
  const room = new FunctionRun(run, { ...rules, strict: true });
  const late = new Promise<'late'>((resolve) => {
    setTimeout(() => resolve('late'), replayMs).unref();
  });
  const drive = await Promise.race([room.drive(), run.stopped, late]);
  const names = room.ledger.entries.filter(({ recorded }) => recorded);
  const unasked = names
    .filter(({ asked, step }) => !asked && !step.name.startsWith('undo:'))
    .map(({ step }) => step.name);
  const divergence =
    drive === 'late' ? `It does not come to an end within ${replayMs} ms.` : run.divergence;
  return {
    ok: divergence === null,
    divergence,
    asked: names.filter(({ asked }) => asked).length,
    unasked,
  };
}

function check(definition: AnyWorkflowDefinition, history: RecordedHistory): void {
  const { format, workflow } = history;
  if (format === 'millrace-history-1' && workflow === definition.name) return;
  const found = format === 'millrace-history-1' ? `one of '${workflow}'` : 'no recorded history';
  throw new MillraceError('WORKFLOW_INVALID', `That is ${found}, not of '${definition.name}'.`, {
    fix: 'Give what recordHistory(run) gave, read from its file.',
  });
}

function fold(changes: readonly string[]): RunRecord {
  const record = new RunRecord();
  for (const change of changes) record.apply(parseChange(change));
  return record;
}

/** The record before its end: what a holder would have found that took it over just then. */
function foldOpen(changes: readonly string[]): RunRecord {
  const record = new RunRecord();
  for (const text of changes) {
    const change = parseChange(text);
    const transitions = change.transitions.filter(
      ([step, to]) => step >= 0 || !isEnd(to as RunRecord['state']),
    );
    // Waits that the end of the run closed were open when its function returned.
    const ends = transitions.length < change.transitions.length;
    const kept = ends ? transitions.filter(([, to]) => to !== 'cancelled') : transitions;
    record.apply({ ...change, transitions: kept });
  }
  record.notes.delete('compensating');
  return record;
}

/** A run that answers from its history and stores nothing. */
class ReplayedRun implements HeldRun {
  readonly info: RunInfo;
  readonly input: unknown;
  readonly record: RunRecord;
  readonly workerId = 'replay';
  divergence: string | null = null;
  readonly stopped: Promise<'lost'>;
  readonly #history: RecordedHistory;
  readonly #lost = new AbortController();
  #stop: (drive: 'lost') => void = () => {};
  #next: number;

  constructor(definition: AnyWorkflowDefinition, history: RecordedHistory, inputJson: string) {
    const { runId, namespace, startedAt } = history;
    this.#history = history;
    this.record = foldOpen(history.changes);
    // No handler begins while a run is paused.
    this.record.notes.set('paused', '{}');
    this.#next = this.record.steps.length;
    this.input = parseStored(inputJson);
    this.stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    this.info = {
      runId,
      namespace,
      startedAt,
      inputJson,
      tenantId: 'replay',
      name: definition.name,
      version: definition.version,
      templateHash: '',
      identity: null,
      key: '',
      priority: 0,
      correlationId: runId,
      traceparent: null,
      parent: null,
      metadataJson: null,
      queue: queueOf(definition),
      jobName: jobNameOf(definition),
    };
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }
  log(): JobLog {
    return quiet;
  }
  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }
  async messages() {
    return [];
  }
  /** An open history ends where its run waits: everything fitted. */
  async wait(_until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'> {
    if (busy === undefined) return 'rest';
    await busy;
    return 'go';
  }
  async rest(): Promise<'rested'> {
    return 'rested';
  }
  async begin(): Promise<never> {
    throw this.#end('it begins a transaction');
  }

  async commit(draft: Draft): Promise<void> {
    const problem = this.#problemOf(draft);
    if (problem !== null) throw this.#end(problem);
    if (draft.end !== undefined) this.#end(null);
  }

  /** Ends the replay. */
  #end(divergence: string | null): MillraceError {
    this.divergence ??= divergence;
    const error = new MillraceError('LEASE_LOST', 'The replay is over.');
    this.#lost.abort(error);
    this.#stop('lost');
    return error;
  }

  #problemOf(draft: Draft): string | null {
    const { end } = draft;
    const [created] = draft.create ?? [];
    const { state, result } = this.#history;
    if (created !== undefined) {
      return `It asks for '${created.name}' (${created.kind}), which the history does not have.`;
    }
    const began = draft.transitions.find(([no, to]) => no >= 0 && to === 'in_progress');
    if (began !== undefined) return null;
    if (end === undefined) return null;
    if (end.error?.code === 'WORKFLOW_NONDETERMINISTIC') return end.error.message;
    if (state !== end.state && isEnd(state as RunRecord['state'])) {
      return `It ends as ${end.state}; the history has ${state}.`;
    }
    if (end.state === 'complete' && JSON.stringify(result ?? null) !== (end.resultJson ?? 'null')) {
      return `Its result is ${end.resultJson}; the history has ${JSON.stringify(result)}.`;
    }
    return null;
  }
}

/** What a recorded history tells, for people: one line a transition. */
export function describeHistory(history: RecordedHistory): readonly string[] {
  return auditOf(history.changes.map((change) => parseChange(change))).map(
    ({ seq, step, from, to }) => `${seq} ${step ?? 'run'}: ${from} → ${to}`,
  );
}

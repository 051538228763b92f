/**
 * How runs and their steps did in a window of time, from their histories. It reads a bounded number
 * of runs, the newest first, and says when there were more.
 */
import { parseChange, RunRecord } from '../../core/workflow/run-record.ts';
import { isEnd, type TaskState } from '../../core/workflow/states.ts';
import type { RunFilter, RunSummary, WorkflowQueries } from '../../ports/workflow-queries.ts';
import { timeText } from './run-view.ts';

export interface AnalyticsRequest extends Pick<RunFilter, 'tenantId' | 'namespace' | 'name'> {
  /** Runs started in the last so many minutes; 60 by default. */
  readonly minutes?: number | undefined;
  /** Runs at most; 1,000 by default, 10,000 at most. */
  readonly runs?: number | undefined;
}

/** Milliseconds. */
export interface Durations {
  readonly count: number;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly max: number | null;
}

interface Window {
  readonly from: string;
  readonly to: string;
  readonly runs: number;
  /** There were more than were read: the newest ones are what is shown. */
  readonly more: boolean;
}

export interface Performance {
  readonly window: Window;
  readonly states: Partial<Record<TaskState, number>>;
  /** Of those that ended: the share that completed; null when none did. */
  readonly successRate: number | null;
  readonly runsPerMinute: number;
  readonly runDuration: Durations;
  readonly steps: number;
  readonly stepsPerSecond: number;
  readonly retries: number;
  readonly stepDuration: Durations;
}

export interface StepPerformance {
  /** `namespace/name`. */
  readonly workflow: string;
  /** As declared: instances count for their template. */
  readonly step: string;
  readonly count: number;
  readonly completed: number;
  /** Tries that failed, and steps that failed for good. */
  readonly failedTries: number;
  readonly failed: number;
  readonly duration: Durations;
  /** All tries together. */
  readonly totalMs: number;
  /** Of the time of all steps in the window. */
  readonly share: number;
}

export interface Bottlenecks {
  readonly window: Window;
  /** Those that took most time first. */
  readonly steps: readonly StepPerformance[];
}

const minutesDefault = 60;
const runsDefault = 1_000;
const runsMax = 10_000;
const pageMax = 500;
/** Histories read at a time. */
const readersMax = 4;

interface Collected {
  readonly window: Window;
  readonly runs: readonly RunSummary[];
  readonly steps: ReadonlyMap<string, StepSum>;
}

interface StepSum {
  readonly workflow: string;
  readonly step: string;
  count: number;
  completed: number;
  failedTries: number;
  failed: number;
  tries: number;
  readonly durations: number[];
}

export async function measurePerformance(
  queries: WorkflowQueries,
  request: AnalyticsRequest,
): Promise<Performance> {
  const { window, runs, steps } = await collect(queries, request);
  const states: Partial<Record<TaskState, number>> = {};
  for (const { state } of runs) states[state] = (states[state] ?? 0) + 1;
  const ended = runs.filter(({ state }) => isEnd(state));
  const sums = [...steps.values()];
  const count = sums.reduce((sum, { count }) => sum + count, 0);
  const [minutes, seconds] = spanOf(runs, window);
  return {
    window,
    states,
    successRate: ended.length === 0 ? null : round((states.complete ?? 0) / ended.length, 4),
    runsPerMinute: round(runs.length / minutes, 2),
    runDuration: durationsOf(
      ended.flatMap(({ startedAt, endedAt }) => (endedAt === null ? [] : [endedAt - startedAt])),
    ),
    steps: count,
    stepsPerSecond: round(count / seconds, 2),
    retries: sums.reduce((sum, { tries, count }) => sum + Math.max(0, tries - count), 0),
    stepDuration: durationsOf(sums.flatMap(({ durations }) => durations)),
  };
}

export async function findBottlenecks(
  queries: WorkflowQueries,
  request: AnalyticsRequest & { readonly limit?: number | undefined },
): Promise<Bottlenecks> {
  const { window, steps } = await collect(queries, request);
  const sums = [...steps.values()].map((sum) => ({ sum, totalMs: total(sum.durations) }));
  const all = sums.reduce((ms, { totalMs }) => ms + totalMs, 0);
  const found = sums.map(({ sum, totalMs }): StepPerformance => {
    const { workflow, step, count, completed, failedTries, failed, durations } = sum;
    return {
      workflow,
      step,
      count,
      completed,
      failedTries,
      failed,
      duration: durationsOf(durations),
      totalMs,
      share: all === 0 ? 0 : round(totalMs / all, 4),
    };
  });
  found.sort((a, b) => b.totalMs - a.totalMs || b.failedTries - a.failedTries);
  return { window, steps: found.slice(0, request.limit ?? 20) };
}

async function collect(queries: WorkflowQueries, request: AnalyticsRequest): Promise<Collected> {
  const { minutes = minutesDefault, runs: wanted = runsDefault, ...filter } = request;
  const limit = Math.min(wanted, runsMax);
  const toMs = Date.now();
  const fromMs = toMs - minutes * 60_000;
  const runs: RunSummary[] = [];
  let after: string | null = null;
  do {
    const page = await queries.list(
      { ...filter, startedAfter: fromMs },
      { limit: Math.min(pageMax, limit - runs.length), after },
    );
    runs.push(...page.runs);
    after = page.next;
  } while (after !== null && runs.length < limit);
  const steps = new Map<string, StepSum>();
  let next = 0;
  const read = async () => {
    for (let run = runs[next++]; run !== undefined; run = runs[next++]) {
      const history = await queries.history(run.runId);
      addRun(
        steps,
        run,
        history.map(({ changeJson }) => changeJson),
      );
    }
  };
  await Promise.all(Array.from({ length: readersMax }, read));
  const window = {
    from: timeText(fromMs),
    to: timeText(toMs),
    runs: runs.length,
    more: after !== null,
  };
  return { window, runs, steps };
}

/** A try lasts from `in_progress` to the next transition of its step. */
function addRun(sums: Map<string, StepSum>, run: RunSummary, changes: readonly string[]): void {
  const record = new RunRecord();
  const begun = new Map<number, number>();
  for (const json of changes) {
    const change = parseChange(json);
    record.apply(change, (step, _from, to) => {
      if (step === null) return;
      const sum = sumOf(sums, `${run.namespace}/${run.name}`, step.template);
      const since = begun.get(step.no);
      if (since !== undefined) {
        begun.delete(step.no);
        sum.durations.push(Math.max(0, change.at - since));
      }
      if (to === 'in_progress') {
        begun.set(step.no, change.at);
        sum.tries += 1;
      } else if (to === 'enqueued_as_error_for_orchestration') sum.failedTries += 1;
    });
  }
  for (const { template, state, attempts } of record.steps) {
    const sum = sumOf(sums, `${run.namespace}/${run.name}`, template);
    if (attempts > 0) sum.count += 1;
    if (state === 'complete') sum.completed += 1;
    if (state === 'error') sum.failed += 1;
  }
}

function sumOf(sums: Map<string, StepSum>, workflow: string, step: string): StepSum {
  const key = `${workflow}\n${step}`;
  let sum = sums.get(key);
  if (sum === undefined) {
    const zero = { count: 0, completed: 0, failedTries: 0, failed: 0, tries: 0 };
    sum = { workflow, step, ...zero, durations: [] };
    sums.set(key, sum);
  }
  return sum;
}

/** Minutes and seconds from the first start to the end of the window. */
function spanOf(runs: readonly RunSummary[], { to }: Window): [minutes: number, seconds: number] {
  const first = runs.reduce((ms, { startedAt }) => Math.min(ms, startedAt), Date.parse(to) - 1_000);
  const seconds = Math.max(1, (Date.parse(to) - first) / 1_000);
  return [seconds / 60, seconds];
}

export function durationsOf(durations: readonly number[]): Durations {
  const sorted = [...durations].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? null;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), max: sorted.at(-1) ?? null };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}

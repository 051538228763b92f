/**
 * The sweep over open runs: it finds those beyond the limits of their workflow's lifecycle, opens
 * an investigation or fails them as the lifecycle says, and warns of those that come near.
 *
 * One process sweeps at a time. A sweep looks at pages of a hundred and goes on where the last one
 * stopped, so that many stale runs which nobody resolves do not hide the others. Doing the same to
 * a run twice does no harm: one investigation is pending at a time, and a verb has its own id.
 */
import type { RunRecord } from '../../core/workflow/run-record.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { JobStore } from '../../ports/jobs.ts';
import type { RunSummary, StaleLimit, WorkflowQueries } from '../../ports/workflow-queries.ts';
import type { Delivery, NewMessage } from '../../ports/workflows.ts';
import { sleep } from '../../runtime/bell.ts';
import type { Lifecycle } from '../definition.ts';
import type { DeadLetterDesk } from './dead-letters.ts';
import {
  limitedStates,
  minutesOf,
  openStates,
  type Staleness,
  type StalenessLimit,
  stalenessOf,
  warningShare,
} from './lifecycle.ts';
import { recordOf } from './run-view.ts';
import { verbMessage } from './verbs.ts';

const sweepEveryDefaultMs = 300_000;
const batchDefault = 100;
/** Pages of one sweep; the next one goes on behind them. */
const pagesMax = 50;

export interface StaleRun {
  readonly run: RunSummary;
  readonly staleness: Staleness;
}

export interface SweepReport {
  /** Another process swept at the time. */
  readonly skipped: boolean;
  readonly looked: number;
  readonly warnings: readonly StaleRun[];
  readonly stale: readonly StaleRun[];
  /** Runs for which an investigation was opened. */
  readonly investigated: readonly string[];
  /** Runs that were told to fail. */
  readonly failed: readonly string[];
}

export interface SweeperOptions {
  readonly queries: WorkflowQueries;
  readonly jobs: Pick<JobStore, 'workers'>;
  readonly desk: DeadLetterDesk;
  /** Of every definition that this process knows, and the configured one. */
  lifecycles(): readonly Lifecycle[];
  lifecycleOf(run: RunSummary): Promise<Lifecycle>;
  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]>;
  /** Runs of one page; 100 by default. */
  readonly batch?: number | undefined;
  readonly now?: () => number;
  onWarning?(stale: StaleRun): void;
  onError(error: unknown, where: string): void;
}

export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #batch: number;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #after: string | null = null;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#batch = options.batch ?? batchDefault;
  }

  /** Sweeps now and then, for the first time within the interval. */
  start(everyMs = sweepEveryDefaultMs): void {
    this.#loop = this.#run(everyMs);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async sweep(): Promise<SweepReport> {
    const report = await this.#options.queries.alone(() => this.#sweep());
    return report ?? { ...emptyReport(), skipped: true };
  }

  /** Runs near or beyond a limit, worst first; changes nothing. */
  async look(filter: { readonly tenantId?: string } = {}): Promise<readonly StaleRun[]> {
    const found: StaleRun[] = [];
    let after: string | null = null;
    for (let page = 0; page < pagesMax; page += 1) {
      const runs = await this.#page(after);
      for (const run of runs) {
        if (filter.tenantId !== undefined && run.tenantId !== filter.tenantId) continue;
        const { staleness } = await this.#measure(run);
        if (staleness) found.push({ run, staleness });
      }
      if (runs.length < this.#batch) break;
      after = runs.at(-1)?.runId ?? null;
    }
    return found.sort((a, b) => b.staleness.share - a.staleness.share);
  }

  async #run(everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(everyMs * (0.5 + Math.random() * 0.5), signal);
      if (signal.aborted) return;
      try {
        await this.sweep();
      } catch (error) {
        this.#options.onError(error, 'staleness sweep');
      }
    }
  }

  async #sweep(): Promise<SweepReport> {
    const report = emptyReport();
    for (let page = 0; page < pagesMax; page += 1) {
      const runs = await this.#page(this.#after);
      for (const run of runs) {
        if (this.#stop.signal.aborted) return report;
        await this.#judge(run, report);
      }
      report.looked += runs.length;
      this.#after = runs.length < this.#batch ? null : (runs.at(-1)?.runId ?? null);
      if (this.#after === null) break;
    }
    return report;
  }

  #page(after: string | null): Promise<readonly RunSummary[]> {
    const { queries } = this.#options;
    return queries.stale(this.#limits(), this.#batch, after);
  }

  /** The narrowest ones: who is found by them is measured by his own. */
  #limits(): StaleLimit[] {
    const lifecycles = this.#options.lifecycles();
    const least = (limit: StalenessLimit) =>
      Math.min(...lifecycles.map((one) => minutesOf(one, limit) ?? Number.POSITIVE_INFINITY));
    const limits: StaleLimit[] = [
      ...Object.entries(limitedStates).map(([limit, states]) => ({
        states,
        olderThanMs: least(limit as StalenessLimit) * 60_000 * warningShare,
      })),
      {
        states: openStates,
        olderThanMs: least('max_duration') * 60_000 * warningShare,
        of: 'run' as const,
      },
      // Steps that failed for good wait for somebody, however short a while.
      { states: blocked, olderThanMs: 0 },
    ];
    return limits.filter(({ olderThanMs }) => Number.isFinite(olderThanMs));
  }

  async #measure(run: RunSummary) {
    const { queries, lifecycleOf, now = Date.now } = this.#options;
    const record = await recordOf(queries, run);
    const lifecycle = await lifecycleOf(run);
    return { record, lifecycle, staleness: stalenessOf(run, record, lifecycle, now()) };
  }

  async #judge(run: RunSummary, report: ReturnType<typeof emptyReport>): Promise<void> {
    const { desk, deliver, onWarning } = this.#options;
    const { record, lifecycle, staleness } = await this.#measure(run);
    const isBlocked = run.state === 'blocked_by_failures' && !record.paused;
    if (staleness?.level === 'warning') {
      report.warnings.push({ run, staleness });
      onWarning?.({ run, staleness });
    }
    const isStale = staleness?.level === 'stale';
    if (isStale) report.stale.push({ run, staleness });
    if (!isStale && !isBlocked) return;
    if (lifecycle.autoDlqOnTimeout) {
      const reason = await this.#reasonOf(run, record, isBlocked);
      const notes = staleness ? { staleness } : {};
      if (await desk.open(run.runId, reason, notes)) report.investigated.push(run.runId);
    }
    if (!isStale || !lifecycle.autoFailOnTimeout) return;
    const { limit, limitMinutes } = staleness;
    const why = `Stale: beyond ${limit} of ${limitMinutes} minutes.`;
    const request = { verb: 'time_out', by: 'staleness sweep', reason: why } as const;
    // One id for each state it was found in: another sweep does not say it twice.
    const messageId = `stale ${run.runId} ${run.seq}`;
    const [delivery] = await deliver([verbMessage(run.runId, request, messageId)]);
    if (delivery === 'delivered') report.failed.push(run.runId);
  }

  async #reasonOf({ queue, epoch, resting }: RunSummary, record: RunRecord, isBlocked: boolean) {
    if (isBlocked || record.steps.some(({ state }) => state === 'error')) {
      return 'max_retries_exceeded' as const;
    }
    if (epoch !== null || resting) return 'staleness_timeout' as const;
    const workers = await this.#options.jobs.workers();
    const works = workers.some(({ alive, queues }) => alive && queues.includes(queue));
    return works ? ('staleness_timeout' as const) : ('worker_unavailable' as const);
  }
}

const blocked: readonly TaskState[] = ['blocked_by_failures'];

function emptyReport() {
  return {
    skipped: false,
    looked: 0,
    warnings: [] as StaleRun[],
    stale: [] as StaleRun[],
    investigated: [] as string[],
    failed: [] as string[],
  };
}

/** Between a run that is held and the process that holds it. */
import type { JobLog } from '../../core/job-context.ts';
import type { RunRecord, StepRecord } from '../../core/workflow/run-record.ts';
import type {
  NewRun,
  RunCommit,
  RunInfo,
  StoredMessage,
  WorkflowStore,
} from '../../ports/workflows.ts';
import type { Committer } from '../committer.ts';
import type { Alarms } from './alarms.ts';
import type { HeldRun } from './driver.ts';
import type { LiveRun } from './live-run.ts';
import type { Observers } from './observer.ts';

/** What runs need of the process that holds them. */
export interface RunHost {
  readonly workerId: string;
  readonly store: WorkflowStore;
  readonly committer: Committer;
  readonly alarms: Alarms;
  readonly observers: Observers;
  /** What steps publish as they end. */
  readonly stepEvents: HeldRun['stepEvents'];
  /** A run that can only wait stays in memory for so long. */
  readonly residencyMs: number;
  /** There is no room for runs that only wait. */
  crowded(): boolean;
  /** It only waits from now on, or does something again. */
  idle(run: LiveRun, waits: boolean): void;
  log(info: RunInfo, step: StepRecord | null): JobLog;
  /** A child about to be started: held by this process from the start, if there is room. */
  adopt(start: NewRun): NewRun;
  /** Children that were adopted are stored, or not. */
  adopted(starts: readonly NewRun[], stored: boolean, epoch: number): void;
  /** A commit was applied. */
  applied(run: LiveRun, commit: RunCommit): void;
  woken(queues: readonly string[]): void;
  /** Cancels what the run has started and that has not ended. */
  cancelChildren(runId: string): Promise<void>;
  onError(error: unknown, where: string): void;
}

export interface Holding {
  readonly info: RunInfo;
  readonly epoch: number;
  /** Since its start, without a job. */
  readonly born: boolean;
  readonly record: RunRecord;
  readonly messages: readonly StoredMessage[];
  /** Verbs that the driver carries out, of those that the engine would. */
  readonly ownVerbs: readonly string[];
}

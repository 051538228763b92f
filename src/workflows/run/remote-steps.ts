/**
 * Runs the steps of other namespaces' runs that wait in the queues of this process: loads the run,
 * has the step run by whoever knows its handler, and answers with a message. The message of a
 * transactional step commits with what its handler wrote.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobContext, JobLog } from '../../core/job-context.ts';
import { snooze } from '../../core/job-outcome.ts';
import { parseStored } from '../../core/json.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import { parseChange, RunRecord, type StepRecord } from '../../core/workflow/run-record.ts';
import type { LoadedRun, NewMessage, RunInfo, WorkflowStore } from '../../ports/workflows.ts';
import type { Registry } from '../registry.ts';
import type { HeldRun, HeldTransaction } from './driver.ts';
import type { Observers } from './observer.ts';
import { parseRemoteStep, type RunRemoteStep, remoteStepMessage } from './remote-step.ts';

export interface RemoteStepsOptions {
  readonly workerId: string;
  readonly store: WorkflowStore;
  readonly registry: Registry;
  readonly observers: Observers;
  withTenant<T>(tenantId: string, work: (tx: SqlTransaction) => Promise<T>): Promise<T>;
  /** Stores a message, and tells those who should look. */
  deliver(messages: readonly NewMessage[]): Promise<unknown>;
  /** It was stored by a transaction of ours. */
  delivered(runId: string, woken: readonly string[]): void;
  log(info: RunInfo, step: StepRecord | null): JobLog;
}

/** A step that nobody here can run is offered again after so long. */
const unknownMs = 5_000;

export class RemoteSteps {
  readonly #options: RemoteStepsOptions;
  /** Plugged in by the layer that knows handlers. */
  run: RunRemoteStep = () => null;

  constructor(options: RemoteStepsOptions) {
    this.#options = options;
  }

  /** The handler of jobs named `step`. */
  async work(payload: unknown, job: JobContext): Promise<void> {
    const { store, registry, workerId } = this.#options;
    const { runId, step: no, attempt } = parseRemoteStep(payload);
    const loaded = await store.load(runId);
    if (loaded === null || loaded.end !== null) return;
    const record = recordOf(loaded);
    const step = record.steps[no];
    // It was cancelled or ended by hand meanwhile, or it is a later try's turn.
    if (step === undefined || isOver(step) || isLate(step, attempt)) return;
    const { info } = loaded;
    const template = info.templateHash === '' ? null : await store.template(info.templateHash);
    const run = new RemoteRun(this.#options, info, record, job.signal);
    const definition = registry.knownFor(info);
    const running = this.run({ run, info, record, step, attempt, template, definition });
    if (running === null) {
      throw snooze(unknownMs, `No handler of this process knows step '${step.name}'.`);
    }
    const ending = await running;
    const message = remoteStepMessage({ runId, step: no, attempt }, ending, workerId);
    if (message === null) throw snooze(0, 'The step was stopped with its worker.');
    if (ending.kind === 'value' && ending.transaction !== null) {
      await this.#answerIn(ending.transaction, message);
    } else await this.#options.deliver([message]);
  }

  async #answerIn(transaction: HeldTransaction, message: NewMessage): Promise<void> {
    const { store, delivered } = this.#options;
    try {
      const { deliveries, woken } = await store.deliver([message], { tx: transaction.tx });
      // A copy of this job has answered already, or nobody waits any more: its effects would count
      // a second time.
      if (deliveries[0] !== 'delivered') return await transaction.rollback();
      await transaction.commit({ transitions: [] });
      delivered(message.runId, woken);
    } catch (error) {
      await transaction.rollback().catch(() => {});
      throw error;
    }
  }
}

/** As much of a held run as the step runner needs. */
class RemoteRun implements HeldRun {
  readonly info: RunInfo;
  readonly record: RunRecord;
  readonly signal: AbortSignal;
  readonly #options: RemoteStepsOptions;
  #input: unknown = undefined;

  constructor(options: RemoteStepsOptions, info: RunInfo, record: RunRecord, signal: AbortSignal) {
    this.#options = options;
    this.info = info;
    this.record = record;
    this.signal = signal;
  }

  get workerId(): string {
    return this.#options.workerId;
  }
  get observers(): Observers {
    return this.#options.observers;
  }
  get input(): unknown {
    if (this.#input === undefined) this.#input = parseStored(this.info.inputJson);
    return this.#input;
  }

  log(step: StepRecord | null): JobLog {
    return this.#options.log(this.info, step);
  }

  begin(): Promise<HeldTransaction> {
    const { withTenant } = this.#options;
    return new Promise((begun, failed) => {
      let end: (commit: boolean) => void = () => {};
      const decided = new Promise<boolean>((resolve) => {
        end = resolve;
      });
      const over = withTenant(this.info.tenantId, async (tx) => {
        begun({
          tx,
          commit: async () => {
            end(true);
            await over;
          },
          rollback: async () => {
            end(false);
            await over.catch(() => {});
          },
        });
        if (!(await decided)) throw new RolledBack();
      });
      over.catch(failed);
    });
  }

  reserve(): number {
    throw notHeld();
  }
  commit(): Promise<void> {
    return Promise.reject(notHeld());
  }
  messages(): Promise<never> {
    return Promise.reject(notHeld());
  }
  wait(): Promise<never> {
    return Promise.reject(notHeld());
  }
  rest(): Promise<never> {
    return Promise.reject(notHeld());
  }
}

/** Makes `withTenant` undo what was done. */
class RolledBack extends Error {}

function recordOf({ changes }: LoadedRun): RunRecord {
  const record = new RunRecord();
  for (const change of changes) record.apply(parseChange(change));
  return record;
}

/** Its run waits for another try, as the step's inputs say where a driver writes it there. */
function isLate({ inputsJson, attempts }: StepRecord, attempt: number): boolean {
  const inputs = inputsJson === null ? null : (JSON.parse(inputsJson) as { try?: unknown } | null);
  return typeof inputs?.try === 'number' ? inputs.try !== attempt : attempts > attempt;
}

function isOver({ state }: StepRecord): boolean {
  return (
    state === 'complete' ||
    state === 'cancelled' ||
    state === 'error' ||
    state === 'resolved_manually'
  );
}

function notHeld(): MillraceError {
  return new MillraceError('WORKFLOW_STATE', 'A step that runs elsewhere holds no run.', {
    fix: 'Return the result of the step; the run is driven where it is held.',
  });
}

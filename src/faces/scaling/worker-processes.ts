/**
 * Workers as processes of this machine: started, told to end with SIGTERM and after a grace with
 * SIGKILL, replaced when they end by themselves, later and later while they keep doing so.
 *
 *   starting ──> running ──(SIGTERM)──> ending ──> gone
 *      └───────────┴──(it ended by itself)──> crashed ──(backoff)──> starting
 */
import type { ChildProcess } from 'node:child_process';
import type { WorkerInfo } from '../../ports/jobs.ts';
import { checkCommand, startProcess, type WorkerCommandOptions } from './worker-command.ts';
import type { WorkerListener, WorkerProvider } from './worker-provider.ts';

export interface WorkerProcessesOptions extends WorkerCommandOptions {
  /** What a worker gets to finish its jobs after SIGTERM; 30,000 by default. */
  readonly graceMs?: number | undefined;
  /** Wait before a crashed worker is replaced, doubled with each crash in a row; 500 by default. */
  readonly restartMs?: number | undefined;
}

interface WorkerProcess {
  readonly child: ChildProcess;
  readonly startedAt: number;
  readonly gone: Promise<void>;
  ending: boolean;
}

const restartMsMax = 30_000;
/** A worker that lived for so long was no failed start: the next wait is a short one. */
const steadyMs = 10_000;

export class WorkerProcesses implements WorkerProvider {
  readonly #options: WorkerProcessesOptions;
  readonly #processes = new Set<WorkerProcess>();
  #listener: WorkerListener | null = null;
  #count = 0;
  #crashes = 0;
  #restart: NodeJS.Timeout | undefined;
  #restartAt = 0;

  /** @throws WorkerError CONFIG_INVALID */
  constructor(options: WorkerProcessesOptions = {}) {
    this.#options = checkCommand(options);
  }

  listen(listener: WorkerListener): void {
    this.#listener = listener;
  }

  async count(): Promise<number> {
    return this.#count;
  }

  /** Of processes that were not told to end. */
  get pids(): readonly number[] {
    return this.#staying.flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
  }

  async scaleTo(count: number, known: readonly WorkerInfo[] = []): Promise<void> {
    this.#count = count;
    const surplus = this.#staying.length - count;
    if (surplus > 0) {
      for (const one of leastBusy(this.#staying, known).slice(0, surplus)) this.#end(one);
    }
    this.#fill();
  }

  async close(): Promise<void> {
    this.#count = 0;
    clearTimeout(this.#restart);
    for (const one of this.#staying) this.#end(one);
    await Promise.all([...this.#processes].map(({ gone }) => gone));
  }

  get #staying(): WorkerProcess[] {
    return [...this.#processes].filter(({ ending }) => !ending);
  }

  /** Starts what is missing; after a crash not before its wait is over. */
  #fill(): void {
    clearTimeout(this.#restart);
    const waitMs = this.#restartAt - performance.now();
    if (waitMs > 0) {
      this.#restart = setTimeout(() => this.#fill(), waitMs);
      return;
    }
    while (this.#staying.length < this.#count) this.#start();
  }

  #start(): void {
    const child = startProcess(this.#options);
    const gone = Promise.withResolvers<void>();
    const one: WorkerProcess = {
      child,
      startedAt: performance.now(),
      gone: gone.promise,
      ending: false,
    };
    this.#processes.add(one);
    child.once('spawn', () => this.#listener?.onStarted({ pid: child.pid as number }));
    const onGone = (reason: string) => {
      if (!this.#processes.delete(one)) return;
      gone.resolve();
      if (one.ending) this.#listener?.onStopped({ pid: child.pid as number });
      else this.#onCrash(one, reason);
    };
    child.once('error', (error) => {
      // Also said when a signal could not be sent: only without a process it is an end.
      if (child.pid === undefined) onGone(`it could not be started: ${error.message}`);
    });
    child.once('exit', (code, signal) => {
      onGone(signal === null ? `it ended with exit code ${code}` : `it ended by ${signal}`);
    });
  }

  #onCrash({ child, startedAt }: WorkerProcess, reason: string): void {
    const now = performance.now();
    const { restartMs: least = 500 } = this.#options;
    // Those that crash together, because their database is away, are one crash.
    if (now >= this.#restartAt) {
      this.#crashes = now - startedAt > steadyMs ? 1 : this.#crashes + 1;
      this.#restartAt = now + Math.min(least * 2 ** (this.#crashes - 1), restartMsMax);
    }
    const restartMs = Math.round(this.#restartAt - now);
    this.#listener?.onCrashed({ pid: child.pid ?? null, reason, restartMs });
    this.#fill();
  }

  #end(one: WorkerProcess): void {
    const { graceMs = 30_000 } = this.#options;
    one.ending = true;
    one.child.kill('SIGTERM');
    const impatience = setTimeout(() => one.child.kill('SIGKILL'), graceMs);
    void one.gone.then(() => clearTimeout(impatience));
  }
}

/** Those without a job first, and of equals the youngest. */
function leastBusy(
  processes: readonly WorkerProcess[],
  known: readonly WorkerInfo[],
): WorkerProcess[] {
  const running = new Map<number | undefined, number>();
  for (const { pid, running: jobs } of known) running.set(pid, (running.get(pid) ?? 0) + jobs);
  const jobsOf = ({ child }: WorkerProcess) => running.get(child.pid) ?? 0;
  return [...processes].sort((a, b) => jobsOf(a) - jobsOf(b) || b.startedAt - a.startedAt);
}

/**
 * The worker processes of a fault run: started, watched, killed by pid, all of them gone at the
 * end. An exit that nobody asked for is a finding of its own (an unhandled error ends a process).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { WorkerOptions } from './worker.ts';

const pipelineScript = new URL('./worker.ts', import.meta.url);

export interface FleetSetup {
  /** What each process runs; workers of the pipeline by default. */
  readonly script?: URL;
  /** Of Node itself. */
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Worker {
  readonly name: string;
  readonly pid: number;
  readonly ready: Promise<void>;
  readonly exited: Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export class Fleet<Options extends { readonly url: string } = WorkerOptions> {
  readonly #options: Partial<Options> & { readonly url: string };
  readonly #setup: FleetSetup;
  readonly #workers = new Set<Worker>();
  #started = 0;
  #ended = false;
  /** Last output of workers that ended although nobody ended them. */
  readonly crashes: string[] = [];
  /** Lines about errors that workers survived. */
  survived = 0;
  /** Sums of the lines `count <what> <number>` of all workers. */
  readonly counted = new Map<string, number>();

  constructor(options: Partial<Options> & { readonly url: string }, setup: FleetSetup = {}) {
    this.#options = options;
    this.#setup = setup;
  }

  count(what: string): number {
    return this.counted.get(what) ?? 0;
  }

  get workers(): readonly Worker[] {
    return [...this.#workers];
  }

  /** `changes` are for this worker only, as is its setup. */
  start(changes: Partial<Options> = {}, setup: FleetSetup = {}): Worker {
    this.#started += 1;
    const name = `w${this.#started}`;
    const defaults = { handlerMs: 5, heartbeatMs: 1_000, timeToLiveMs: 5_000 };
    const effectsOutside = process.env.MILLRACE_FAULTS_BREAK === 'effects-outside';
    const options = { ...defaults, effectsOutside, ...this.#options, ...changes, worker: name };
    const { script = pipelineScript, nodeArgs = [], env = {} } = { ...this.#setup, ...setup };
    const args = ['--conditions=millrace-source', ...nodeArgs, fileURLToPath(script)];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...env, FAULT_OPTIONS: JSON.stringify(options) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const worker = this.#watch(name, child);
    this.#workers.add(worker);
    return worker;
  }

  /** Starts a worker for each that ended, as whoever looks after processes would. */
  async keep(count: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#ended) {
      while (this.#workers.size < count) this.start();
      await sleep(50);
    }
  }

  /** Kills every worker that is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    for (const worker of this.#workers) {
      worker.kill('SIGKILL');
      await worker.exited;
    }
  }

  #watch(name: string, child: ChildProcess): Worker {
    let output = '';
    let killed = false;
    let announce: () => void = () => {};
    const ready = new Promise<void>((resolve) => {
      announce = resolve;
    });
    const note = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8_000);
      if (/^ready$/m.test(output)) announce();
      this.survived += chunk.toString().split('survived ').length - 1;
      for (const [, what, n] of chunk.toString().matchAll(/^count (\S+) (\d+)$/gm)) {
        this.counted.set(what as string, this.count(what as string) + Number(n));
      }
    };
    child.stdout?.on('data', note);
    child.stderr?.on('data', note);
    const exited = new Promise<void>((resolve) => {
      child.once('exit', (code, signal) => {
        this.#workers.delete(worker);
        if (!killed) this.crashes.push(`${name} ended by ${signal ?? code}:\n${output}`);
        announce();
        resolve();
      });
    });
    const worker: Worker = {
      name,
      pid: child.pid as number,
      ready,
      exited,
      kill: (signal) => {
        killed ||= signal === 'SIGKILL' || signal === 'SIGTERM';
        child.kill(signal);
      },
    };
    return worker;
  }
}

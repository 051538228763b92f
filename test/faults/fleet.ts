/**
 * The worker processes of a fault run: started, watched, killed by pid, all of them gone at the
 * end. An exit that nobody asked for is a finding of its own (an unhandled error ends a process).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { WorkerOptions } from './worker.ts';

const script = fileURLToPath(new URL('./worker.ts', import.meta.url));

export interface Worker {
  readonly name: string;
  readonly pid: number;
  readonly ready: Promise<void>;
  readonly exited: Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export class Fleet {
  readonly #options: Partial<WorkerOptions> & { readonly url: string };
  readonly #workers = new Set<Worker>();
  #started = 0;
  /** Last output of workers that ended although nobody ended them. */
  readonly crashes: string[] = [];
  /** Lines about errors that workers survived. */
  survived = 0;

  constructor(options: Partial<WorkerOptions> & { readonly url: string }) {
    this.#options = options;
  }

  get workers(): readonly Worker[] {
    return [...this.#workers];
  }

  start(): Worker {
    this.#started += 1;
    const name = `w${this.#started}`;
    const defaults = { handlerMs: 5, heartbeatMs: 1_000, timeToLiveMs: 5_000 };
    const effectsOutside = process.env.MILLRACE_FAULTS_BREAK === 'effects-outside';
    const options = { ...defaults, effectsOutside, ...this.#options, worker: name };
    const child = spawn(process.execPath, ['--conditions=millrace-source', script], {
      env: { ...process.env, FAULT_OPTIONS: JSON.stringify(options) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const worker = this.#watch(name, child);
    this.#workers.add(worker);
    return worker;
  }

  /** Kills every worker that is left. */
  async [Symbol.asyncDispose](): Promise<void> {
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

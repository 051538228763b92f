/**
 * What one job's handler can do from inside its thread: be told to stop, show progress, log, and
 * ask for its parents' results. After `end` nothing of that job is said any more.
 */
import type { JobFacts, JobLog } from '../../core/job-context.ts';
import type { FromSandbox, LogLevel, SandboxContext } from './messages.ts';

/** A busy handler must not fill main's memory with news of its progress, or with its log. */
const progressEveryMs = 50;
const linesMax = 1_000;

export class ContextSource {
  readonly task: number;
  readonly #say: (message: FromSandbox) => void;
  readonly #stop = new AbortController();
  #results: PromiseWithResolvers<unknown[]> | null = null;
  #ended = false;
  #lines = 0;
  #shownAt = Number.NEGATIVE_INFINITY;
  #unshown: { readonly value: unknown } | null = null;

  constructor(task: number, say: (message: FromSandbox) => void) {
    this.task = task;
    this.#say = say;
  }

  contextOf(job: JobFacts): SandboxContext {
    const line = (level: LogLevel): JobLog[LogLevel] => {
      return (message, fields) => this.#log(level, message, fields);
    };
    return Object.freeze({
      ...job,
      signal: this.#stop.signal,
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      progress: (value: unknown) => this.#progress(value),
      results: () => this.#ask(),
    });
  }

  abort(reason: unknown): void {
    this.#stop.abort(reason);
  }

  answer(results: readonly unknown[]): void {
    this.#results?.resolve([...results]);
  }

  refuse(error: unknown): void {
    this.#results?.reject(error);
  }

  /** The handler has ended. Its last progress is shown, whenever the one before was. */
  end(): void {
    this.#ended = true;
    if (this.#unshown === null) return;
    try {
      this.#say({ kind: 'progress', task: this.task, ...this.#unshown });
    } catch {
      // What cannot be copied is not shown: the job is done whatever its progress was.
    }
  }

  #progress(value: unknown): void {
    if (this.#ended) return;
    if (performance.now() - this.#shownAt < progressEveryMs) {
      this.#unshown = { value };
      return;
    }
    this.#unshown = null;
    this.#shownAt = performance.now();
    this.#say({ kind: 'progress', task: this.task, value });
  }

  #log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#lines += 1;
    if (this.#ended || this.#lines > linesMax) return;
    const line = { level, message: String(message), fields };
    try {
      this.#say({ kind: 'log', task: this.task, line });
    } catch {
      this.#say({ kind: 'log', task: this.task, line: { ...line, fields: undefined } });
    }
  }

  #ask(): Promise<unknown[]> {
    if (this.#results === null) {
      this.#results = Promise.withResolvers<unknown[]>();
      this.#say({ kind: 'ask', task: this.task });
    }
    return this.#results.promise;
  }
}

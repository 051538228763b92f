/**
 * Main's side of one sandbox: a thread that runs one job at a time. Whatever the handler does to
 * its thread, `run` settles and main lives on; a thread that was harmed is never used again.
 *
 *   running ──> answered                                  the thread can be used again
 *      └─ time over or cancelled ──> grace ──> answered   it can, too
 *                                      └─────> ended      as by process.exit(), memory, errors
 */
import type { Worker } from 'node:worker_threads';
import { MillraceError } from '../../core/errors.ts';
import type { JobFacts, JobLog } from '../../core/job-context.ts';
import { type CarriedError, carryError, reviveError } from '../../runtime/carried-error.ts';
import { openThread, threadEntry } from '../../runtime/thread.ts';
import { hardLimitMb, watchMemory } from './memory-watch.ts';
import type { FromSandbox, SandboxData, ToSandbox } from './messages.ts';

export interface SandboxTask {
  readonly payload: unknown;
  /** Copied member by member, so that the tools of a handler's context may be among them. */
  readonly context: JobFacts;
  /** 0 is no limit. Loading the module counts. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly log?: JobLog | undefined;
  onProgress?(value: unknown): void;
  /** Results of the jobs that this one depends on, when the handler asks for them. */
  results?(): Promise<readonly unknown[]>;
}

export interface SandboxThreadOptions {
  readonly module: string;
  readonly memoryMbMax: number;
  /** What a handler gets to obey its signal before its thread is ended. */
  readonly graceMs: number;
  /** The thread is no more, wanted or not. */
  onEnded(): void;
}

interface Run {
  readonly task: number;
  readonly options: SandboxTask;
  readonly answer: PromiseWithResolvers<unknown>;
  /** Set when it was told to stop: what it fails with from then on. */
  stopped: { readonly reason: unknown; readonly late: boolean } | null;
  grace: NodeJS.Timeout | undefined;
  exit: NodeJS.Timeout | undefined;
}

/** A thread that does not end for so long is waited for no longer. */
const exitMsMax = 1_000;

export class SandboxThread {
  readonly #options: SandboxThreadOptions;
  readonly #worker: Worker;
  #tasks = 0;
  #run: Run | null = null;
  #fault: unknown = null;
  /** False as soon as nothing must be given to it any more. */
  usable = true;

  constructor(options: SandboxThreadOptions) {
    this.#options = options;
    this.#worker = openThread(threadEntry('thread', import.meta.url), {
      workerData: { module: options.module } satisfies SandboxData,
      resourceLimits: { maxOldGenerationSizeMb: hardLimitMb(options.memoryMbMax) },
    });
    this.#worker.on('message', (message: FromSandbox) => this.#hear(message));
    this.#worker.on('messageerror', (error) => this.#end(error));
    this.#worker.on('error', (error) => {
      this.usable = false; // its exit follows
      this.#fault ??= error;
    });
    this.#worker.on('exit', (code) => this.#onExit(code));
    // Only a running job keeps the process alive. Last: a listener would take it back.
    this.#worker.unref();
  }

  /**
   * @throws MillraceError HANDLER_TIMEOUT, SANDBOX_FAILED; the reason of the signal; what the
   * handler threw, made again in this thread.
   */
  async run(options: SandboxTask): Promise<unknown> {
    const { payload, context, timeoutMs, signal } = options;
    signal.throwIfAborted();
    this.#tasks += 1;
    const task = this.#tasks;
    const answer = Promise.withResolvers<unknown>();
    const run: Run = { task, options, answer, stopped: null, grace: undefined, exit: undefined };
    this.#send({ kind: 'run', task, payload, job: factsOf(context) });
    this.#run = run;
    this.#worker.ref();
    const timer = timeoutMs === 0 ? undefined : setTimeout(() => this.#expire(run), timeoutMs);
    const onAbort = () => this.#stop(run, signal.reason, false);
    signal.addEventListener('abort', onAbort, { once: true });
    const unwatch = watchMemory(this.#worker, this.#options.memoryMbMax, (usedMb) =>
      this.#end(this.#tooLarge(usedMb)),
    );
    try {
      const value = await answer.promise;
      if (run.stopped?.late) throw run.stopped.reason;
      return value;
    } catch (error) {
      throw run.stopped === null ? error : run.stopped.reason;
    } finally {
      this.#run = null;
      unwatch();
      clearTimeout(timer);
      clearTimeout(run.grace);
      clearTimeout(run.exit);
      signal.removeEventListener('abort', onAbort);
      this.#worker.unref();
    }
  }

  /** Ends it, whatever it does. */
  end(): void {
    this.#end(new MillraceError('SHUTTING_DOWN', 'The sandboxes of this process are closed.'));
  }

  #send(message: ToSandbox): void {
    try {
      this.#worker.postMessage(message);
    } catch (error) {
      throw new MillraceError('SANDBOX_FAILED', `The payload cannot be copied: ${error}.`, {
        cause: error,
        retryable: false,
        fix: 'Give a sandboxed handler plain data: no functions, no symbols, no open handles.',
      });
    }
  }

  #expire(run: Run): void {
    const { timeoutMs } = run.options;
    const message = `The handler took longer than ${timeoutMs} ms.`;
    this.#stop(run, new MillraceError('HANDLER_TIMEOUT', message), true);
  }

  #stop(run: Run, reason: unknown, late: boolean): void {
    if (run.stopped !== null) return;
    run.stopped = { reason, late };
    this.#send({ kind: 'abort', task: run.task, reason: carryError(reason) });
    run.grace = setTimeout(() => this.#end(reason), this.#options.graceMs);
  }

  #end(fault: unknown): void {
    this.usable = false;
    this.#fault ??= fault;
    this.#worker.terminate().catch(() => {});
    // No line of the handler runs any more, but one native call may go on for seconds.
    const run = this.#run;
    if (run) run.exit = setTimeout(() => run.answer.reject(this.#fault), exitMsMax);
  }

  #hear(message: FromSandbox): void {
    const run = this.#run;
    // A handler can speak through this port too; only what we know of is heard.
    if (run === null || message?.task !== run.task) return;
    const { kind } = message;
    if (kind === 'progress') this.#showProgress(run, message.value);
    else if (kind === 'log')
      run.options.log?.[message.line.level](message.line.message, message.line.fields);
    else if (kind === 'ask') void this.#sendResults(run);
    else if (kind === 'done') run.answer.resolve(message.value);
    else if (kind === 'failed') run.answer.reject(reviveError(message.error));
    else if (kind === 'unsent') run.answer.reject(this.#unsent(message.error));
    else if (kind === 'unusable') this.#end(this.#unusable(message.error));
  }

  /** A progress that main refuses fails the job, as it would in a handler of this thread. */
  #showProgress(run: Run, value: unknown): void {
    try {
      run.options.onProgress?.(value);
    } catch (error) {
      this.#stop(run, error, true);
    }
  }

  async #sendResults({ task, options }: Run): Promise<void> {
    try {
      const results = (await options.results?.()) ?? [];
      this.#send({ kind: 'results', task, results });
    } catch (error) {
      this.#send({ kind: 'no-results', task, error: carryError(error) });
    }
  }

  #onExit(exitCode: number): void {
    this.usable = false;
    this.#run?.answer.reject(this.#whyEnded(exitCode));
    this.#options.onEnded();
  }

  #whyEnded(exitCode: number): unknown {
    const fault = this.#fault;
    if (fault instanceof MillraceError) return fault;
    const { module, memoryMbMax } = this.#options;
    if (fault === null) {
      return new MillraceError(
        'SANDBOX_FAILED',
        `The handler ended its thread with exit code ${exitCode} (${module}).`,
        { fix: 'Return or throw in a sandboxed handler; process.exit() ends its thread.' },
      );
    }
    const carried = carryError(fault);
    if (carried.members.code === 'ERR_WORKER_OUT_OF_MEMORY') return this.#tooLarge(memoryMbMax);
    return new MillraceError(
      'SANDBOX_FAILED',
      `An error that no handler caught ended the thread: ${carried.message} (${module}).`,
      { cause: fault, fix: 'Await every promise that the handler starts, and catch in callbacks.' },
    );
  }

  #tooLarge(usedMb: number): MillraceError {
    const { module, memoryMbMax } = this.#options;
    const problem = `uses ${usedMb} MB, ${memoryMbMax} MB are allowed`;
    return new MillraceError('SANDBOX_FAILED', `The handler ${problem} (${module}).`, {
      fix: 'Raise sandbox.memoryMbMax (Buffers and garbage count), or handle less in one job.',
      details: { usedMb, memoryMbMax },
    });
  }

  #unsent(error: CarriedError): MillraceError {
    const { module } = this.#options;
    const message = `The handler's result cannot be copied: ${error.message} (${module}).`;
    return new MillraceError('SANDBOX_FAILED', message, {
      cause: reviveError(error),
      retryable: false,
      fix: 'Return plain data from a sandboxed handler: no functions, no symbols, no handles.',
    });
  }

  #unusable(error: CarriedError): MillraceError {
    const message = `${this.#options.module} cannot be run: ${error.message}.`;
    return new MillraceError('SANDBOX_FAILED', message, {
      cause: reviveError(error),
      retryable: false,
      fix: 'sandbox.module is the URL of a module with (payload, ctx) => result as default export.',
    });
  }
}

/** Without the tools that a handler's context has beside them: those cannot be copied. */
function factsOf(context: JobFacts): JobFacts {
  const { id, name, queue, tenantId, key, attempt, priority, enqueuedAt } = context;
  const { metadata, correlationId, traceparent } = context;
  return {
    id,
    name,
    queue,
    tenantId,
    key,
    attempt,
    priority,
    enqueuedAt,
    metadata,
    correlationId,
    traceparent,
  };
}

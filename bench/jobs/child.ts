/** The parent's end of a process of the bench (worker.ts): starts it, asks it, ends it. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { SessionOptions } from './product.ts';
import type { ProductName } from './products.ts';
import type { Answer, Request, Verbs } from './worker.ts';

type Arguments<Verb extends keyof Verbs> = Parameters<Verbs[Verb]>[0];
type Result<Verb extends keyof Verbs> = Awaited<ReturnType<Verbs[Verb]>>;

/** Longer than any call of a run takes. */
const answerMsMax = 300_000;

export class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #calls = new Map<number, { resolve(v: unknown): void; reject(e: Error): void }>();
  #calledLast = 0;

  /** Starts a process with an open session of the product. */
  static async start(product: ProductName, options: SessionOptions): Promise<Child> {
    const child = new Child(product);
    await child.call('open', { product, ...options });
    return child;
  }

  private constructor(product: ProductName) {
    this.#process = fork(new URL('./worker.ts', import.meta.url), [product], {
      execArgv: ['--conditions=millrace-source'],
      serialization: 'advanced',
    });
    this.#process.on('message', ({ id, result, error }: Answer) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new Error(`${product}: ${error}`));
    });
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#calls.values()) {
        reject(new Error(`${product}: its process ended (${signal ?? code})`));
      }
    });
  }

  call<Verb extends keyof Verbs>(verb: Verb, args: Arguments<Verb>): Promise<Result<Verb>>;
  call<Verb extends keyof Verbs>(
    verb: Arguments<Verb> extends undefined ? Verb : never,
  ): Promise<Result<Verb>>;
  async call(verb: keyof Verbs, args: unknown = {}): Promise<unknown> {
    this.#calledLast += 1;
    const id = this.#calledLast;
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${verb}`)), answerMsMax);
      const done = <Value>(then: (value: Value) => void) => {
        return (value: Value) => {
          clearTimeout(timer);
          then(value);
        };
      };
      this.#calls.set(id, { resolve: done(resolve), reject: done(reject) });
    });
    const request: Request = { id, verb, args };
    this.#process.send(request);
    return answer;
  }

  /** SIGKILL: it gets no chance to say goodbye. */
  async kill(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  /** Closes the session and ends the process, by force when it does not end by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    await Promise.race([
      this.call('close').catch((error) => console.error(String(error))),
      new Promise((resolve) => setTimeout(resolve, 10_000).unref()),
    ]);
    await this.kill();
  }
}

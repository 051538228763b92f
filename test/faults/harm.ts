/** Jobs that do harm: to their process, to its event loop, or by what they answer and throw. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineJob } from 'millrace';
import { type OrderWork, queue } from './job-orders.ts';

/** What a handler returns or throws, as a payload can say it. */
const answers: Readonly<Record<string, () => unknown>> = {
  circular() {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    return circular;
  },
  bigint: () => ({ n: 1n }),
  symbol: () => Symbol('harm'),
  function: () => ({ call: () => {} }),
  getter: () => ({
    get message() {
      throw new Error('no message for you');
    },
  }),
  null: () => null,
  undefined: () => undefined,
  cause() {
    const error = new Error('outer');
    error.cause = error;
    return error;
  },
  huge: () => new Error('x'.repeat(2_000_000)),
};
export const answerNames: readonly string[] = Object.keys(answers);

export interface Answering {
  readonly verb: 'return' | 'throw';
  readonly answer: string;
}

function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

export function defineHarm({ directory, worker }: Pick<OrderWork, 'directory' | 'worker'>) {
  const once = { queue, attempts: 1 } as const;
  return {
    Exit: defineJob('exit', { ...once, handler: (): void => process.exit(7) }),
    Hoard: defineJob('hoard', {
      ...once,
      handler: async (): Promise<void> => {
        const hoard: unknown[] = [];
        for (;;) hoard.push(new Array(100_000).fill(Math.random()));
      },
    }),
    Answer: defineJob('answer', {
      ...once,
      handler: ({ verb, answer }: Answering) => {
        const value = answers[answer]?.();
        if (verb === 'throw') throw value;
        return value;
      },
    }),
    Endless: defineJob('endless', {
      ...once,
      timeoutMs: 500,
      sandbox: { module: new URL('./endless.ts', import.meta.url) },
    }),
    /** Does no harm, but is there for long. */
    Long: defineJob('long', {
      ...once,
      handler: ({ ms }: { readonly ms: number }, { signal }) => sleep(ms, 'done', { signal }),
    }),
    /** Blocks the event loop of its worker. */
    Block: defineJob('block', {
      ...once,
      handler: ({ ms, n }: { readonly ms: number; readonly n: number }, { attempt }) => {
        fs.appendFileSync(path.join(directory, worker), `block b ${n} ${attempt}\n`);
        block(ms);
      },
    }),
  };
}

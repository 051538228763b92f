/**
 * A process of the bench: `worker.ts <product>`. It holds one session of the product and does what
 * its parent (child.ts) asks, as producer, as worker or as both.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomFrom } from '../../test/support/random.ts';
import { machineMs } from './clock.ts';
import { type Handled, Ledger } from './ledger.ts';
import { makePayload, type Session, type SessionOptions } from './product.ts';
import { loadProduct, type ProductName } from './products.ts';

export interface Sustained {
  /** Handled in each second. */
  readonly series: readonly number[];
  readonly perSecond: number;
  readonly verdict: Handled;
}

/** In a sustained run the producer pauses while more wait than are handled in half a second. */
function waitingMax(batch: number, seconds: number): number {
  return Math.min(20_000, Math.max(2 * batch, ledger.handled / seconds / 2));
}

const ledger = new Ledger();
let session: Session;

/** Calls `each` by so many callers at once until one answers false; says how long that took. */
async function inTurns(callers: number, each: (i: number) => Promise<unknown> | false) {
  let next = 0;
  const fromMs = machineMs();
  const turn = async () => {
    for (let call = each(next); call !== false; call = each(next)) {
      next += 1;
      await call;
    }
  };
  await Promise.all(Array.from({ length: callers }, turn));
  return { fromMs, toMs: machineMs(), count: next };
}

function payloads(from: number, count: number) {
  const now = machineMs();
  return Array.from({ length: count }, (_, i) => makePayload(from + i, now));
}

export const verbs = {
  async open({ product, ...options }: SessionOptions & { product: ProductName }): Promise<void> {
    session = await (await loadProduct(product)).open(options);
  },

  prepare: () => session.prepare(),
  rest: () => session.rest(),
  unfinished: () => session.unfinished(),

  async expect({ count }: { count: number }): Promise<void> {
    ledger.expect(count);
  },

  async work({ hold = false }: { hold?: boolean }): Promise<void> {
    ledger.hold = hold;
    await session.work(ledger.handle);
  },

  /** Bulk calls, `batch` jobs each. */
  produce({ count, batch, callers }: { count: number; batch: number; callers: number }) {
    return inTurns(callers, (i) => {
      const from = i * batch;
      return from < count && session.enqueueMany(payloads(from, Math.min(batch, count - from)));
    });
  },

  /** One job a call, for a while. */
  produceSingly({ seconds, callers }: { seconds: number; callers: number }) {
    const toMs = machineMs() + seconds * 1000;
    return inTurns(callers, (n) => {
      const now = machineMs();
      return now < toMs && session.enqueue(makePayload(n, now));
    });
  },

  finish: ({ count }: { count?: number }) => ledger.finish(count),

  async enqueueOne({ n }: { n: number }): Promise<void> {
    await session.enqueue(makePayload(n, machineMs()));
  },

  latencyOf: ({ n }: { n: number }) => ledger.latencyOf(n),
  startTimes: async () => ledger.startTimes(),

  /** One job at a time in this process, after random pauses. */
  async probe({ from, count, seed }: { from: number; count: number; seed: number }) {
    const random = randomFrom(seed);
    const latencies: number[] = [];
    for (let n = from; n < from + count; n += 1) {
      await session.enqueue(makePayload(n, machineMs()));
      latencies.push(await ledger.latencyOf(n));
      await sleep(random.next() * 10);
    }
    return latencies;
  },

  /** Enqueues as fast as it goes, while handling, for so many seconds; then finishes the rest. */
  async sustain({ length, batch }: { length: number; batch: number }): Promise<Sustained> {
    const fromMs = machineMs();
    const toMs = fromMs + length * 1000;
    let made = 0;
    while (machineMs() < toMs) {
      const seconds = (machineMs() - fromMs) / 1000;
      if (made - ledger.handled > waitingMax(batch, seconds)) {
        await sleep(1);
        continue;
      }
      const from = made;
      made += batch;
      await session.enqueueMany(payloads(from, batch));
    }
    const series = ledger.perSecond(fromMs, length);
    const perSecond = series.reduce((sum, one) => sum + one, 0) / length;
    return { series, perSecond, verdict: await ledger.finish(made) };
  },

  async close(): Promise<void> {
    await session.close();
  },
} satisfies Readonly<Record<string, (args: never) => Promise<unknown>>>;

export type Verbs = typeof verbs;

export interface Request {
  readonly id: number;
  readonly verb: keyof Verbs;
  readonly args: unknown;
}

export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

process.on('message', async ({ id, verb, args }: Request) => {
  const answer = (rest: Partial<Answer>) => process.send?.({ id, ...rest });
  try {
    answer({ result: await verbs[verb](args as never) });
  } catch (error) {
    answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
// The parent is gone: nobody is left to ask for anything.
process.on('disconnect', () => process.exit(1));

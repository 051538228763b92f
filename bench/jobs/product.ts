/**
 * What the bench asks of a job queue. One adapter per product answers it; ours are in `products/`,
 * the others' in `../peers`, which has their packages. Harness and adapters share nothing else, so
 * a product is measured by what its own documented calls do.
 */

/** About 200 bytes as JSON. `n` counts jobs from 0, so that each can be accounted for. */
export interface Payload {
  readonly n: number;
  /** On the machine's clock (clock.ts) just before the call that enqueues it. */
  readonly sentAtMs: number;
  readonly note: string;
}

export type Handle = (payload: Payload) => void | Promise<void>;

export interface SessionOptions {
  readonly url: string;
  /** For products whose documentation gives other settings for low latency than for throughput. */
  readonly aim: 'throughput' | 'latency';
  /** Ours only: jobs of ten keys, with or without limits on the queue and on each key. */
  readonly keys?: 'limited' | 'unlimited';
}

/** A product within one process, connected. */
export interface Session {
  /** Makes its schema and its queue. Called once per fresh server, before any other call. */
  prepare(): Promise<void>;
  /** Its bulk call. */
  enqueueMany(payloads: readonly Payload[]): Promise<unknown>;
  enqueue(payload: Payload): Promise<unknown>;
  /** Starts handling; resolves when it is ready to. */
  work(handle: Handle): Promise<void>;
  /** Stops handling, gracefully; `work` may follow. */
  rest(): Promise<void>;
  /** Jobs that are stored and not completed, failed ones too. */
  unfinished(): Promise<number>;
  close(): Promise<void>;
}

export interface Product {
  readonly name: string;
  readonly store: 'postgres' | 'redis';
  /** The settings it is measured with, in one line, for the report. */
  readonly settings: string;
  /** When its jobs run again after their worker died, by default; `null`: measured here. */
  readonly recoveryByDefault: string | null;
  open(options: SessionOptions): Promise<Session>;
}

export const payloadBytes = 200;

export function makePayload(n: number, sentAtMs: number): Payload {
  const bare = JSON.stringify({ n, sentAtMs, note: '' }).length;
  return { n, sentAtMs, note: 'x'.repeat(payloadBytes - bare) };
}

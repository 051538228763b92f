/** Jobs that depend on time: delayed ones, and batches that wait to become fuller. */
import { defineJob } from 'millrace';
import { queue } from './job-orders.ts';

export function defineClocked() {
  return {
    Later: defineJob('later', {
      queue,
      attempts: 1,
      handler: (_: { readonly delayMs: number }): void => {},
    }),
    Gathered: defineJob('gathered', {
      queue: 'gathered',
      attempts: 1,
      batch: { max: 50, waitMs: 100 },
      handler: (batch: readonly { readonly payload: { readonly n: number } }[]) =>
        batch.map(({ payload }) => payload.n),
    }),
    Appointed: defineJob('appointed', { queue, handler: (_: object): void => {} }),
  };
}

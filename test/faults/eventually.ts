/** Waiting for something to come true, with a deadline: tests never sleep and hope. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves with milliseconds waited; throws with `what` and the last error after `withinMs`. */
export async function eventually(
  what: string,
  withinMs: number,
  holds: () => boolean | Promise<boolean>,
  everyMs = 50,
): Promise<number> {
  const from = performance.now();
  let last: unknown = null;
  for (;;) {
    try {
      if (await holds()) return performance.now() - from;
      last = null;
    } catch (error) {
      last = error; // the database may be away at this moment
    }
    if (performance.now() - from > withinMs) {
      throw new Error(`not within ${withinMs} ms: ${what}`, { cause: last });
    }
    await sleep(everyMs);
  }
}

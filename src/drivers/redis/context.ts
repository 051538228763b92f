/** What every room of this driver is given. */
import type { Redis } from './connection.ts';
import type { Keys } from './keys.ts';
import type { Lanes } from './lanes.ts';

export interface Context {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly lanes: Lanes;
  /** Completed jobs of a queue that can still be read, roughly. */
  readonly historyMax: number;
}

/** A script refused because the slot of the queue does not know what these lanes are. */
export async function withLanes<Reply extends readonly unknown[]>(
  { lanes }: Context,
  used: () => readonly Parameters<Lanes['introduce']>[0][number][],
  attempt: () => Promise<Reply>,
): Promise<Reply> {
  const reply = await attempt();
  if (reply[0] !== 'lanes') return reply;
  await lanes.introduce(used());
  return attempt();
}

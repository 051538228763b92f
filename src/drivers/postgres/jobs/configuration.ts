/** Queues and their settings, shared by all processes through the database. */
import type { Limits, QueueSettings } from '../../../ports/jobs.ts';
import { type Database, translate } from '../connection.ts';
import { sql } from '../statements.ts';

/** Whether limits are given, then concurrency, rate and its interval. */
const limitParameters = (limits: Limits | null | undefined) => [
  limits !== undefined,
  limits?.concurrency ?? null,
  limits?.rate?.max ?? null,
  limits?.rate?.perMs ?? null,
];

export async function configureQueues(
  database: Database,
  queues: readonly QueueSettings[],
): Promise<void> {
  for (const { queue, limits, keyLimits, paused, lengthMax } of queues) {
    const values = [
      queue,
      ...limitParameters(limits),
      ...limitParameters(keyLimits),
      paused ?? null,
      lengthMax !== undefined,
      lengthMax ?? null,
    ];
    await database.transaction(async (client) => {
      const { rows } = await client.query({ ...sql.configureQueue, values, rowMode: 'array' });
      if (limits === undefined && keyLimits === undefined) return;
      const id = (rows[0] as unknown as [number])[0];
      // What began before the limits did has no permit to give back: count it now.
      await client.query(sql.lockQueue.text, [id]).catch((error) => {
        throw translate(error);
      });
      await client.query(sql.recountPermits.text, [id]);
    });
  }
}

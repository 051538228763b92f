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
      const limited = limits !== undefined || keyLimits !== undefined;
      const send = (text: string, parameters: unknown[]) =>
        client.query(text, parameters).catch((error) => {
          throw translate(error);
        });
      // Who settles under the old limits shall be counted as gone, and who comes later see the new.
      if (limited) await send(sql.lockEpochs.text, []);
      const { rows } = await client.query({ ...sql.configureQueue, values, rowMode: 'array' });
      if (!limited) return;
      const [id, ...sameRates] = rows[0] as unknown as [number, boolean, boolean];
      // What began before the limits did has no permit to give back: count it now.
      await send(sql.lockQueue.text, [id]);
      await send(sql.recountPermits.text, [id, ...sameRates]);
    });
  }
}

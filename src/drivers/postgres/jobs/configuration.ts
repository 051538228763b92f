/** Queues and their settings, shared by all processes through the database. */
import type pg from 'pg';
import type { Limits, QueueSettings } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { patiently } from '../patiently.ts';
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
    const limited = limits !== undefined || keyLimits !== undefined;
    await patiently(() =>
      database.transaction(async (client) => {
        if (limited) await holdSettlements(client, queue);
        const { rows } = await client.query({ ...sql.configureQueue, values, rowMode: 'array' });
        if (!limited) return;
        const [id, ...sameRates] = rows[0] as unknown as [number, boolean, boolean];
        // What began before the limits did has no permit to give back: count it now.
        await client.query(sql.lockQueue.text, [id]);
        await client.query(sql.recountPermits.text, [id, ...sameRates]);
      }),
    );
  }
}

/**
 * Who settles under the old limits shall be counted as gone, and who comes later see the new. All
 * of the queue's workers wait meanwhile: for seconds at most, also when this process freezes or
 * somebody's open transaction stands in the way.
 */
async function holdSettlements(client: pg.ClientBase, queue: string): Promise<void> {
  await client.query(
    `select set_config('lock_timeout', '5s', true),
       set_config('idle_in_transaction_session_timeout', '5s', true)`,
  );
  // Twice: the first wait may be long, and others may have come during it.
  await client.query(sql.lockEpochs.text, [queue]);
  await client.query(sql.lockEpochs.text, [queue]);
}

/**
 * What latency no queue on this Postgres can be below: one row inserted and committed over a plain
 * connection, after the same pauses as the jobs have. Pauses let processors and caches go cold: the
 * same commit in a tight loop takes a third of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { randomFrom } from '../../test/support/random.ts';
import { type LatencyOptions, warmUps } from './latency.ts';
import { payloadBytes } from './product.ts';

export async function measureFloor(
  url: string,
  { samples, seed }: LatencyOptions,
): Promise<readonly number[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('create table if not exists bench_floor (n int, note text)');
    const random = randomFrom(seed);
    const found: number[] = [];
    const insert = { name: 'floor', text: 'insert into bench_floor values ($1, $2)' };
    for (let n = 0; n < warmUps + samples; n += 1) {
      const from = performance.now();
      await client.query({ ...insert, values: [n, 'x'.repeat(payloadBytes)] });
      if (n >= warmUps) found.push(performance.now() - from);
      await sleep(random.next() * 10);
    }
    await client.query('drop table bench_floor');
    return found;
  } finally {
    await client.end();
  }
}

/**
 * A process that subscribes to domain events in both durable ways, and kills itself in the middle
 * of its handlers: after the effect of an event that says so, once for each. Effects of the durable
 * subscription are committed at once; those of the acknowledged one belong to its transaction.
 */
import { connect, type SqlTransaction } from 'millrace';
import pg from 'pg';

interface Payload {
  readonly n: number;
  readonly deadly: boolean;
}

const { url } = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as { url: string };
const pool = new pg.Pool({ connectionString: url });
const outside: SqlTransaction = {
  async query<Row>(text: string, values: readonly unknown[] = []) {
    return (await pool.query(text, [...values])).rows as Row[];
  },
};

async function handle(mode: string, { n, deadly }: Payload, tx: SqlTransaction): Promise<void> {
  await tx.query('insert into handled (mode, n) values ($1, $2)', [mode, n]);
  if (!deadly) return;
  const first = await outside.query(
    'insert into killed (mode, n) values ($1, $2) on conflict do nothing returning n',
    [mode, n],
  );
  if (first.length > 0) process.kill(process.pid, 'SIGKILL');
}

const mill = await connect(url, {
  migrate: false,
  heartbeatMs: 200,
  timeToLiveMs: 2_000,
  onError: (error, where) => console.log(`survived ${where}: ${(error as Error).message}`),
});
mill.events.subscribe('order.*', { delivery: 'durable', group: 'durable' }, (event) =>
  handle('durable', event.payload as Payload, outside),
);
mill.events.subscribe('order.*', { delivery: 'acknowledged', group: 'acked' }, (event, { tx }) =>
  handle('acknowledged', event.payload as Payload, tx),
);
process.on('SIGTERM', () => void mill.stop().then(() => process.exit(0)));
await mill.start();
console.log('ready');

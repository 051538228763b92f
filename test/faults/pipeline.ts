/**
 * The system under test of the fault runs: two groups in a row. `ship` handles each event alone
 * and publishes a follow-up; `bill` handles the follow-ups in batches. Both write (key, seq) into
 * a table without any unique constraint, in the transaction of their cursor, so that every effect
 * that should not be there can be seen there.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { defineEvent, type Millrace, type SqlTransaction, type StandardSchemaV1 } from 'millrace';
import type { FaultServer } from './server.ts';

export interface Order {
  readonly seq: number;
}

const trusted: StandardSchemaV1<unknown, Order> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Order }) },
};

export const OrderPlaced = defineEvent('OrderPlaced', { schema: trusted });
export const OrderShipped = defineEvent('OrderShipped', { schema: trusted });
export const stages = ['ship', 'bill'] as const;

/** After the first connect, which makes the roles. */
export async function createEffects(server: FaultServer): Promise<void> {
  await server.rows(`create table effect (
    n bigint generated always as identity, stage text not null, tenant_id text not null,
    key text not null, seq int not null, attempt int not null, worker text not null)`);
  await server.rows('create index on effect (stage, key, seq)');
  await server.rows('grant insert on effect to millrace_app');
}

export interface PipelineOptions {
  /** Says in each effect who wrote it. */
  readonly worker: string;
  /** How long a handler of `ship` takes, at random up to twice this. */
  readonly handlerMs?: number;
  /** Proof that the tests can fail: writes effects on a connection of its own, not in the batch. */
  readonly outside?: SqlTransaction;
}

export function subscribePipeline(mill: Millrace, options: PipelineOptions): void {
  const { worker, handlerMs = 0, outside } = options;
  mill.subscribe({
    group: 'ship',
    events: [OrderPlaced],
    retry: { initialDelayMs: 50, maxRetries: 100 },
    async handle(event, context) {
      const { tenantId, key, payload } = event;
      if (handlerMs > 0) await sleep(Math.random() * handlerMs * 2);
      const tx = outside ?? (await context.tx());
      await tx.query(
        `insert into effect (stage, tenant_id, key, seq, attempt, worker)
          values ('ship', $1, $2, $3, $4, $5)`,
        [tenantId, key, payload.seq, context.attempt, worker],
      );
      context.publish(OrderShipped, { payload });
    },
  });
  mill.subscribe({
    group: 'bill',
    events: [OrderShipped],
    retry: { initialDelayMs: 50, maxRetries: 100 },
    async handleBatch(events, context) {
      const tx = outside ?? (await context.tx());
      await tx.query(
        `insert into effect (stage, tenant_id, key, seq, attempt, worker)
          select 'bill', $1, k, s, $4, $5
          from unnest($2::text[], $3::int[]) with ordinality x(k, s, n) order by n`,
        [
          context.tenantId,
          events.map(({ key }) => key),
          events.map(({ payload }) => payload.seq),
          context.attempt,
          worker,
        ],
      );
    },
  });
}

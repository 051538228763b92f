/**
 * The system under test of the job faults: orders as jobs of one queue. Every second one writes its
 * effect in the transaction of its completion (it must be there once), the others into a file (it
 * must be there at least once, and twice only when the job was interrupted). Nothing keeps a second
 * effect out, so that it can be seen.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineJob, type JobContext, type Jobs } from 'millrace';
import type { Place } from './producer.ts';

export const queue = 'orders';

export interface JobOrder {
  readonly key: string;
  readonly seq: number;
}

export interface OrderWork {
  /** Says in each effect who wrote it. */
  readonly worker: string;
  /** Of the files, one for each worker. */
  readonly directory: string;
  /** How long a handler takes, at random up to twice this. */
  readonly handlerMs: number;
  /** Proof that the tests can fail: the effects of transactions are written as the others are. */
  readonly effectsOutside?: boolean;
  /** Told when a handler is told to stop. */
  onAborted?(): void;
}

const again = { attempts: 100, backoff: { kind: 'fixed', delayMs: 50 } } as const;

/** Handlers of a worker; producers need no more than the names. */
export function defineOrders(work: OrderWork) {
  const { worker, directory, handlerMs, effectsOutside = false, onAborted } = work;
  const rest = async ({ signal }: Pick<JobContext, 'signal'>) => {
    if (onAborted) signal.addEventListener('abort', onAborted, { once: true });
    if (handlerMs > 0) await sleep(Math.random() * handlerMs * 2);
  };
  const note = (stage: string, { key, seq }: JobOrder, attempt: number) =>
    fs.appendFileSync(path.join(directory, worker), `${stage} ${key} ${seq} ${attempt}\n`);
  const Kept = defineJob('kept', {
    queue,
    ...again,
    transactional: true,
    handler: async (order: JobOrder, context) => {
      await rest(context);
      if (effectsOutside) note('kept', order, context.attempt);
      else {
        await context.tx.query(
          `insert into effect (stage, tenant_id, key, seq, attempt, worker)
            values ('kept', $1, $2, $3, $4, $5)`,
          [context.tenantId, order.key, order.seq, context.attempt, worker],
        );
      }
      return order.seq;
    },
  });
  const Noted = defineJob('noted', {
    queue,
    ...again,
    handler: async (order: JobOrder, context) => {
      await rest(context);
      note('noted', order, context.attempt);
    },
  });
  /** Each tick of a schedule once, in a transaction. */
  const Tick = defineJob('tick', {
    queue,
    ...again,
    transactional: true,
    handler: async ({ schedule }: { readonly schedule: string }, context) => {
      const tick = Date.parse(String(context.metadata.tick));
      await context.tx.query(
        `insert into effect (stage, tenant_id, key, seq, attempt, worker)
          values ('tick', $1, $2, $3, $4, $5)`,
        [context.tenantId, schedule, Math.floor(tick / 50) % 1_000_000, context.attempt, worker],
      );
    },
  });
  return { Kept, Noted, Tick };
}

/** Orders as two versions of the code know them. A try is not lost on one that is too old. */
export function defineVersioned({ worker, directory }: OrderWork, version: 1 | 2) {
  return defineJob('versioned', {
    queue,
    attempts: 3,
    version,
    ...(version === 2 && { upcasters: { 1: (old: unknown) => ({ ...(old as JobOrder) }) } }),
    handler: async ({ key, seq }: JobOrder, context) => {
      await sleep(20);
      fs.appendFileSync(path.join(directory, worker), `noted ${key} ${seq} ${context.attempt}\n`);
    },
  });
}

/** Enqueues orders, in turn of both kinds where the store has transactions. */
export function placeJobs(jobs: Jobs): Place {
  const { Kept, Noted } = defineOrders({ worker: '', directory: '', handlerMs: 0 });
  const both = jobs.store.capabilities.sqlTransactions;
  return ({ tenantId, key, seq }) =>
    jobs.enqueue(both && seq % 2 === 0 ? Kept : Noted, { key, seq }, { tenantId });
}

/** A handler's own transaction as a tenant, which settles its job in the commit of its effects. */
import type { JobDone, JobStore } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { type SendInTransaction, TenantTransaction, type Witness } from '../tenant-transaction.ts';
import type { Lanes } from './lanes.ts';
import { settleParameters } from './settlement.ts';

export function createBegin(database: Database, lanes: Lanes): JobStore['begin'] {
  return async (epoch, tenantId) => {
    const transaction = await TenantTransaction.begin(database, tenantId);
    return {
      tx: transaction.tx,
      async commit(settlement) {
        let woken: readonly number[] = [];
        const { done, failed, released } = settlement;
        const job = done[0] ?? failed[0] ?? released[0];
        const settle = async (send: SendInTransaction) => {
          if (job) await lanes.load([job.lane]);
          const queueId = (job && lanes.get(job.lane)?.queueId) ?? 0;
          type Row = { number: string; woken: number[] | null };
          const [row] = await send<Row>(sql.settleJobs, [
            epoch,
            queueId,
            ...settleParameters(settlement),
          ]);
          woken = row?.woken ?? [];
          return row?.number ?? '';
        };
        const [completed] = done;
        await transaction.commit(settle, completed ? witnessOf(completed, epoch) : null);
        return { woken: woken.length > 0 ? await lanes.queueNames(woken) : [] };
      },
      rollback: () => transaction.rollback(),
    };
  };
}

function witnessOf({ lane, offset, claimNo }: JobDone, epoch: number): Witness {
  return [sql.jobSettled, [lane, offset, epoch, claimNo]];
}

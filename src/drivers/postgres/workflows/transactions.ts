/** A step handler's own transaction as a tenant, which stores the step's change as it commits. */
import type { CommitResult, RunTransaction, WorkflowStore } from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { type SendInTransaction, TenantTransaction } from '../tenant-transaction.ts';
import { isTakenLink } from './commit.ts';
import { type CommitRow, commitStatement, queuesOf } from './commit-parameters.ts';
import type { RunAnnouncer } from './run-announcer.ts';
import type { RunLanes } from './run-lanes.ts';

const fenced: CommitResult = { outcomes: ['fenced'], woken: [] };

export function createBegin(
  database: Database,
  announcer: RunAnnouncer,
  lanes: RunLanes,
): WorkflowStore['begin'] {
  return async (epoch, tenantId): Promise<RunTransaction> => {
    const transaction = await TenantTransaction.begin(database, tenantId);
    return {
      tx: transaction.tx,
      async commit(commit) {
        let row: CommitRow | null = null;
        const settle = async (send: SendInTransaction) => {
          const queues = queuesOf([commit]);
          if (queues.length > 0) await lanes.make(queues);
          [row = null] = await send<CommitRow>(...commitStatement(epoch, [commit], true));
          return row?.number ?? '';
        };
        try {
          await transaction.commit(settle, [sql.runLinkStored, [commit.runId, commit.seq, epoch]]);
        } catch (error) {
          if (isTakenLink(error)) return fenced;
          throw error;
        }
        const { woken, unread, told } = row as unknown as CommitRow;
        announcer.tell(told);
        return { outcomes: [unread === null ? 'stored' : 'unread'], woken: woken ?? [] };
      },
      rollback: () => transaction.rollback(),
    };
  };
}

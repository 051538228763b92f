/** A run as it is stored: what whoever takes it over begins with. */
import type { TaskState } from '../../../core/workflow/states.ts';
import type {
  LoadedRun,
  MessageKind,
  RunEnd,
  StoredMessage,
  WorkflowStore,
} from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { type RunRow, toRunInfo } from './run-row.ts';

interface LoadedRow extends RunRow {
  readonly changes: string | null;
  readonly messages: string | null;
  readonly end_state: RunEnd['state'] | null;
  readonly end_result: string | null;
  readonly end_error: string | null;
  readonly ended_at: number | null;
  readonly rest_state: TaskState | null;
  readonly wake_at: number | null;
}

type MessageRow = [
  no: number,
  messageId: string,
  kind: MessageKind,
  name: string,
  payload: string,
  sentAt: number,
];

export function createLoading(database: Database): Pick<WorkflowStore, 'load' | 'messages'> {
  return {
    async load(runId, afterSeq = 0) {
      const [row] = await database.records<LoadedRow>(sql.loadRun, [runId, afterSeq]);
      return row ? toLoadedRun(row) : null;
    },
    async messages(runId, after) {
      const rows = await database.rows<MessageRow>(sql.runMessages, [runId, after]);
      return rows.map((row) => toMessage(runId, row));
    },
  };
}

function toLoadedRun(row: LoadedRow): LoadedRun {
  const messages = row.messages === null ? [] : (JSON.parse(row.messages) as MessageRow[]);
  return {
    info: toRunInfo(row),
    changes: row.changes === null ? [] : (JSON.parse(row.changes) as string[]),
    messages: messages.map((message) => toMessage(row.run_id, message)),
    end:
      row.end_state === null
        ? null
        : {
            state: row.end_state,
            resultJson: row.end_result,
            error: row.end_error === null ? null : JSON.parse(row.end_error),
            endedAt: Math.round(row.ended_at as number),
          },
    rest:
      row.rest_state === null
        ? null
        : {
            state: row.rest_state,
            wakeAt: row.wake_at === null ? null : Math.round(row.wake_at),
          },
  };
}

function toMessage(
  runId: string,
  [no, messageId, kind, name, payloadJson, sentAt]: MessageRow,
): StoredMessage {
  return { runId, messageId, kind, name, payloadJson, no, sentAt: Math.round(sentAt) };
}

/** Runs as they are started, by a process that will hold them or for their queue. */

import { MillraceError } from '../../../core/errors.ts';
import type { NewRun, StartResult, WorkflowStore } from '../../../ports/workflows.ts';
import { type Database, translate } from '../connection.ts';
import { sql } from '../statements.ts';
import type { RunLanes } from './run-lanes.ts';

interface StartRow {
  /** Place of a run that was not stored → the run that has its id or its identity. */
  readonly known: string | null;
  readonly woken: string[] | null;
}

const nothing = { results: [], woken: [] } as const;

export function createStart(database: Database, lanes: RunLanes): WorkflowStore['start'] {
  return async (runs, { epoch, again, tx }) => {
    if (runs.length === 0) return nothing;
    checkHeld(runs, epoch, tx !== undefined);
    await lanes.make(runs);
    const values = [JSON.stringify(runs), tx ? null : epoch];
    const [row] = tx
      ? await tx.query<StartRow>(sql.startRuns.text, values).catch((error) => {
          throw translate(error);
        })
      : await database.records<StartRow>(sql.startRuns, values);
    const { known, woken } = row as StartRow;
    return { results: resultsOf(runs, known, again), woken: woken ?? [] };
  };
}

function checkHeld(runs: readonly NewRun[], epoch: number | null, inTransaction: boolean): void {
  if (epoch !== null && !inTransaction) return;
  const held = runs.find((run) => run.held);
  if (held === undefined) return;
  throw new MillraceError(
    'REQUEST_INVALID',
    inTransaction
      ? `Run ${held.runId} cannot be held: it does not exist before the transaction commits.`
      : `Run ${held.runId} cannot be held without an epoch.`,
    { fix: 'Start it with held: false.' },
  );
}

function resultsOf(
  runs: readonly NewRun[],
  known: string | Readonly<Record<string, string>> | null,
  again: boolean,
): readonly StartResult[] {
  if (known === null) return runs.map(({ runId }) => ({ runId, duplicate: false }));
  // A caller's own client may parse json.
  const there = typeof known === 'string' ? (JSON.parse(known) as Record<string, string>) : known;
  return runs.map(({ runId }, i) => {
    const other = there[String(i + 1)];
    if (other === undefined) return { runId, duplicate: false };
    return { runId: other, duplicate: !(again && other === runId) };
  });
}

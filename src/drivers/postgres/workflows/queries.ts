/**
 * Looking at runs on Postgres. The state of a run is that of the last link of its history; pages go
 * by run id, which is by the time it was started.
 *
 * Invariant: a page costs a bounded number of rows. A filter that few runs fit gives up after
 * `scanMax` of them: such a page is short, and `next` goes on.
 */
import { isUuid, uuidv7Floor } from '../../../core/ids.ts';
import { type TaskState, taskStates } from '../../../core/workflow/states.ts';
import type { RunFilter, WorkflowQueries } from '../../../ports/workflow-queries.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { createInvestigations } from './investigations.ts';
import { checkCursor, checkLimit, greatestId, invalid, leastId } from './page-rules.ts';
import { type RunRow, toSummary } from './summaries.ts';

const stretchFirst = 500;
const stretchRows = 5_000;
const scanMax = 50_000;
/** Runs looked at for ids that end with a text. */
const endingsMax = 100_000;
/** Ids carry the clock of whoever made them; the store's may differ by less than that. */
const skewMs = 86_400_000;
/** Of the session lock that keeps sweeps apart: nothing else has its class. */
const aloneLock = [7321, 1] as const;

export function createWorkflowQueries(database: Database): WorkflowQueries {
  const { rows } = database;
  const find = async (runIds: readonly string[]) => {
    const ids = runIds.filter(isUuid);
    return ids.length === 0 ? [] : (await rows<RunRow>(sql.runFind, [ids])).map(toSummary);
  };
  return {
    find,
    async match(text, { tenantId = null, limit }) {
      const wanted = text.toLowerCase();
      const [least, greatest] = rangeOf(wanted);
      const values = [least, greatest, wanted, tenantId, endingsMax, limit];
      return (await rows<[string]>(sql.runMatch, values)).map(([runId]) => runId);
    },
    async list(filter, page) {
      const { ids, next } = await listIds(database, filter, page);
      const wanted = filter.states;
      // A run may have gone on since its id was found.
      const runs = (await find(ids)).filter(({ state }) => !wanted || wanted.includes(state));
      return { runs, next };
    },
    async counts(filter) {
      const found = await rows<[number, number]>(sql.runCounts, filterParameters(filter));
      return new Map(found.map(([place, count]) => [taskStates[place] as TaskState, count]));
    },
    async history(runId) {
      if (!isUuid(runId)) return [];
      const found = await rows<[number, string]>(sql.runHistory, [runId]);
      return found.map(([seq, changeJson]) => ({ seq, changeJson }));
    },
    async stale(limits, limit, after = null) {
      const json = limits.map(({ states, olderThanMs, of = 'state' }) => ({
        states: states.map((state) => taskStates.indexOf(state)),
        ms: olderThanMs,
        of,
      }));
      const values = [JSON.stringify(json), after === null ? leastId : checkCursor(after), limit];
      return find((await rows<[string]>(sql.runStale, values)).map(([runId]) => runId));
    },
    alone: (work) => workAlone(database, work),
    ...createInvestigations(database),
  };
}

async function workAlone<T>(database: Database, work: () => Promise<T>): Promise<T | null> {
  const held = await database.hold();
  let broken = true;
  try {
    const text = 'select pg_try_advisory_lock($1, $2) as locked';
    const answer = await held.client.query<{ locked: boolean }>(text, [...aloneLock]);
    if (answer.rows[0]?.locked !== true) {
      broken = false;
      return null;
    }
    try {
      return await work();
    } finally {
      await held.client.query('select pg_advisory_unlock($1, $2)', [...aloneLock]);
      broken = false;
    }
  } finally {
    // A connection that may still have the lock is closed.
    held.release(broken);
  }
}

async function listIds(
  { rows }: Database,
  filter: RunFilter,
  { limit, after }: { readonly limit: number; readonly after: string | null },
): Promise<{ ids: readonly string[]; next: string | null }> {
  checkLimit(limit);
  const parameters = filterParameters(filter);
  const least = leastOf(filter);
  const ids: string[] = [];
  let below = after === null ? highestOf(filter) : checkCursor(after);
  let stretch = Math.max(stretchFirst, limit + 1);
  for (let scanned = 0; scanned < scanMax; ) {
    // Without a name: planned for these parameters, so that filters not given cost nothing.
    const [found] = await rows<[string[], string | null, number]>({ text: sql.runList.text }, [
      ...parameters,
      below,
      least,
      stretch,
      limit + 1 - ids.length,
    ]);
    const [fitting, last, looked] = found ?? [[], null, 0];
    ids.push(...fitting);
    if (ids.length > limit) return { ids: ids.slice(0, limit), next: ids[limit - 1] ?? null };
    if (looked < stretch || last === null) return { ids, next: null };
    scanned += looked;
    below = last;
    stretch = Math.max(stretchRows, limit + 1);
  }
  return { ids, next: below };
}

/** Parameters 1 to 8 of run-list.sql. */
function filterParameters(filter: RunFilter): unknown[] {
  const { tenantId, namespace, name, states, correlationId, parentRunId } = filter;
  if (parentRunId !== undefined && !isUuid(parentRunId)) {
    throw invalid(`'${parentRunId}' is no id of a run.`);
  }
  return [
    tenantId ?? null,
    namespace ?? null,
    name ?? null,
    states?.map((state) => taskStates.indexOf(state)) ?? null,
    correlationId ?? null,
    parentRunId ?? null,
    filter.startedAfter ?? null,
    filter.startedBefore ?? null,
  ];
}

/** No run that fits has a smaller id: ids begin with the time, and children follow their parent. */
function leastOf({ startedAfter, parentRunId }: RunFilter): string {
  const times = [
    ...(startedAfter === undefined ? [] : [startedAfter]),
    ...(parentRunId === undefined || parentRunId[14] !== '7'
      ? []
      : [Number.parseInt(parentRunId.slice(0, 8) + parentRunId.slice(9, 13), 16)]),
  ];
  if (times.length === 0) return leastId;
  return uuidv7Floor(Math.max(0, Math.max(...times) - skewMs));
}

function highestOf({ startedBefore }: RunFilter): string {
  return startedBefore === undefined
    ? greatestId
    : uuidv7Floor(Math.max(0, startedBefore) + skewMs);
}

/** Least and greatest id that begins with the text; nulls when none can. */
function rangeOf(text: string): readonly [string | null, string | null] {
  const [least, greatest] = [leastId, greatestId].map((id) => text + id.slice(text.length));
  return isUuid(least) && isUuid(greatest) ? [least, greatest] : [null, null];
}

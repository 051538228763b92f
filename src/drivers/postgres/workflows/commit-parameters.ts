/**
 * Commits as parameters of commit_runs: links and ends as binary arrays, what few commits have as
 * JSON. Called for every commit, so the usual case (a link and nothing else) builds no object more.
 */
import { type TaskState, taskStates } from '../../../core/workflow/states.ts';
import type { RunCommit } from '../../../ports/workflows.ts';
import { ArrayWriter, intArray, oid, textArray } from '../array-writer.ts';
import type { Statement } from '../connection.ts';
import { eventColumns } from '../event-columns.ts';
import { sql } from '../statements.ts';
import type { QueuedIn } from './run-lanes.ts';

export interface CommitRow {
  readonly number: string | null;
  readonly woken: string[] | null;
  /** Runs that do not rest although they wanted to. */
  readonly unread: string[] | null;
  /** Runs that got a message and may be held. */
  readonly told: string[] | null;
}

const int2 = 21;
const places = new Map<TaskState, number>(taskStates.map((state, place) => [state, place]));

/** Run, seq, state and change of each commit. */
export function linkParameters(commits: readonly RunCommit[]): readonly Buffer[] {
  const states = new ArrayWriter(int2, commits.length, 6);
  const changes = new ArrayWriter(oid.text, commits.length, 300);
  for (const { state, changeJson } of commits) {
    states.int(2);
    states.at = states.bytes.writeInt16BE(places.get(state) as number, states.at);
    changes.text(changeJson);
  }
  const seqs = intArray(commits.map(({ seq }) => seq));
  return [uuidArray(commits), seqs, states.done(), changes.done()];
}

function uuidArray(commits: readonly RunCommit[]): Buffer {
  const writer = new ArrayWriter(oid.uuid, commits.length, 20);
  for (const { runId } of commits) writer.uuid(runId);
  return writer.done();
}

const noEnds = [null, null, null, null] as const;

/** The statement for these commits, and its values. */
export function commitStatement(
  epoch: number,
  commits: readonly RunCommit[],
  strict: boolean,
): readonly [Statement, readonly unknown[]] {
  const values = commitParameters(epoch, commits, strict);
  let published = false;
  for (const { events } of commits) published ||= some(events);
  if (!published) return [sql.commitRuns, values];
  const events = commits.flatMap((commit) => commit.events ?? []);
  const partitions = intArray(events.map(({ partition }) => partition));
  return [sql.commitRunsWithEvents, [...values, partitions, ...eventColumns(events)]];
}

function commitParameters(
  epoch: number,
  commits: readonly RunCommit[],
  strict: boolean,
): readonly unknown[] {
  const ends: RunCommit[] = [];
  const rests: RunCommit[] = [];
  let effects = false;
  for (const commit of commits) {
    if (commit.end) ends.push(commit);
    if (commit.rest) rests.push(commit);
    effects ||= hasEffects(commit);
  }
  return [
    epoch,
    ...linkParameters(commits),
    ...(ends.length === 0 ? noEnds : endParameters(ends)),
    rests.length === 0 ? null : JSON.stringify(rests.map(printRest)),
    effects ? printEffects(commits) : null,
    strict,
  ];
}

function endParameters(commits: readonly RunCommit[]): readonly Buffer[] {
  return [
    uuidArray(commits),
    textArray(
      oid.text,
      commits.map(({ end }) => end?.state ?? null),
      12,
    ),
    textArray(
      oid.json,
      commits.map(({ end }) => end?.resultJson ?? null),
      100,
    ),
    textArray(
      oid.json,
      commits.map(({ end }) => (end?.error ? JSON.stringify(end.error) : null)),
      100,
    ),
  ];
}

function printRest({ runId, rest }: RunCommit): unknown {
  return { run: runId, state: rest?.state, wakeAt: rest?.wakeAt ?? null, read: rest?.read };
}

function hasEffects({ starts, messages, jobs, waits, unwait }: RunCommit): boolean {
  return some(starts) || some(messages) || some(jobs) || some(waits) || some(unwait);
}

function some(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}

/** What all commits start, send, enqueue and wait for, in their order. */
function printEffects(commits: readonly RunCommit[]): string {
  const starts = commits.flatMap(({ starts = [] }) => starts);
  const messages = commits.flatMap(({ tenantId, messages = [] }) =>
    messages.map((message) => ({ ...message, tenantId })),
  );
  const jobs = commits.flatMap(({ jobs = [] }) => jobs);
  const waits = commits.flatMap(({ runId, tenantId, waits = [] }) =>
    waits.map((wait) => ({ ...wait, runId, tenantId })),
  );
  const unwaits = commits.flatMap(({ runId, unwait = [] }) =>
    unwait.map((step) => ({ runId, step })),
  );
  const members = Object.entries({ starts, messages, jobs, waits, unwaits });
  return JSON.stringify(Object.fromEntries(members.filter(([, list]) => list.length > 0)));
}

/** Queues that jobs and runs of these commits go to. */
export function queuesOf(commits: readonly RunCommit[]): readonly QueuedIn[] {
  const queues: QueuedIn[] = [];
  for (const { starts, jobs } of commits) {
    if (starts) queues.push(...starts);
    if (jobs) queues.push(...jobs);
  }
  return queues;
}

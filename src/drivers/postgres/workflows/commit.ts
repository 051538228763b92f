/**
 * Commits of runs: one statement for all of a request, which stores everything or raises. What
 * raised is looked up then: links that somebody else added are fenced, and the rest is sent again.
 * So the usual case asks nothing before it inserts.
 */
import { isMillraceError } from '../../../core/errors.ts';
import type {
  CommitOutcome,
  CommitRequest,
  RunCommit,
  WorkflowStore,
} from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { type CommitRow, commitStatement, linkParameters, queuesOf } from './commit-parameters.ts';
import type { RunAnnouncer } from './run-announcer.ts';
import type { RunLanes } from './run-lanes.ts';

/** Each but the last finds a link of somebody else, or a deadlock, which order makes unlikely. */
const triesMax = 20;

export function createCommit(
  database: Database,
  announcer: RunAnnouncer,
  lanes: RunLanes,
): WorkflowStore['commit'] {
  return async (request) => {
    const { epoch, commits, again } = request;
    const outcomes = new Map<RunCommit, CommitOutcome>();
    const queues = queuesOf(commits);
    if (queues.length > 0) await lanes.make(queues);
    let left = commits;
    if (again) left = await withoutKnown(database, request, left, outcomes);
    for (let tries = 1; left.length > 0; tries += 1) {
      try {
        const [row] = await database.records<CommitRow>(...commitStatement(epoch, left, false));
        const { woken, unread, told } = row as CommitRow;
        announcer.tell(told);
        const open = new Set(unread);
        for (const commit of left) {
          const rests = commit.rest !== undefined && open.has(commit.runId);
          outcomes.set(commit, rests ? 'unread' : 'stored');
        }
        return { outcomes: inOrder(commits, outcomes), woken: woken ?? [] };
      } catch (error) {
        if (tries > triesMax || !(isTakenLink(error) || isDeadlock(error))) throw error;
        left = await withoutKnown(database, request, left, outcomes);
      }
    }
    return { outcomes: inOrder(commits, outcomes), woken: [] };
  };
}

function inOrder(
  commits: readonly RunCommit[],
  outcomes: ReadonlyMap<RunCommit, CommitOutcome>,
): readonly CommitOutcome[] {
  return commits.map((commit) => outcomes.get(commit) as CommitOutcome);
}

/** Somebody added the same link, and has committed it. */
export function isTakenLink(error: unknown): boolean {
  const { code, constraint } = error as { code?: string; constraint?: string };
  return code === '23505' && constraint === 'workflow_history_pkey';
}

/** Two holders of the same runs wait for each other's links; the server has undone ours. */
function isDeadlock(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'STORE_CONFLICT';
}

/**
 * The commits whose links are not there yet. With one link all those of its run are fenced; a link
 * of our own, from a try whose answer was lost, was stored with all that went along with it.
 * Sorted, so that two who repeat theirs wait in the same order.
 */
async function withoutKnown(
  database: Database,
  { epoch, again }: CommitRequest,
  commits: readonly RunCommit[],
  outcomes: Map<RunCommit, CommitOutcome>,
): Promise<readonly RunCommit[]> {
  const [runs, seqs, , changes] = linkParameters(commits);
  const rows = await database.rows<[n: number, own: boolean, rested: boolean]>(sql.knownLinks, [
    runs,
    seqs,
    epoch,
    changes,
  ]);
  const known = new Map(
    rows.map(([n, own, rested]) => [commits[n - 1] as RunCommit, { own, rested }]),
  );
  const fenced = new Set<string>();
  for (const [commit, { own }] of known) if (!(own && again)) fenced.add(commit.runId);
  const left: RunCommit[] = [];
  for (const commit of commits) {
    const link = known.get(commit);
    if (fenced.has(commit.runId)) outcomes.set(commit, 'fenced');
    else if (!link) left.push(commit);
    else outcomes.set(commit, commit.rest !== undefined && !link.rested ? 'unread' : 'stored');
  }
  return left.sort((a, b) => (a.runId < b.runId ? -1 : a.runId > b.runId ? 1 : a.seq - b.seq));
}

/**
 * The hot call: settle, enqueue and claim in one statement and one commit. What this call enqueues
 * and claims itself is handed back from memory; the server does not send it.
 */
import { MillraceError } from '../../../core/errors.ts';
import type {
  ClaimedJob,
  ClaimRequest,
  Exchange,
  ExchangeResult,
  JobRef,
  NewJob,
} from '../../../ports/jobs.ts';
import { bigintArray, intArray, oid, textArray } from '../array-writer.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import type { Lane, Lanes } from './lanes.ts';
import { settleParameters } from './settlement.ts';

/** Looking at a lane takes the server about 10 µs, whether it gives jobs or not. */
const claimLanesMax = 64;

const nobody: readonly string[] = [];

/** Jobs sorted by lane, with what exchange_jobs needs to cut them up. */
interface LaneBatch {
  readonly jobs: readonly NewJob[];
  readonly lanes: readonly Lane[];
  readonly counts: readonly number[];
  /** Index in the caller's order of each sorted job; null when the order is the same. */
  readonly order: readonly number[] | null;
}

interface Meta {
  readonly first: readonly number[];
  readonly lanes: readonly number[] | null;
  readonly tos?: readonly number[];
  readonly left: readonly number[] | null;
  readonly limited?: number | null;
  readonly due?: number | null;
  readonly paused: boolean;
  readonly woken?: readonly number[] | null;
  /** Jobs were enqueued whose parents nobody has counted yet. */
  readonly uncounted?: boolean;
}

type JobRow = [
  lane: number | null,
  offset: number,
  name: string,
  version: number,
  payload: string,
  options: string | null,
  enqueuedMs: number,
  failures: number | null,
  crashes: number | null,
  key: string | null,
  priority: number | null,
];

export function createExchange(database: Database, lanes: Lanes) {
  /** Heads known before the first try of an enqueue whose answer was lost. */
  const knownHeads = new Map<string, readonly number[]>();

  /** Claims by queue: an epoch numbers its claims over all of its queues, and skips some here. */
  const turns = new Map<number, number>();

  /** Epoch and queue of workers that are known to work on it. */
  const joined = new Set<string>();

  return async function exchange(request: Exchange): Promise<ExchangeResult> {
    const { claim, enqueue, again, enqueueId, epoch, settle } = request;
    const batch = byLane(enqueue, lanes.known(enqueue) ?? (await lanes.of(enqueue)));
    if (claim) await lanes.load(claim.lanes);
    const queueId = await lanes.queueId(request.queue);
    const heads = again
      ? (knownHeads.get(enqueueId) ?? batch.lanes.map(() => 0))
      : batch.lanes.map(({ head }) => head);
    if (claim && !joined.has(`${epoch} ${request.queue}`)) {
      await database.rows(sql.joinQueue, [epoch, request.queue]);
      joined.add(`${epoch} ${request.queue}`);
    }
    const named = claim ? [...claim.lanes, ...batch.lanes.map(({ lane }) => lane)] : [];
    const turn = turns.get(queueId) ?? 0;
    if (claim) turns.set(queueId, turn + 1);
    const wanted = urgentFirst(lanesOf(queueId, named, lanes), turn);
    const enqueuedAt = Date.now();
    let rows: JobRow[];
    try {
      rows = await database.rows<JobRow>(sql.exchangeJobs, [
        queueId,
        epoch,
        again,
        ...settleParameters(settle),
        ...enqueueParameters(batch, heads, enqueueId),
        ...claimParameters(claim, wanted.slice(0, claimLanesMax)),
      ]);
    } catch (error) {
      if (error instanceof MillraceError && error.code === 'STORE_UNAVAILABLE') {
        knownHeads.set(enqueueId, heads);
      }
      throw error;
    }
    knownHeads.delete(enqueueId);
    const meta = JSON.parse((rows[0] as JobRow)[4]) as Meta;
    if (meta.uncounted) await database.rows(sql.countParents);
    const enqueued = place(batch, meta.first);
    if (claim) await lanes.load(rows.slice(1).map(([lane]) => lane as number));
    return {
      enqueued,
      claimed: claim ? claimed(rows, meta, batch, lanes, claim.claimNo, enqueuedAt) : [],
      lanesLeft: [...(meta.left ?? []), ...wanted.slice(claimLanesMax).map(({ lane }) => lane)],
      nextDueMs: meta.uncounted ? 0 : (meta.due ?? null),
      limitedMs: meta.limited ?? null,
      paused: meta.paused,
      woken: meta.woken ? await lanes.queueNames(meta.woken) : nobody,
    };
  };
}

function claimParameters(claim: ClaimRequest | null, lanes: readonly Lane[]): unknown[] {
  if (claim === null) return [null, null, null, null, null];
  return [
    claim.claimNo,
    claim.max,
    intArray(lanes.map(({ lane }) => lane)),
    intArray(lanes.map(({ priority }) => priority)),
    claim.suspects,
  ];
}

function enqueueParameters(batch: LaneBatch, heads: readonly number[], id: string): unknown[] {
  const { jobs } = batch;
  if (jobs.length === 0) return [null, null, null, null, null, null, null, null];
  const options = jobs.some(({ optionsJson }) => optionsJson !== null)
    ? jobs.map(({ optionsJson }) => optionsJson)
    : [];
  return [
    intArray(batch.lanes.map(({ lane }) => lane)),
    intArray(batch.counts),
    bigintArray(heads),
    textArray(
      oid.text,
      jobs.map(({ name }) => name),
      24,
    ),
    intArray(jobs.map(({ version }) => version)),
    textArray(
      oid.json,
      jobs.map(({ payloadJson }) => payloadJson),
      256,
    ),
    // unnest pads shorter arrays with nulls.
    textArray(oid.json, options, 64),
    id,
  ];
}

/** Ascending lanes: two appenders can then never wait for each other in a circle. */
function byLane(jobs: readonly NewJob[], laneOf: readonly Lane[]): LaneBatch {
  const first = laneOf[0];
  if (first === undefined) return { jobs, lanes: [], counts: [], order: null };
  if (laneOf.every((lane) => lane === first)) {
    return { jobs, lanes: [first], counts: [jobs.length], order: null };
  }
  const at = (i: number) => laneOf[i] as Lane;
  const order = jobs.map((_, i) => i).sort((a, b) => at(a).lane - at(b).lane || a - b);
  const counts = new Map<Lane, number>();
  for (const i of order) counts.set(at(i), (counts.get(at(i)) ?? 0) + 1);
  return {
    jobs: order.map((i) => jobs[i] as NewJob),
    lanes: [...counts.keys()],
    counts: [...counts.values()],
    order,
  };
}

/** References in the caller's order, and the heads moved on. */
function place(batch: LaneBatch, first: readonly number[]): JobRef[] {
  const refs = new Array<JobRef>(batch.jobs.length);
  let i = 0;
  for (const [n, lane] of batch.lanes.entries()) {
    const from = first[n] as number;
    const count = batch.counts[n] as number;
    for (let k = 0; k < count; k += 1, i += 1) {
      refs[batch.order?.[i] ?? i] = { lane: lane.lane, offset: from + k };
    }
    lane.head = Math.max(lane.head, from + count - 1);
  }
  return refs;
}

/** Each once, and none of another queue: a hint may be wrong. */
function lanesOf(queueId: number, ids: readonly number[], lanes: Lanes): Lane[] {
  const found = [...new Set(ids)].map((id) => lanes.get(id));
  return found.filter((lane) => lane !== undefined && lane.queueId === queueId) as Lane[];
}

/** Groups of one priority together; within a group each claim begins with another lane. */
function urgentFirst(known: Lane[], turn: number): Lane[] {
  if (known.length < 2) return known;
  known.sort((a, b) => a.priority - b.priority || a.lane - b.lane);
  const sorted: Lane[] = [];
  for (let from = 0; from < known.length; ) {
    let to = from;
    while (known[to]?.priority === known[from]?.priority) to += 1;
    const start = from + (turn % (to - from));
    sorted.push(...known.slice(start, to), ...known.slice(from, start));
    from = to;
  }
  return sorted;
}

function claimed(
  answer: readonly JobRow[],
  meta: Meta,
  batch: LaneBatch,
  lanes: Lanes,
  claimNo: number,
  enqueuedAt: number,
): ClaimedJob[] {
  const jobs: ClaimedJob[] = [];
  for (let i = 1; i < answer.length; i += 1) {
    jobs.push(fromRow(answer[i] as JobRow, lanes, claimNo));
  }
  let from = 0;
  for (const [n, lane] of batch.lanes.entries()) {
    const count = batch.counts[n] as number;
    const first = meta.first[n] as number;
    const to = meta.tos?.[meta.lanes?.indexOf(lane.lane) ?? -1] ?? 0;
    const last = Math.min(to, first + count - 1);
    for (let offset = first; offset <= last; offset += 1) {
      const job = batch.jobs[from + offset - first] as NewJob;
      jobs.push(fromOwn(job, lane, offset, claimNo, enqueuedAt));
    }
    from += count;
  }
  const rows = (jobs[0]?.exceptional ?? false) && (meta.lanes?.length ?? 0) > 0;
  return rows || (meta.lanes?.length ?? 0) > 1 ? takingTurns(jobs) : jobs;
}

function fromOwn(
  job: NewJob,
  lane: Lane,
  offset: number,
  claimNo: number,
  enqueuedAt: number,
): ClaimedJob {
  return {
    lane: lane.lane,
    offset,
    queue: lane.queue,
    tenantId: lane.tenantId,
    key: lane.key,
    priority: lane.priority,
    name: job.name,
    version: job.version,
    payloadJson: job.payloadJson,
    optionsJson: job.optionsJson,
    enqueuedAt,
    failures: 0,
    crashes: 0,
    claimNo,
    exceptional: false,
  };
}

function fromRow(row: JobRow, lanes: Lanes, claimNo: number): ClaimedJob {
  const [id, offset, name, version, payloadJson, optionsJson, enqueuedAt] = row;
  const lane = lanes.get(id as number) as Lane;
  return {
    lane: lane.lane,
    offset,
    queue: lane.queue,
    tenantId: lane.tenantId,
    key: row[9] ?? lane.key,
    priority: row[10] ?? lane.priority,
    name,
    version,
    payloadJson,
    optionsJson,
    enqueuedAt,
    failures: row[7] ?? 0,
    crashes: row[8] ?? 0,
    claimNo,
    exceptional: row[7] !== null,
  };
}

/** Urgent ones first; of one priority one of each lane in turn. State rows keep their order. */
function takingTurns(jobs: ClaimedJob[]): ClaimedJob[] {
  const seen = new Map<number, number>();
  const turns = jobs.map((job) => {
    const turn = seen.get(job.lane) ?? 0;
    seen.set(job.lane, turn + 1);
    return { job, turn: job.exceptional ? -1 : turn };
  });
  return turns
    .sort((a, b) => a.job.priority - b.job.priority || a.turn - b.turn)
    .map(({ job }) => job);
}

/**
 * The hot call: one script settles, enqueues and claims. What this call enqueues and claims itself
 * is handed back from memory; the server does not send it.
 */
import type { ClaimedJob, Exchange, ExchangeResult, JobRef, NewJob } from '../../ports/jobs.ts';
import { claimWindow } from './claim-window.ts';
import type { Context } from './context.ts';
import { withLanes } from './context.ts';
import type { Epochs } from './epochs.ts';
import type { Lane } from './lanes.ts';
import { carryNews } from './news.ts';
import { chunksOf, parseRecord, splitRecords } from './records.ts';
import { refusal } from './refusals.ts';
import { scripts } from './scripts.ts';
import { settlementArguments } from './settlement.ts';

/** Jobs of one lane, and where each stood in the caller's order. */
interface Batch {
  readonly lane: Lane;
  readonly jobs: NewJob[];
  /** Null: they are all there are, in the same order. */
  readonly places: number[] | null;
}

type RowReply = [
  lane: number,
  offset: number,
  tenantId: string,
  key: string,
  priority: number,
  enqueuedAt: number,
  orderedBy: number,
  failures: number,
  crashes: number,
  record: string,
];

type Reply = [
  state: string,
  firsts: string[],
  pieces: (number | string)[],
  rows: RowReply[],
  lanesLeft: number[],
  dueMs: number,
  limitedMs: number,
  paused: number,
  news: number,
];

export function createExchange(context: Context, epochs: Epochs) {
  const { redis, keys, lanes } = context;
  /** Claims by queue. */
  const turns = new Map<string, number>();

  return async function exchange(request: Exchange): Promise<ExchangeResult> {
    const { queue, epoch, claim } = request;
    const batches = byLane(request.enqueue, await lanes.ofPlain(queue, request.enqueue));
    if (claim) await lanes.load(claim.lanes);
    const turn = turns.get(queue) ?? 0;
    if (claim) turns.set(queue, turn + 1);
    const wanted = claim ? claimWindow(claim.lanes, turn, lanes) : [];
    const base = keys.queue(queue);
    const args = argumentsOf(request, batches, wanted, context);
    const attempt = () => redis.run<Reply>(scripts.exchange, base, args);
    const used = () => batches.map(({ lane }) => lane);
    let reply = await withLanes(context, used, attempt);
    if (reply[0] === 'unknown' && epoch !== null && (await epochs.enter(epoch, queue))) {
      reply = await withLanes(context, used, attempt);
    }
    if (reply[0] !== 'ok') throw refusal(reply, { queue, epoch });
    const [, firsts, pieces, rows, lanesLeft, dueMs, limitedMs, paused, news] = reply;
    if (news === 1) await carryNews(context, queue);
    await lanes.load(pieces.filter((_, i) => i % 5 === 0) as number[]);
    return {
      enqueued: placesOf(batches, firsts, request.enqueue.length),
      claimed: claim ? claimedJobs({ pieces, rows, batches, firsts }, request, lanes) : [],
      lanesLeft: [...lanesLeft, ...notAmong(wanted, claim?.lanes ?? [])],
      nextDueMs: dueMs < 0 ? null : dueMs,
      limitedMs: limitedMs < 0 ? null : limitedMs,
      paused: paused === 1,
      woken: [], // its scripts tell by themselves
    };
  };
}

function argumentsOf(
  { epoch, enqueueId, claim, settle }: Exchange,
  batches: readonly Batch[],
  wanted: readonly number[],
  { historyMax }: Context,
): (string | number)[] {
  const args: (string | number)[] = [epoch ?? '', enqueueId, historyMax];
  args.push(claim?.claimNo ?? '', claim?.max ?? 0, claim?.suspects ? '1' : '', batches.length);
  for (const { lane, jobs } of batches) {
    const chunks = chunksOf(jobs);
    args.push(lane.lane, jobs.length, chunks.length / 2);
    for (const chunk of chunks) args.push(chunk);
  }
  args.push(wanted.length, ...wanted);
  if (settle === null) args.push('0');
  else args.push('1', ...settlementArguments(settle));
  return args;
}

/** Lanes that were asked for and not looked at. */
function notAmong(wanted: readonly number[], asked: readonly number[]): readonly number[] {
  if (wanted.length === asked.length) return [];
  const looked = new Set(wanted);
  return asked.filter((lane) => !looked.has(lane));
}

function byLane(jobs: readonly NewJob[], laneOf: readonly Lane[]): Batch[] {
  const [first] = laneOf;
  if (first === undefined) return [];
  if (laneOf.every((lane) => lane === first)) {
    return [{ lane: first, jobs: jobs as NewJob[], places: null }];
  }
  const batches = new Map<Lane, { lane: Lane; jobs: NewJob[]; places: number[] }>();
  for (const [i, lane] of laneOf.entries()) {
    const batch = batches.get(lane) ?? { lane, jobs: [], places: [] };
    batches.set(lane, batch);
    batch.jobs.push(jobs[i] as NewJob);
    batch.places.push(i);
  }
  return [...batches.values()];
}

/** References in the caller's order. */
function placesOf(batches: readonly Batch[], firsts: readonly string[], count: number): JobRef[] {
  const refs = new Array<JobRef>(count);
  for (const [n, { lane, jobs, places }] of batches.entries()) {
    const first = Number(firsts[n]);
    for (let i = 0; i < jobs.length; i += 1) {
      refs[places === null ? i : (places[i] as number)] = { lane: lane.lane, offset: first + i };
    }
  }
  return refs;
}

interface Claimed {
  readonly pieces: readonly (number | string)[];
  readonly rows: readonly RowReply[];
  readonly batches: readonly Batch[];
  readonly firsts: readonly string[];
}

/** By priority, and of one priority rows first: as the script took them. */
function claimedJobs(
  { pieces, rows, batches, firsts }: Claimed,
  { queue, claim }: Exchange,
  lanes: Context['lanes'],
): ClaimedJob[] {
  const claimNo = claim?.claimNo ?? 0;
  const jobs: ClaimedJob[] = [];
  const ordered = rows.length > 1 ? [...rows].sort(byOrder) : rows;
  let row = 0;
  for (let i = 0; i < pieces.length; i += 5) {
    const number = pieces[i] as number;
    const lane = lanes.get(number) as Lane;
    while (row < ordered.length && (ordered[row] as RowReply)[4] <= lane.priority) {
      jobs.push(fromRow(ordered[row] as RowReply, queue, claimNo));
      row += 1;
    }
    const place = { lane, from: pieces[i + 1] as number, enqueuedAt: pieces[i + 3] as number };
    const text = pieces[i + 4] as string;
    if (text !== '') {
      addRecords(jobs, splitRecords(text).map(parseRecord), { ...place, claimNo });
      continue;
    }
    const n = batches.findIndex((batch) => batch.lane.lane === number);
    const start = place.from - Number(firsts[n]);
    const own = (batches[n] as Batch).jobs.slice(start, start + (pieces[i + 2] as number));
    addRecords(jobs, own, { ...place, claimNo });
  }
  for (; row < ordered.length; row += 1) {
    jobs.push(fromRow(ordered[row] as RowReply, queue, claimNo));
  }
  return jobs;
}

type Record = Pick<NewJob, 'name' | 'version' | 'payloadJson' | 'optionsJson'>;

function addRecords(
  jobs: ClaimedJob[],
  records: readonly Record[],
  at: { lane: Lane; from: number; enqueuedAt: number; claimNo: number },
): void {
  const { lane, from, enqueuedAt, claimNo } = at;
  for (let i = 0; i < records.length; i += 1) {
    const { name, version, payloadJson, optionsJson } = records[i] as Record;
    jobs.push({
      lane: lane.lane,
      offset: from + i,
      queue: lane.queue,
      tenantId: lane.tenantId,
      key: lane.key,
      priority: lane.priority,
      name,
      version,
      payloadJson,
      optionsJson,
      enqueuedAt,
      failures: 0,
      crashes: 0,
      claimNo,
      exceptional: false,
    });
  }
}

/** The server's order of rows. */
function byOrder(a: RowReply, b: RowReply): number {
  return a[4] - b[4] || a[6] - b[6] || a[0] - b[0] || a[1] - b[1];
}

function fromRow(row: RowReply, queue: string, claimNo: number): ClaimedJob {
  const [lane, offset, tenantId, key, priority, enqueuedAt, , failures, crashes, record] = row;
  return {
    lane,
    offset,
    queue,
    tenantId,
    key,
    priority,
    ...parseRecord(record),
    enqueuedAt,
    failures,
    crashes,
    claimNo,
    exceptional: true,
  };
}

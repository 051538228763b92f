/**
 * Compares what the producer of jobs was promised with the effects of their handlers, in the table
 * and in the files, and with what the store has noted about them.
 */
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import type { Jobs } from 'millrace';
import { eventually } from './eventually.ts';
import { allowedMs, type Verdict } from './ledger.ts';
import { createEffects } from './pipeline.ts';
import type { Producer } from './producer.ts';
import type { Reached } from './recoveries.ts';
import type { FaultServer } from './server.ts';

const stages = new Set(['kept', 'noted']);

interface Effect {
  readonly stage: string;
  readonly key: string;
  readonly seq: number;
}

export class JobEffects {
  readonly #server: FaultServer | null;
  /** Where workers note the effects outside of transactions. */
  readonly directory: string;

  private constructor(server: FaultServer | null, directory: string) {
    this.#server = server;
    this.directory = directory;
  }

  /** After the first connect, which makes the roles. Without a server there are files only. */
  static async create(server: FaultServer | null): Promise<JobEffects> {
    if (server) await createEffects(server);
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-effects-'));
    return new JobEffects(server, directory);
  }

  async read(): Promise<readonly Effect[]> {
    const rows = this.#server?.rows<Effect>('select stage, key, seq from effect');
    const effects = (await rows) ?? [];
    for (const file of await fs.readdir(this.directory)) {
      const text = await fs.readFile(path.join(this.directory, file), 'utf8');
      for (const line of text.split('\n').slice(0, -1)) {
        const [stage, key, seq] = line.split(' ') as [string, string, string];
        effects.push({ stage, key, seq: Number(seq) });
      }
    }
    return effects;
  }

  /** Those of the producer's jobs. */
  async orders(): Promise<readonly Effect[]> {
    return (await this.read()).filter(({ stage }) => stages.has(stage));
  }

  /** By key the last seq before the first one without an effect. */
  readonly reached: Reached = async () => {
    const done = Map.groupBy(await this.orders(), ({ key }) => key);
    return new Map([...done].map(([key, effects]) => [key, gapless(effects)]));
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await fs.rm(this.directory, { recursive: true, force: true });
  }
}

function gapless(effects: readonly Effect[]): number {
  const seqs = new Set(effects.map(({ seq }) => seq));
  let last = 0;
  while (seqs.has(last + 1)) last += 1;
  return last;
}

/** Waits until no job is left to do; what is left then is `stuck`. */
export async function drainJobs(jobs: Jobs, withinMs: number): Promise<void> {
  const drained = async () => (await unfinished(jobs)) === 0;
  await eventually('all jobs are done', allowedMs(withinMs), drained, 100).catch(() => {});
}

/**
 * Without a server nobody says which job was interrupted: only that `interruptions` were.
 * `handsBack`: jobs that wait again were not started.
 */
export async function judgeJobs(
  jobs: Jobs,
  server: FaultServer | null,
  effects: JobEffects,
  producer: Producer,
  { interruptions = 0, handsBack = false } = {},
): Promise<Omit<Verdict, 'outOfOrder' | 'holes'>> {
  const counts = new Map<string, number>();
  const done = await effects.orders();
  for (const { key, seq } of done) {
    counts.set(`${key} ${seq}`, (counts.get(`${key} ${seq}`) ?? 0) + 1);
  }
  const mayRepeat = server ? await interrupted(server, handsBack) : new Set<string>();
  let [lost, recovered, duplicated, unexpected] = [0, 0, 0, 0];
  for (const { key, seq } of done) if (seq > (producer.wanted.get(key) ?? 0)) unexpected += 1;
  for (const [key, wanted] of producer.wanted) {
    for (let seq = 1; seq <= wanted; seq += 1) {
      const id = `${key} ${seq}`;
      const acknowledged = producer.acknowledged.get(key)?.has(seq) ?? false;
      const handled = counts.get(id) ?? 0;
      if (acknowledged && handled === 0) lost += 1;
      if (!acknowledged && handled > 0) recovered += 1;
      if (handled > 1 && !mayRepeat.has(id)) duplicated += handled - 1;
    }
  }
  const stuck = await unfinished(jobs);
  if (!server) duplicated = Math.max(0, duplicated - interruptions);
  const staleAccepted = server ? await settledWrongly(server) : 0;
  return { lost, recovered, unexpected, duplicated, staleAccepted, stuck };
}

/**
 * Jobs outside of transactions that had to run again: a try failed, a worker died with them, or was
 * cut off so that they were claimed anew, which counts no crash where all were cut off.
 */
async function interrupted(server: FaultServer, handsBack: boolean): Promise<ReadonlySet<string>> {
  const rows = await server.rows<{ id: string }>(
    `select (j.payload ->> 'key') || ' ' || (j.payload ->> 'seq') as id
      from millrace.job j join millrace.job_state s using (lane_id, "offset")
      where j.name = 'noted' and (s.crashes + s.failures > 0 or s.claim_no is not null and not $1)`,
    [handsBack],
  );
  return new Set(rows.map(({ id }) => id));
}

export async function unfinished(jobs: Jobs): Promise<number> {
  let count = 0;
  for (const counts of (await jobs.counts()).values()) {
    const { waiting, running, delayed, retrying, blocked } = counts;
    count += waiting + running + delayed + retrying + blocked;
  }
  return count;
}

/** What the store says about jobs that are not done, for whoever has to find out why. */
export async function describeStuck(server: FaultServer): Promise<string> {
  const [row] = await server.rows<{ stuck: unknown }>(
    `select json_build_object(
      'now', clock_timestamp(),
      'workers', (select json_agg(w) from millrace.job_worker w),
      'rows', (select json_agg(r) from (
        select name, status, epoch, failures, crashes, count(*), min(run_at) as run_at,
          max(error ->> 'message') as error
        from millrace.job_state where status not in ('completed', 'cancelled')
        group by 1, 2, 3, 4, 5) r),
      'lanes', (select json_agg(l) from (
        select l.lane_id, l.tenant_id,
          (select max("offset") from millrace.job j where j.lane_id = l.lane_id) as head,
          (select max(to_offset) from millrace.job_claim c where c.lane_id = l.lane_id) as claimed,
          (select sum(last_offset - first_offset + 1) from millrace.job_ack a
            where a.lane_id = l.lane_id) as acked
        from millrace.job_lane l where l.by_range) l),
      'open', (select json_agg(o) from (
        select c.epoch, c.claim_no, count(*) from millrace.job_claim c
        join millrace.job j on j.lane_id = c.lane_id
          and j."offset" between c.from_offset and c.to_offset
        where not exists (select from millrace.job_ack a where a.lane_id = c.lane_id
            and j."offset" between a.first_offset and a.last_offset)
          and not exists (select from millrace.job_state s where s.lane_id = c.lane_id
            and s."offset" = j."offset")
        group by 1, 2) o)) as stuck`,
  );
  return JSON.stringify(row?.stuck, null, 1);
}

/** Where the jobs of the producer stand that have no effect: dead, quarantined, or as if done. */
export async function describeLost(
  server: FaultServer,
  effects: JobEffects,
  producer: Producer,
): Promise<string> {
  const done = new Set((await effects.orders()).map(({ key, seq }) => `${key} ${seq}`));
  const ids = [...producer.acknowledged].flatMap(([key, seqs]) =>
    [...seqs].map((seq) => `${key} ${seq}`).filter((id) => !done.has(id)),
  );
  const rows = await server.rows(
    `select j.name, j.lane_id, j."offset", x.id, row_to_json(s) as state, (
        select json_agg(c) from millrace.job_claim c where c.lane_id = j.lane_id
        and j."offset" between c.from_offset and c.to_offset) as claims, (
        select json_agg(a) from millrace.job_ack a where a.lane_id = j.lane_id
        and j."offset" between a.first_offset and a.last_offset) as acks
      from unnest($1::text[]) as x(id)
      left join millrace.job j on (j.payload ->> 'key') || ' ' || (j.payload ->> 'seq') = x.id
      left join millrace.job_state s on s.lane_id = j.lane_id and s."offset" = j."offset"`,
    [ids],
  );
  return JSON.stringify(rows, null, 1);
}

/** Settled twice, or by an epoch other than the one that held it. */
async function settledWrongly(server: FaultServer): Promise<number> {
  const [row] = await server.rows<{ count: string }>(
    `select (select count(*) from millrace.job_ack a join millrace.job_ack b on
        b.lane_id = a.lane_id and b.first_offset > a.first_offset
        and b.first_offset <= a.last_offset)
      + (select count(*) from millrace.job_ack a join millrace.job_state s on
        s.lane_id = a.lane_id and s."offset" between a.first_offset and a.last_offset
        and s.status <> 'cancelled')
      + (select count(*) from millrace.job_ack a where not exists (
        select from millrace.job_claim c where c.lane_id = a.lane_id and c.epoch = a.epoch
        and a.first_offset >= c.from_offset and a.last_offset <= c.to_offset)) as count`,
  );
  return Number(row?.count);
}

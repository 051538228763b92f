/** Asks the database, after a run, whether the promises were kept. Throws when one was not. */
import type pg from 'pg';

export interface Verdict {
  readonly events: number;
  readonly exceptions: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  readonly unprojected: number;
}

/** Every offset from 1 to the head is there once. */
const holes = `select coalesce(sum(last - n), 0)::int as n from (
  select count(*) as n, max("offset") as last from millrace.event group by "partition") p`;

/** An exception that was ingested and has no feedback. */
const lost = `select count(*)::int as n from millrace.event i
  where i.event_type = 'ExceptionIngested' and not exists (
    select 1 from millrace.event f where f.tenant_id = i.tenant_id and f.key = i.key
      and f.event_type = 'FeedbackCaptured')`;

/** Milestones that an exception passes once only. */
const duplicated = `select count(*)::int as n from (
  select 1 from millrace.event
  where event_type in ('ExceptionNormalized', 'TriageCompleted', 'PolicyEvaluationCompleted',
    'PlaybookMatched', 'PlaybookStarted', 'PlaybookCompleted', 'FeedbackCaptured')
  group by tenant_id, key, event_type having count(*) > 1) d`;

/** A consequence that stands before its cause, or in another partition. */
const outOfOrder = `select count(*)::int as n from millrace.event e
  join millrace.event c on c.tenant_id = e.tenant_id and c.event_id = e.causation_id
  where c."partition" <> e."partition" or c."offset" >= e."offset"`;

const unprojected = `select count(*)::int as n from millrace.event i
  where i.event_type = 'ExceptionIngested' and not exists (
    select 1 from millrace_exceptions.exception x
    where x.tenant_id = i.tenant_id and x.exception_id = i.key and x.outcome is not null)`;

export async function verify(client: pg.Client, ingested: number): Promise<Verdict> {
  const count = async (text: string): Promise<number> => (await client.query(text)).rows[0].n;
  await client.query('analyze millrace.event');
  const exceptions = await count(
    `select count(*)::int as n from millrace.event where event_type = 'ExceptionIngested'`,
  );
  const verdict = {
    events: await count('select count(*)::int as n from millrace.event'),
    exceptions,
    lost: (await count(lost)) + (await count(holes)) + (ingested - exceptions),
    duplicated: await count(duplicated),
    outOfOrder: await count(outOfOrder),
    unprojected: await count(unprojected),
  };
  const { lost: l, duplicated: d, outOfOrder: o, unprojected: u } = verdict;
  if (l + d + o + u > 0) throw new Error(`the run broke promises: ${JSON.stringify(verdict)}`);
  return verdict;
}

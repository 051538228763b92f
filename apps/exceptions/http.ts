/**
 * The routes of the exception pipeline (P9-16, P9-17, P9-19). Commands answer 202 once their event
 * is durable, and never before; queries read the projection, which follows within a second.
 */
import type { Millrace, StoredEvent } from 'millrace';
import { z } from 'zod';
import { acceptExceptions, type IncomingException, invalid, readItem } from './accept.ts';
import { answerApproval, decideStep, viewApproval, viewPlaybook } from './decisions.ts';
import type { Packs } from './packs/load.ts';
import {
  type ExceptionFilter,
  findException,
  listExceptions,
  listWaiting,
  outcomes,
} from './projection/queries.ts';
import { actorTypes, type Severity, type Status, severities, statuses } from './vocabulary.ts';

/** The part of the server's Route that these routes use. */
export interface ExceptionRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly query?: readonly string[];
  handle(request: ExceptionRequest): Promise<{ readonly status?: number; readonly body: unknown }>;
}

interface ExceptionRequest {
  readonly tenantId: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const itemsMax = 5_000;
const traceEventsMax = 10_000;

export function exceptionRoutes(mill: Millrace, packs: Packs): readonly ExceptionRoute[] {
  return [...commands(mill, packs), ...queries(mill, packs)];
}

function commands(mill: Millrace, packs: Packs): ExceptionRoute[] {
  const step = (verb: 'complete' | 'skip'): ExceptionRoute => ({
    method: 'POST',
    path: `/exceptions/:tenant/:id/playbook/steps/:step/${verb}`,
    async handle({ tenantId, params, body }) {
      const answer = { verb, stepOrder: stepOf(params.step), ...parse(stepSchema, body) };
      const ref = { tenantId, exceptionId: idOf(params) };
      const view = await decideStep({ mill, packs }, ref, answer);
      return { status: 202, body: { status: 'accepted', ...view } };
    },
  });
  const approval = (verb: 'approve' | 'reject'): ExceptionRoute => ({
    method: 'POST',
    path: `/approvals/:tenant/:approval/${verb}`,
    async handle({ tenantId, params, body }) {
      const decision = verb === 'approve' ? ('APPROVED' as const) : ('REJECTED' as const);
      const answer = { decision, ...parse(approvalSchema, body) };
      const ref = { tenantId, approvalId: params.approval ?? '' };
      return { status: 202, body: await answerApproval(mill, ref, answer) };
    },
  });
  return [
    {
      method: 'POST',
      path: '/exceptions/:tenant',
      handle: async ({ tenantId, body }) => ({
        status: 202,
        body: await ingest(mill, tenantId, body),
      }),
    },
    step('complete'),
    step('skip'),
    approval('approve'),
    approval('reject'),
  ];
}

function queries(mill: Millrace, packs: Packs): ExceptionRoute[] {
  return [
    {
      method: 'GET',
      path: '/exceptions/:tenant',
      query: Object.keys(filterNames),
      handle: async ({ tenantId, query }) => ({
        body: await listExceptions(mill, filterOf(tenantId, query)),
      }),
    },
    {
      method: 'GET',
      path: '/exceptions/:tenant/:id',
      handle: async ({ tenantId, params }) => ({
        body: await findException(mill, tenantId, idOf(params)),
      }),
    },
    {
      method: 'GET',
      path: '/exceptions/:tenant/:id/events',
      query: ['type', 'from', 'to', 'limit', 'after', 'newestFirst'],
      handle: async ({ tenantId, params, query }) => ({
        body: await timeline(mill, tenantId, idOf(params), query),
      }),
    },
    {
      method: 'GET',
      path: '/exceptions/:tenant/:id/trace',
      handle: async ({ tenantId, params }) => ({
        body: await trace(mill, tenantId, idOf(params)),
      }),
    },
    {
      method: 'GET',
      path: '/exceptions/:tenant/:id/playbook',
      handle: async ({ tenantId, params }) => ({
        body: viewPlaybook(packs, await findException(mill, tenantId, idOf(params))),
      }),
    },
    {
      method: 'GET',
      path: '/approvals/:tenant',
      handle: async ({ tenantId }) => ({
        body: { items: (await listWaiting(mill, tenantId)).map(viewApproval) },
      }),
    },
  ];
}

const ingestSchema = z
  .strictObject({
    exception: z.unknown(),
    exceptions: z.array(z.unknown()).max(itemsMax),
    source_system: z.string(),
    ingestion_method: z.string(),
  })
  .partial();

async function ingest(mill: Millrace, tenantId: string, body: unknown) {
  const { exception, exceptions, source_system, ingestion_method } = parse(ingestSchema, body);
  if ((exception === undefined) === (exceptions === undefined)) {
    throw invalid("The body needs either 'exception' or 'exceptions'.");
  }
  const items = (exceptions ?? [exception]).map((item, i): IncomingException => {
    const read = readItem(item, exceptions ? `exceptions[${i}]` : 'exception');
    return {
      ...read,
      source: read.source ?? source_system,
      ingestionMethod: read.ingestionMethod ?? ingestion_method ?? 'api',
    };
  });
  const accepted = await acceptExceptions(mill, tenantId, items);
  const duplicates = accepted.filter(({ duplicate }) => duplicate).length;
  const message =
    duplicates === 0
      ? `${accepted.length} stored; processing follows`
      : `${accepted.length - duplicates} stored, ${duplicates} were there already`;
  if (exceptions === undefined) {
    return { exceptionId: accepted[0]?.exceptionId, status: 'accepted', message };
  }
  const exceptionIds = accepted.map(({ exceptionId }) => exceptionId);
  return { exceptionIds, status: 'accepted', message, accepted: accepted.length, duplicates };
}

const stepSchema = z.strictObject({
  actorType: z.enum(actorTypes),
  actorId: z.string().min(1).max(256),
  notes: z.string().max(4_000).optional(),
});
const approvalSchema = z.strictObject({
  user: z.string().min(1).max(256),
  comments: z.string().max(4_000).optional(),
});

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(
    `body${issue?.path.map((part) => `.${String(part)}`).join('')}: ${issue?.message}.`,
  );
}

function idOf(params: Readonly<Record<string, string>>): string {
  return params.id ?? '';
}

function stepOf(text = ''): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw invalid(`The step is '${text}', not a number from 1.`);
}

/** Query parameter → member of the filter. */
const filterNames = {
  domain: 'domain',
  status: 'status',
  severity: 'severity',
  type: 'type',
  stage: 'stage',
  outcome: 'outcome',
  created_from: 'createdFrom',
  created_to: 'createdTo',
  limit: 'limit',
  after: 'after',
} as const;

function filterOf(tenantId: string, query: Readonly<Record<string, string>>): ExceptionFilter {
  const filter: Record<string, unknown> = { tenantId };
  for (const [name, member] of Object.entries(filterNames)) {
    if (query[name] !== undefined) filter[member] = query[name];
  }
  if (query.limit !== undefined) filter.limit = Number(query.limit);
  check('status', query.status, statuses satisfies readonly Status[]);
  check('severity', query.severity, severities satisfies readonly Severity[]);
  check('outcome', query.outcome, outcomes);
  return filter as unknown as ExceptionFilter;
}

function check(name: string, given: string | undefined, choices: readonly string[]): void {
  if (given === undefined || choices.includes(given)) return;
  throw invalid(`${name} is '${given}'; it can be ${choices.join(', ')}.`);
}

async function timeline(
  mill: Millrace,
  tenantId: string,
  exceptionId: string,
  query: Readonly<Record<string, string>>,
) {
  const { type, from, to, limit, after, newestFirst } = query;
  const { events, next } = await mill.history.list({
    tenantId,
    key: exceptionId,
    ...(type !== undefined && { eventTypes: type.split(',') }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(limit !== undefined && { limit: Number(limit) }),
    ...(after !== undefined && { after }),
    newestFirst: newestFirst === 'true',
  });
  if (events.length === 0 && after === undefined) await findException(mill, tenantId, exceptionId);
  return { items: events, next };
}

/** Counts, types, first and last event, duration: enough to see where the time went. */
async function trace(mill: Millrace, tenantId: string, exceptionId: string) {
  const events: StoredEvent[] = [];
  let after: string | null = null;
  do {
    const page = await mill.history.list({
      tenantId,
      key: exceptionId,
      limit: 1_000,
      ...(after !== null && { after }),
    });
    events.push(...page.events);
    after = page.next;
  } while (after !== null && events.length < traceEventsMax);
  const [first] = events;
  const last = events.at(-1);
  if (first === undefined || last === undefined) {
    return findException(mill, tenantId, exceptionId).then(() => ({ exceptionId, count: 0 }));
  }
  const types: Record<string, number> = {};
  for (const { eventType } of events) types[eventType] = (types[eventType] ?? 0) + 1;
  return {
    exceptionId,
    correlationId: first.correlationId,
    count: events.length,
    complete: after === null,
    types,
    firstAt: first.timestamp,
    lastAt: last.timestamp,
    durationMs: Date.parse(last.timestamp) - Date.parse(first.timestamp),
  };
}

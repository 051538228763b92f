/**
 * Runs of workflows over HTTP: start, look, ask why, change. A run's id may be shortened wherever
 * one is wanted. With a tenant the answer covers that tenant's runs only; without, every tenant's.
 */
import { MillraceError } from '../core/errors.ts';
import type { JsonValue } from '../core/json.ts';
import { type TaskState, taskStates } from '../core/workflow/states.ts';
import type { RunFilter } from '../ports/workflow-queries.ts';
import type { AnyWorkflowDefinition } from '../workflows/definition.ts';
import type { WorkflowOperator } from '../workflows/operator/operator.ts';
import { type RunVerb, runVerbs } from '../workflows/operator/verbs.ts';
import type { RunDetails } from '../workflows/options.ts';
import { choiceOf, flagOf, integerOf, listOf, membersOf, numberOf, textOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';
import { detailsDocument, documentOf, stepDocument, taskDocument } from './workflow-documents.ts';

export interface StartRequest {
  readonly name: string;
  readonly namespace: string | undefined;
  readonly version: string | undefined;
  readonly input: JsonValue;
  readonly tenantId: string;
  readonly idempotencyKey: string | undefined;
  readonly priority: number | undefined;
  readonly correlationId: string | undefined;
  readonly metadata: Readonly<Record<string, JsonValue>> | undefined;
  readonly delayMs: number | undefined;
}

/** What the routes need of the process that serves them. */
export interface WorkflowDoor {
  readonly operator: WorkflowOperator;
  definitions(): readonly AnyWorkflowDefinition[];
  /** @throws MillraceError WORKFLOW_UNKNOWN, WORKFLOW_INPUT_INVALID, WORKFLOW_DUPLICATE, … */
  start(request: StartRequest): Promise<{ readonly runId: string }>;
}

const pageDefault = 100;
const filterNames = [
  'state',
  'namespace',
  'name',
  'correlation_id',
  'parent',
  'from',
  'to',
] as const;
const tenant = 'optional';
const one = '/v1/tasks/:id';

export function workflowRoutes(door: WorkflowDoor): readonly Route[] {
  const { operator } = door;
  return [
    {
      method: 'POST',
      path: '/v1/tasks',
      tenant,
      async handle(request) {
        const { runId } = await door.start(startOf(request));
        const run = await operator.show(runId);
        return { status: 201, body: run === null ? { task_uuid: runId } : detailsDocument(run) };
      },
    },
    {
      method: 'GET',
      path: '/v1/tasks',
      tenant,
      query: [...filterNames, 'limit', 'after'],
      async handle({ query, tenantId }) {
        const limit = integerOf(query, 'limit', [1, 1_000]) ?? pageDefault;
        const { after = null } = query;
        const page = await operator.list(runFilterOf(query, tenantId), { limit, after });
        return { body: { items: page.runs.map(taskDocument), next: page.next } };
      },
    },
    {
      method: 'GET',
      path: '/v1/tasks/counts',
      tenant,
      query: filterNames,
      async handle({ query, tenantId }) {
        const counts = await operator.counts(runFilterOf(query, tenantId));
        return {
          body: Object.fromEntries(taskStates.map((name) => [name, counts.get(name) ?? 0])),
        };
      },
    },
    {
      method: 'GET',
      path: one,
      tenant,
      handle: async (request) => ({ body: detailsDocument(await findRun(operator, request)) }),
    },
    {
      method: 'DELETE',
      path: one,
      tenant,
      handle: (request) => tell(operator, request, 'cancel', membersOf(request.body, verbNames)),
    },
    {
      method: 'PATCH',
      path: one,
      tenant,
      handle(request) {
        const members = membersOf(request.body, ['action_type', ...verbNames]);
        const verb = choiceOf<RunVerb>(members.action_type, 'action_type', runVerbs);
        if (verb === undefined) {
          throw requestInvalid(`action_type is missing; it can be ${runVerbs.join(', ')}.`);
        }
        return tell(operator, request, verb, members);
      },
    },
    ...lookRoutes(operator),
    ...messageRoutes(operator),
  ];
}

function lookRoutes(operator: WorkflowOperator): readonly Route[] {
  const look = (name: string, show: (run: RunDetails) => unknown): Route => ({
    method: 'GET',
    path: `${one}/${name}`,
    tenant,
    handle: async (request) => ({ body: await show(await findRun(operator, request)) }),
  });
  return [
    look('summary', (run) => summaryOf(run)),
    look('workflow_steps', ({ steps }) => ({ items: steps.map(stepDocument) })),
    look('why', ({ runId }) => operator.why(runId).then(documentOf)),
    look('audit', async ({ runId }) => ({
      items: (await operator.audit(runId)).map(({ at, ...row }) => ({
        ...row,
        at: new Date(at).toISOString(),
      })),
    })),
    look('visualize', async ({ runId }) => ({ mermaid: await operator.visualize(runId) })),
    {
      method: 'GET',
      path: `${one}/workflow_steps/:step`,
      tenant,
      async handle(request) {
        const { runId } = await findRun(operator, request);
        const { audit, ...step } = await operator.step(runId, request.params.step ?? '');
        const rows = audit.map(({ at, ...row }) => ({ ...row, at: new Date(at).toISOString() }));
        return { body: { ...stepDocument(step), audit: rows } };
      },
    },
    {
      method: 'PATCH',
      path: `${one}/workflow_steps/:step`,
      tenant,
      async handle(request) {
        const members = membersOf(request.body, ['action_type', ...verbNames]);
        const action = choiceOf(members.action_type, 'action_type', stepActionNames);
        if (action === undefined) {
          throw requestInvalid(`action_type is missing; it can be ${stepActionNames.join(', ')}.`);
        }
        const step = request.params.step ?? '';
        return tell(operator, request, stepActions[action], { ...members, step });
      },
    },
  ];
}

const stepActions = {
  reset_for_retry: 'reset_step',
  resolve_manually: 'resolve_step',
  complete_manually: 'complete_step',
  retry_from: 'retry_from',
} as const satisfies Readonly<Record<string, RunVerb>>;
const stepActionNames = Object.keys(stepActions) as (keyof typeof stepActions)[];

function messageRoutes(operator: WorkflowOperator): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${one}/signals`,
      tenant,
      async handle(request) {
        const { runId } = await findRun(operator, request);
        const members = membersOf(request.body, ['name', 'payload', 'id']);
        const id = request.idempotencyKey ?? optionalText(members, 'id');
        const name = textOf(members, 'name');
        const sent = await operator.signal(runId, name, members.payload ?? null, id);
        return { status: 202, body: documentOf(sent) };
      },
    },
    {
      method: 'POST',
      path: `${one}/approvals`,
      tenant,
      async handle(request) {
        const { runId } = await findRun(operator, request);
        const names = ['step', 'approved', 'by', 'comment', 'data', 'id'];
        const members = membersOf(request.body, names);
        const approved = flagOf(members, 'approved');
        if (approved === undefined) {
          throw requestInvalid('approved is missing.', 'Send { "approved": true } or false.');
        }
        const decision = {
          approved,
          by: optionalText(members, 'by') ?? 'operator',
          comment: optionalText(members, 'comment'),
          data: members.data,
        };
        const id = request.idempotencyKey ?? optionalText(members, 'id');
        const sent = await operator.approve(runId, textOf(members, 'step'), decision, id);
        return { status: 202, body: documentOf(sent) };
      },
    },
  ];
}

const verbNames = ['step', 'result', 'reason', 'by', 'wait_ms'] as const;

/** 200 when it had its effect in time, 202 when it will have it. */
async function tell(
  operator: WorkflowOperator,
  request: RouteRequest,
  verb: RunVerb,
  members: Readonly<Record<string, JsonValue>>,
) {
  const { runId } = await findRun(operator, request);
  const { applied, run } = await operator.verb(runId, {
    verb,
    step: optionalText(members, 'step'),
    result: members.result,
    reason: optionalText(members, 'reason'),
    by: optionalText(members, 'by'),
    waitMs: numberOf(members, 'wait_ms', [0, 60_000]),
  });
  return {
    status: applied ? 200 : 202,
    body: { action_type: verb, applied, task: taskDocument(run) },
  };
}

export async function findRun(
  operator: WorkflowOperator,
  { params, tenantId }: RouteRequest,
): Promise<RunDetails> {
  const given = params.id ?? '';
  const runId = await operator.resolveId(given, tenantId === '' ? undefined : tenantId);
  const run = await operator.show(runId);
  if (run !== null && (tenantId === '' || run.tenantId === tenantId)) return run;
  const whose = tenantId === '' ? 'There is' : `Tenant ${tenantId} has`;
  throw new MillraceError('NOT_FOUND', `${whose} no run ${given}.`, {
    fix: 'Check the id and the tenant; ended runs are removed after their retention.',
  });
}

export function runFilterOf(
  given: Readonly<Record<string, string | undefined>>,
  tenantId: string,
): RunFilter {
  const texts = given as Readonly<Record<string, string>>;
  const states = listOf(texts, 'state')?.map(
    (state) => choiceOf<TaskState>(state, 'state', taskStates) as TaskState,
  );
  const { namespace, name, correlation_id: correlationId, parent } = given;
  return {
    ...(tenantId !== '' && { tenantId }),
    ...(states && { states }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
    ...(correlationId !== undefined && { correlationId }),
    ...(parent !== undefined && { parentRunId: parent }),
    ...(given.from !== undefined && { startedAfter: timeOf(given.from, 'from') }),
    ...(given.to !== undefined && { startedBefore: timeOf(given.to, 'to') }),
  };
}

function timeOf(text: string, name: string): number {
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw requestInvalid(`${name} is '${text}', not an ISO 8601 time.`);
}

function summaryOf({ steps, ...run }: RunDetails) {
  const states: Record<string, number> = {};
  for (const { state } of steps) states[state] = (states[state] ?? 0) + 1;
  const done = steps.filter(({ state }) => state === 'complete' || state === 'resolved_manually');
  return {
    ...taskDocument(run),
    paused: run.paused,
    steps: { total: steps.length, done: done.length, by_state: states },
    completion_percentage:
      steps.length === 0 ? 0 : Math.round((done.length / steps.length) * 1_000) / 10,
    retries: steps.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0),
    failed_steps: steps
      .filter(({ state }) => state === 'error')
      .map(({ name, attempts, error }) => ({ name, attempts, error })),
  };
}

const startNames = [
  'name',
  'namespace',
  'version',
  'context',
  'input',
  'priority',
  'correlation_id',
  'idempotency_key',
  'delay_ms',
  'metadata',
  'tags',
  'initiator',
  'source_system',
  'reason',
] as const;

/** `context` is the original's word for the input; the key stands in the header or in the body. */
function startOf({ body, tenantId, idempotencyKey }: RouteRequest): StartRequest {
  const members = membersOf(body, startNames);
  const { context, input, metadata, tags, initiator, source_system, reason } = members;
  if (context !== undefined && input !== undefined) {
    throw requestInvalid('The body has both input and context.', 'Send one: they mean the same.');
  }
  const own = optionalText(members, 'idempotency_key');
  if (own !== undefined && idempotencyKey !== null && own !== idempotencyKey) {
    throw requestInvalid('The header and the body give different idempotency keys.');
  }
  const told = { tags, initiator, source_system, reason };
  const said = Object.entries(told).filter(([, value]) => value !== undefined);
  const given = metadata === undefined ? {} : membersOf(metadata, Object.keys(Object(metadata)));
  const all = { ...given, ...Object.fromEntries(said) } as Record<string, JsonValue>;
  return {
    name: textOf(members, 'name'),
    namespace: optionalText(members, 'namespace'),
    version: optionalText(members, 'version'),
    input: input ?? context ?? {},
    tenantId: tenantId === '' ? 'default' : tenantId,
    idempotencyKey: own ?? idempotencyKey ?? undefined,
    priority: priorityOf(members.priority),
    correlationId: optionalText(members, 'correlation_id'),
    metadata: Object.keys(all).length === 0 ? undefined : all,
    delayMs: numberOf(members, 'delay_ms', [0, 3_650 * 86_400_000]),
  };
}

function priorityOf(value: JsonValue | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 2_147_483_647) {
    return value;
  }
  throw requestInvalid('priority is not a whole number.');
}

export function optionalText(
  members: Readonly<Record<string, JsonValue>>,
  name: string,
): string | undefined {
  return members[name] === undefined || members[name] === null ? undefined : textOf(members, name);
}

/** For whoever looks after workflows: templates, figures, investigations, staleness, bulk verbs. */
import { MillraceError } from '../core/errors.ts';
import {
  type DeadLetterReason,
  deadLetterReasons,
  type InvestigationState,
  investigationStates,
} from '../ports/workflow-queries.ts';
import type { AnyWorkflowDefinition } from '../workflows/definition.ts';
import { type BulkRuns, type BulkVerb, bulkVerbs } from '../workflows/operator/bulk-runs.ts';
import type { DeadLetterDesk } from '../workflows/operator/dead-letters.ts';
import type { WorkflowOperator } from '../workflows/operator/operator.ts';
import { choiceOf, flagOf, integerOf, membersOf, numberOf, uuidOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';
import {
  documentOf,
  investigationDocument,
  staleDocument,
  taskDocument,
} from './workflow-documents.ts';
import { findRun, optionalText, runFilterOf, type WorkflowDoor } from './workflow-routes.ts';

const tenant = 'optional';
const pageDefault = 100;
/** Kept after they ended. */
const keptMax = 100;

export function workflowDeskRoutes(door: WorkflowDoor): readonly Route[] {
  const { operator } = door;
  return [
    ...templateRoutes(door),
    ...analyticsRoutes(operator),
    ...deadLetterRoutes(operator),
    ...bulkRoutes(operator),
  ];
}

function templateRoutes(door: WorkflowDoor): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/templates',
      tenant: 'none',
      handle: () => ({
        body: { items: door.definitions().map((one) => templateDocument(door, one)) },
      }),
    },
    {
      method: 'GET',
      path: '/v1/templates/:namespace/:name/:version',
      tenant: 'none',
      handle({ params }) {
        const { namespace, name, version } = params;
        const found = door
          .definitions()
          .find((it) => it.namespace === namespace && it.name === name && it.version === version);
        if (found === undefined) {
          throw new MillraceError(
            'NOT_FOUND',
            `Nobody here knows ${namespace}/${name}@${version}.`,
            {
              fix: 'GET /v1/templates lists the workflows of this process.',
            },
          );
        }
        const text = found.template?.definitionJson;
        const definition = text === undefined ? null : (JSON.parse(text) as unknown);
        return { body: { ...templateDocument(door, found), definition } };
      },
    },
  ];
}

function templateDocument({ operator }: WorkflowDoor, definition: AnyWorkflowDefinition) {
  const { kind, namespace, name, version, description, identity, priority } = definition;
  return {
    kind,
    namespace,
    name,
    version,
    description: description ?? null,
    identity_strategy: identity,
    priority,
    template_hash: definition.template?.hash ?? null,
    lifecycle: documentOf(operator.lifecycleIn(definition)),
    publishes_events: definition.publishesEvents.map((event) => event.name),
  };
}

function analyticsRoutes(operator: WorkflowOperator): readonly Route[] {
  const query = ['namespace', 'name', 'minutes', 'runs', 'limit'] as const;
  const requestOf = ({ query: given, tenantId }: RouteRequest) => ({
    ...(tenantId !== '' && { tenantId }),
    ...(given.namespace !== undefined && { namespace: given.namespace }),
    ...(given.name !== undefined && { name: given.name }),
    minutes: integerOf(given, 'minutes', [1, 525_600]),
    runs: integerOf(given, 'runs', [1, 10_000]),
  });
  return [
    {
      method: 'GET',
      path: '/v1/analytics/performance',
      tenant,
      query: query.slice(0, 4),
      handle: async (request) => ({
        body: documentOf(await operator.performance(requestOf(request))),
      }),
    },
    {
      method: 'GET',
      path: '/v1/analytics/bottlenecks',
      tenant,
      query,
      async handle(request) {
        const limit = integerOf(request.query, 'limit', [1, 1_000]) ?? 20;
        return { body: documentOf(await operator.bottlenecks({ ...requestOf(request), limit })) };
      },
    },
  ];
}

function deadLetterRoutes(operator: WorkflowOperator): readonly Route[] {
  const { deadLetters } = operator;
  return [
    {
      method: 'GET',
      path: '/v1/dlq',
      tenant,
      query: ['status', 'reason', 'limit', 'after'],
      async handle({ query, tenantId }) {
        const limit = integerOf(query, 'limit', [1, 1_000]) ?? pageDefault;
        const filter = {
          ...(tenantId !== '' && { tenantId }),
          status: choiceOf<InvestigationState>(query.status, 'status', investigationStates),
          reason: choiceOf<DeadLetterReason>(query.reason, 'reason', deadLetterReasons),
        };
        const page = await deadLetters.list(filter, { limit, after: query.after ?? null });
        return { body: { items: page.entries.map(investigationDocument), next: page.next } };
      },
    },
    {
      method: 'GET',
      path: '/v1/dlq/stats',
      tenant,
      async handle({ tenantId }) {
        const stats = await deadLetters.stats(tenantId === '' ? undefined : tenantId);
        return { body: documentOf(stats) };
      },
    },
    {
      method: 'GET',
      path: '/v1/dlq/investigation-queue',
      tenant,
      query: ['limit'],
      async handle({ query, tenantId }) {
        const limit = integerOf(query, 'limit', [1, 1_000]) ?? pageDefault;
        const entries = await deadLetters.queue(tenantId === '' ? undefined : tenantId, limit);
        return { body: { items: entries.map(investigationDocument) } };
      },
    },
    {
      method: 'GET',
      path: '/v1/dlq/staleness',
      tenant,
      async handle({ tenantId }) {
        const stale = await operator.staleness(tenantId === '' ? {} : { tenantId });
        return { body: { items: stale.map(staleDocument) } };
      },
    },
    ...entryRoutes(operator),
  ];
}

function entryRoutes(operator: WorkflowOperator): readonly Route[] {
  const { deadLetters } = operator;
  return [
    {
      method: 'GET',
      path: '/v1/dlq/task/:id',
      tenant,
      async handle(request) {
        const { runId } = await findRun(operator, request);
        const { entries } = await deadLetters.list({ runId });
        return { body: { items: entries.map(investigationDocument) } };
      },
    },
    {
      method: 'POST',
      path: '/v1/dlq/task/:id',
      tenant,
      async handle(request) {
        const { runId } = await findRun(operator, request);
        const members = membersOf(request.body, ['reason', 'notes']);
        const reason = choiceOf<DeadLetterReason>(members.reason, 'reason', deadLetterReasons);
        const notes = optionalText(members, 'notes');
        const said = notes === undefined ? undefined : { notes };
        const entry = await deadLetters.open(runId, reason ?? 'manual_dlq', said);
        if (entry === null) {
          throw new MillraceError('DEAD_LETTER_STATE', `Run ${runId} is being looked into.`, {
            fix: 'One investigation is pending at a time: close it before you open another.',
          });
        }
        return { status: 201, body: investigationDocument(entry) };
      },
    },
    {
      method: 'GET',
      path: '/v1/dlq/entry/:entry',
      tenant,
      handle: async (request) => ({
        body: investigationDocument(await findEntry(deadLetters, request)),
      }),
    },
    {
      method: 'PATCH',
      path: '/v1/dlq/entry/:entry',
      tenant,
      async handle(request) {
        const { entryId } = await findEntry(deadLetters, request);
        const members = membersOf(request.body, ['status', 'by', 'notes']);
        const status = choiceOf(members.status, 'status', closedStates);
        if (status === undefined) {
          throw requestInvalid(`status is missing; it can be ${closedStates.join(', ')}.`);
        }
        const entry = await deadLetters.resolve(entryId, {
          status,
          by: optionalText(members, 'by'),
          notes: optionalText(members, 'notes'),
        });
        return { body: investigationDocument(entry) };
      },
    },
  ];
}

const closedStates = ['manually_resolved', 'permanently_failed', 'cancelled'] as const;

async function findEntry(deadLetters: DeadLetterDesk, { params, tenantId }: RouteRequest) {
  const entryId = uuidOf(params, 'entry');
  const entry = await deadLetters.show(entryId);
  if (entry !== null && (tenantId === '' || entry.tenantId === tenantId)) return entry;
  throw new MillraceError('NOT_FOUND', `There is no investigation ${entryId}.`, {
    fix: 'Check the id and the tenant; GET /v1/dlq lists them.',
  });
}

function bulkRoutes(operator: WorkflowOperator): readonly Route[] {
  const operations = new Map<string, BulkRuns>();
  const path = '/v1/tasks/bulk';
  const find = (id: string | undefined): BulkRuns => {
    const operation = operations.get(id ?? '');
    if (operation) return operation;
    throw new MillraceError('NOT_FOUND', `There is no bulk operation ${id} in this process.`, {
      fix: 'It ended with the process that started it, or long ago.',
    });
  };
  return [
    {
      method: 'POST',
      path,
      tenant,
      async handle(request) {
        const operation = await operator.bulk(bulkOf(request));
        operations.set(operation.id, operation);
        for (const [id, { status }] of operations) {
          if (operations.size <= keptMax) break;
          if (status !== 'running') operations.delete(id);
        }
        return { status: 202, body: bulkDocument(operation) };
      },
    },
    {
      method: 'GET',
      path: `${path}/:operation`,
      tenant: 'none',
      handle: ({ params }) => ({ body: bulkDocument(find(params.operation)) }),
    },
    {
      method: 'POST',
      path: `${path}/:operation/stop`,
      tenant: 'none',
      handle({ params }) {
        const operation = find(params.operation);
        operation.stop();
        return { body: bulkDocument(operation) };
      },
    },
  ];
}

function bulkDocument(operation: BulkRuns) {
  const { filter: _, ...state } = operation.state();
  return {
    ...(documentOf(state) as Record<string, unknown>),
    sample: operation.sample.map(taskDocument),
  };
}

const filterNames = ['state', 'namespace', 'name', 'correlation_id', 'parent', 'from', 'to'];

function bulkOf({ body, tenantId }: RouteRequest) {
  const names = ['verb', 'filter', 'dry_run', 'rate_per_second', 'limit', 'reason', 'by'];
  const members = membersOf(body, names);
  const verb = choiceOf<BulkVerb>(members.verb, 'verb', bulkVerbs);
  if (verb === undefined) {
    throw requestInvalid(`verb is missing; it can be ${bulkVerbs.join(', ')}.`);
  }
  const filter = membersOf(members.filter, filterNames);
  if (Object.keys(filter).length === 0 && tenantId === '') {
    throw requestInvalid(
      'The filter is empty: that would be every run there is.',
      `Name a tenant or at least one of ${filterNames.join(', ')}.`,
    );
  }
  for (const [name, value] of Object.entries(filter)) {
    if (typeof value !== 'string') throw requestInvalid(`filter.${name} is not a text.`);
  }
  return {
    verb,
    filter: runFilterOf(filter as Readonly<Record<string, string>>, tenantId),
    dryRun: flagOf(members, 'dry_run'),
    ratePerSecond: numberOf(members, 'rate_per_second', [1, 100_000]),
    limit: numberOf(members, 'limit', [1, 1_000_000]),
    reason: optionalText(members, 'reason'),
    by: optionalText(members, 'by'),
  };
}

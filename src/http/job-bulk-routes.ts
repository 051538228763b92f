/**
 * One verb for many jobs, started here and watched from anywhere: the operation lives in this
 * process, the last ones are kept to be asked about.
 */
import { MillraceError } from '../core/errors.ts';
import { type BulkOperation, type BulkState, bulkStatuses } from '../jobs/bulk-operation.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobView } from '../jobs/view.ts';
import type { JobVerb } from '../ports/jobs.ts';
import { filterOf } from './job-routes.ts';
import { choiceOf, flagOf, membersOf, numberOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';

/** Kept after they ended. */
const keptMax = 100;
const filterNames = ['queue', 'name', 'key', 'status', 'fingerprint', 'from', 'to'] as const;
const verbs = Object.keys(bulkStatuses) as JobVerb[];

interface BulkAnswer extends BulkState {
  readonly sample: readonly JobView[];
}

export function jobBulkRoutes(jobs: Jobs): readonly Route[] {
  const operations = new Map<string, BulkOperation>();
  const path = '/ops/jobs/bulk';
  const steer = (name: 'pause' | 'resume' | 'stop'): Route => ({
    method: 'POST',
    path: `${path}/:operation/${name}`,
    tenant: 'none',
    handle({ params }) {
      const operation = find(operations, params.operation);
      operation[name]();
      return { body: answerOf(operation) };
    },
  });
  return [
    {
      method: 'POST',
      path,
      tenant: 'optional',
      async handle(request) {
        const operation = await jobs.bulk(bulkOf(request));
        operations.set(operation.id, operation);
        forget(operations);
        return { status: 202, body: answerOf(operation) };
      },
    },
    {
      method: 'GET',
      path,
      tenant: 'none',
      handle: () => ({ body: { items: [...operations.values()].map((one) => one.state()) } }),
    },
    {
      method: 'GET',
      path: `${path}/:operation`,
      tenant: 'none',
      handle: ({ params }) => ({ body: answerOf(find(operations, params.operation)) }),
    },
    steer('pause'),
    steer('resume'),
    steer('stop'),
  ];
}

function answerOf(operation: BulkOperation): BulkAnswer {
  return { ...operation.state(), sample: operation.sample };
}

function find(
  operations: ReadonlyMap<string, BulkOperation>,
  id: string | undefined,
): BulkOperation {
  const operation = operations.get(id ?? '');
  if (operation) return operation;
  throw new MillraceError('NOT_FOUND', `There is no bulk operation ${id} in this process.`, {
    fix: 'It ended with the process that started it, or long ago; GET /ops/jobs/bulk lists them.',
  });
}

/** The oldest that ended go first; one under way is never forgotten. */
function forget(operations: Map<string, BulkOperation>): void {
  for (const [id, { status }] of operations) {
    if (operations.size <= keptMax) return;
    if (status !== 'running' && status !== 'paused') operations.delete(id);
  }
}

function bulkOf({ body, tenantId }: RouteRequest) {
  const members = membersOf(body, ['verb', 'filter', 'dryRun', 'ratePerSecond', 'limit']);
  const verb = choiceOf(members.verb, 'verb', verbs);
  if (verb === undefined) throw requestInvalid(`verb is missing; it can be ${verbs.join(', ')}.`);
  const filter = membersOf(members.filter, filterNames);
  const named = Object.entries(filter);
  if (named.length === 0 && tenantId === '') {
    throw requestInvalid(
      'The filter is empty: that would be every job there is.',
      `Name a tenant or at least one of ${filterNames.join(', ')}.`,
    );
  }
  for (const [name, value] of named) {
    if (typeof value !== 'string') throw requestInvalid(`filter.${name} is not a text.`);
  }
  const dryRun = flagOf(members, 'dryRun');
  const ratePerSecond = numberOf(members, 'ratePerSecond', [1, 100_000]);
  const limit = numberOf(members, 'limit', [1, 1_000_000]);
  return {
    verb,
    filter: filterOf(filter as Readonly<Record<string, string>>, tenantId),
    ...(dryRun !== undefined && { dryRun }),
    ...(ratePerSecond !== undefined && { ratePerSecond }),
    ...(limit !== undefined && { limit }),
  };
}

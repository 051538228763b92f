/**
 * Jobs for people and programs: pages by filter, one job whole, why it does not run, a verb on it,
 * and a new one. With a tenant the answer covers that tenant's jobs only; without, every tenant's.
 */
import { MillraceError } from '../core/errors.ts';
import { formatJobId, type JobStatus, jobStatuses, parseJobId } from '../core/job.ts';
import { type AnyJobDefinition, defineJob } from '../core/job-definition.ts';
import type { JobOptions } from '../core/job-options.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobView } from '../jobs/view.ts';
import type { JobFilter } from '../ports/job-queries.ts';
import type { JobVerb } from '../ports/jobs.ts';
import { choiceOf, integerOf, membersOf, numberOf, textOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';

const pageDefault = 100;
const filterNames = ['queue', 'name', 'key', 'status', 'fingerprint', 'from', 'to'] as const;

export function jobRoutes(jobs: Jobs): readonly Route[] {
  const one = '/ops/jobs/:id';
  const tenant = 'optional';
  const verb = (name: JobVerb): Route => ({
    method: 'POST',
    path: `${one}/${name}`,
    tenant,
    async handle(request) {
      const before = await find(jobs, request);
      const changed = await jobs[name](before.id);
      if (changed.length === 0) throw wrongState(name, before);
      return { body: { id: before.id, job: await jobs.get(before.id) } };
    },
  });
  return [
    {
      method: 'GET',
      path: '/ops/jobs',
      tenant,
      query: [...filterNames, 'limit', 'after'],
      async handle(request) {
        const limit = integerOf(request.query, 'limit', [1, 1_000]) ?? pageDefault;
        const { after = null } = request.query;
        const page = await jobs.list(filterOf(request.query, request.tenantId), { limit, after });
        return { body: { items: page.jobs, next: page.next } };
      },
    },
    {
      method: 'POST',
      path: '/ops/jobs',
      tenant,
      async handle(request) {
        const { definition, payload, options } = newJobOf(request);
        const { id, duplicate } = await jobs.enqueue(definition, payload, options);
        return { status: 201, body: { id, duplicate } };
      },
    },
    {
      method: 'GET',
      path: one,
      tenant,
      handle: async (request) => ({ body: await find(jobs, request) }),
    },
    {
      method: 'GET',
      path: `${one}/why`,
      tenant,
      async handle(request) {
        const { id } = await find(jobs, request);
        return { body: await jobs.why(id) };
      },
    },
    verb('cancel'),
    verb('retry'),
    verb('run'),
    verb('remove'),
  ];
}

/** Of query parameters, or of the members of a bulk request's filter. */
export function filterOf(
  given: Readonly<Record<string, string | undefined>>,
  tenantId: string,
): JobFilter {
  const { queue, name, key, fingerprint, from, to } = given;
  const status = choiceOf<JobStatus>(given.status, 'status', jobStatuses);
  return {
    ...(tenantId !== '' && { tenantId }),
    ...(queue !== undefined && { queue }),
    ...(name !== undefined && { name }),
    ...(key !== undefined && { key }),
    ...(status !== undefined && { status }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
  };
}

async function find(jobs: Jobs, { params, tenantId }: RouteRequest): Promise<JobView> {
  const id = formatJobId(parseJobId(params.id ?? ''));
  const job = await jobs.get(id);
  if (job !== null && (tenantId === '' || job.tenantId === tenantId)) return job;
  const whose = tenantId === '' ? 'There is' : `Tenant ${tenantId} has`;
  throw new MillraceError('NOT_FOUND', `${whose} no job ${id}.`, {
    fix: 'Check the id and the tenant; finished jobs are removed after their retention.',
  });
}

const verbWords: Readonly<Record<JobVerb, string>> = {
  cancel: 'cancelled',
  retry: 'retried',
  run: 'run now',
  remove: 'removed',
};

function wrongState(verb: JobVerb, { id, status, epoch }: JobView): MillraceError {
  const held = status === 'cancelled' && epoch !== null;
  const why = held ? 'its worker has not let go of it yet' : `it is ${status}`;
  const fix: Readonly<Record<JobVerb, string>> = {
    cancel: 'Only a job that has not come to an end can be cancelled.',
    retry:
      'Only a dead, cancelled or quarantined job can be retried, and only while no other ' +
      'unfinished job has its unique key.',
    run: 'Only a delayed or retrying job can be told to run now.',
    remove: 'Cancel it first: a job that runs cannot be removed.',
  };
  return new MillraceError('JOB_STATE', `Job ${id} cannot be ${verbWords[verb]}: ${why}.`, {
    fix: held ? 'Try again in a moment: it was told to stop.' : fix[verb],
    details: { id, status },
  });
}

const optionNames = [
  'key',
  'priority',
  'delayMs',
  'runAt',
  'attempts',
  'backoff',
  'timeoutMs',
  'unique',
  'dependsOn',
  'onParentFailure',
  'correlationId',
  'causationId',
  'traceparent',
  'metadata',
] as const;

/** The options are checked where every job's are, when it is prepared. */
function newJobOf({ body, tenantId }: RouteRequest) {
  const { name, queue, payload, version, ...given } = membersOf(body, [
    'name',
    'queue',
    'payload',
    'version',
    ...optionNames,
  ]);
  if (payload === undefined) {
    throw requestInvalid(
      'payload is missing.',
      'Send { "payload": { … } }; null is a payload too.',
    );
  }
  const members = { name, queue, version } as never;
  const definition = definitionOf(
    textOf(members, 'name'),
    queue === undefined ? undefined : textOf(members, 'queue'),
  );
  const written = numberOf(members, 'version', [1, 2_147_483_647]) ?? 1;
  const { runAt, ...rest } = given;
  const options = {
    ...rest,
    ...(runAt !== undefined && { runAt: new Date(String(runAt)) }),
    ...(tenantId !== '' && { tenantId }),
  } as JobOptions;
  return { definition: ofVersion(definition, written), payload, options };
}

/** A definition of the caller's own: what is wrong with it is wrong with the request. */
function definitionOf(name: string, queue: string | undefined): AnyJobDefinition {
  try {
    return defineJob(name, { ...(queue !== undefined && { queue }) });
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    throw requestInvalid(error.message, 'Correct the name or the queue of the job.');
  }
}

/** Payloads written by hand may be of a newer version; whoever handles the job checks them. */
function ofVersion(definition: AnyJobDefinition, version: number): AnyJobDefinition {
  const prepare: AnyJobDefinition['prepare'] = (payload, options, nowMs) => ({
    ...definition.prepare(payload, options, nowMs),
    version,
  });
  return { ...definition, prepare };
}

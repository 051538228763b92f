/**
 * How a command reaches the platform. A server that runs on the data directory is asked over HTTP;
 * otherwise the database is opened here, and the same routes are called without a socket. So every
 * command has one way to ask, and gets the same answers either way.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ConnectOptions, connect, connectJobs } from '../connect.ts';
import { type ErrorCode, errorCodes, MillraceError } from '../core/errors.ts';
import { asyncApiRoutes } from '../http/async-api-routes.ts';
import { brokerRoutes } from '../http/broker-routes.ts';
import { cloudEventRoutes } from '../http/cloud-event-routes.ts';
import { deadLetterRoutes } from '../http/dead-letter-routes.ts';
import { eventRoutes } from '../http/event-routes.ts';
import { groupRoutes } from '../http/group-routes.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { jobBulkRoutes } from '../http/job-bulk-routes.ts';
import { jobRoutes } from '../http/job-routes.ts';
import { operationsRoutes } from '../http/operations-routes.ts';
import { queueRoutes } from '../http/queue-routes.ts';
import type { HttpMethod, Route } from '../http/route.ts';
import { scheduleRoutes } from '../http/schedule-routes.ts';
import { createHttpServer, type HttpServer } from '../http/server.ts';
import { createStatistics, type Statistics } from '../http/statistics.ts';
import { workflowDeskRoutes } from '../http/workflow-desk-routes.ts';
import { workflowDoor } from '../http/workflow-door.ts';
import { workflowRoutes } from '../http/workflow-routes.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Millrace } from '../millrace.ts';
import type { AnyWorkflowDefinition } from '../workflows/definition.ts';
import { findServer } from './server-file.ts';

/** Which database: an own server by URL, or the embedded one in a directory. */
export interface Place {
  readonly url?: string | undefined;
  readonly data: string;
  /** What files and variables say beside it. */
  readonly options?: ConnectOptions;
}

type Exceptions = typeof import('millrace/exceptions');
export type ExceptionApplication = Awaited<ReturnType<Exceptions['installExceptions']>>;

/** Everything of one process, opened here. */
export interface Platform {
  readonly mill: Millrace;
  readonly app: ExceptionApplication;
  readonly server: HttpServer;
  readonly statistics: Statistics;
  /** Events durable a second during the last stretch of work; set by who measures it. */
  eventsPerSecond: number | null;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** False to ask and publish only. */
  readonly work: boolean;
  /** Opens the broker where nothing is worked on: others do not wait for what they do not need. */
  readonly broker?: boolean;
  /** Workflows to work on, whatever `work` says of the rest. */
  readonly workflows?: readonly AnyWorkflowDefinition[];
  onError?(error: unknown, where: string): void;
}

/** The app by name, as its users import it. */
export const loadApp = (): Promise<Exceptions> => import('millrace/exceptions');

export async function openPlatform(place: Place, options: OpenOptions): Promise<Platform> {
  const { exceptionEvents, installExceptions } = await loadApp();
  const { onError } = options;
  const { broker, ...placed } = place.options ?? {};
  const wanted = options.work || options.broker ? broker : undefined;
  if (place.url === undefined) await mkdir(place.data, { recursive: true });
  const mill = await connect(place.url, {
    ...placed,
    ...(wanted !== undefined && { broker: wanted }),
    directory: join(place.data, 'postgres'),
    events: [...exceptionEvents],
    ...(onError && { onError }),
  });
  try {
    const app = await installExceptions(mill, { work: options.work });
    const { workflows = [] } = options;
    if (workflows.length > 0) mill.workflows.work(workflows);
    const platform = { eventsPerSecond: null as number | null };
    const statistics = createStatistics({
      mill,
      tenants: () => app.tenants(),
      app: async (tenants) => ({ ...(await app.counts(tenants)) }),
      eventsPerSecond: () => platform.eventsPerSecond,
    });
    const server = createHttpServer({
      routes: [
        ...healthRoutes(mill),
        ...eventRoutes(mill),
        ...cloudEventRoutes(mill),
        ...asyncApiRoutes(mill),
        ...deadLetterRoutes(mill),
        ...groupRoutes(mill),
        ...operationsRoutes({ mill, statistics }),
        ...routesOfJobs(mill.jobs),
        ...brokerRoutes(mill),
        ...workflowRoutes(workflowDoor(mill)),
        ...workflowDeskRoutes(workflowDoor(mill)),
        ...app.routes,
      ],
      ...(onError && { onError }),
    });
    return Object.assign(platform, {
      mill,
      app,
      server,
      statistics,
      async close() {
        await server.close();
        await mill.stop();
      },
    });
  } catch (error) {
    await mill.stop();
    throw error;
  }
}

export interface ApiRequest {
  readonly tenant?: string | undefined;
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined;
  readonly body?: unknown;
}

/** The routes, wherever they are served. Errors come back as the MillraceError they were. */
export interface Api {
  get<T>(path: string, request?: ApiRequest): Promise<T>;
  post<T>(path: string, request?: ApiRequest): Promise<T>;
  patch<T>(path: string, request?: ApiRequest): Promise<T>;
  delete<T>(path: string, request?: ApiRequest): Promise<T>;
  /** The address of the server that answers; null when it is this process. */
  readonly url: string | null;
  close(): Promise<void>;
}

type Dispatch = (request: {
  method: HttpMethod;
  path: string;
  headers: Record<string, string>;
  body?: unknown;
}) => Promise<{ status: number; body: unknown }>;

export interface ApiOptions {
  /** Workflows that this process works on while the API is open; a server here has its own. */
  readonly workflows?: readonly AnyWorkflowDefinition[];
  /** The broker is asked as well. */
  readonly broker?: boolean;
}

export async function openApi(
  place: Place,
  { workflows = [], broker = false }: ApiOptions = {},
): Promise<Api> {
  if (place.url !== undefined && /^rediss?:/.test(place.url)) return openJobsApi(place);
  const running = place.url === undefined ? await findServer(place.data) : null;
  if (running !== null) return apiOver(dispatchTo(running.url), running.url, async () => {});
  try {
    const platform = await openPlatform(place, { work: false, workflows, broker });
    if (workflows.length > 0) await startOrClose(platform);
    return apiOver(
      (request) => platform.server.dispatch(request),
      null,
      () => platform.close(),
    );
  } catch (error) {
    if (!isBusy(error)) throw error;
    // It may have started this moment, and write its address in the next.
    const other = await waitForServer(place.data);
    if (other === null) throw error;
    return apiOver(dispatchTo(other), other, async () => {});
  }
}

async function startOrClose(platform: Platform): Promise<void> {
  try {
    await platform.mill.start();
  } catch (error) {
    await platform.close();
    throw error;
  }
}

/** Queues on Redis have no log beside them: their routes alone. */
async function openJobsApi({ url, options = {} }: Place): Promise<Api> {
  const { connectionsMax } = options;
  const jobs = await connectJobs(url, {
    ...options.jobs,
    ...(connectionsMax !== undefined && { connectionsMax }),
  });
  const server = createHttpServer({ routes: routesOfJobs(jobs) });
  const close = async () => {
    await server.close();
    await jobs.stop();
  };
  const dispatch: Dispatch = async (request) => {
    if (!request.path.startsWith('/v1/')) return server.dispatch(request);
    throw new MillraceError('CAPABILITY_MISSING', 'Redis keeps queues; workflows need Postgres.', {
      fix: 'Leave out --url for the embedded Postgres, or give a postgres:// URL.',
    });
  };
  return apiOver(dispatch, null, close);
}

function routesOfJobs(jobs: Jobs): readonly Route[] {
  return [
    ...jobRoutes(jobs),
    ...jobBulkRoutes(jobs),
    ...queueRoutes(jobs),
    ...scheduleRoutes(jobs),
  ];
}

export function isBusy(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'EMBEDDED_BUSY';
}

const appearMs = 5_000;

/** The address of the server that has the directory, once it answers; null when none does. */
export async function waitForServer(data: string): Promise<string | null> {
  for (const until = performance.now() + appearMs; performance.now() < until; ) {
    const found = await findServer(data);
    if (found !== null) return found.url;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return null;
}

export function apiOver(dispatch: Dispatch, url: string | null, close: () => Promise<void>): Api {
  const call = async <T>(method: HttpMethod, path: string, request: ApiRequest = {}) => {
    const { tenant, query = {}, body } = request;
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) search.set(name, String(value));
    }
    const answer = await dispatch({
      method,
      path: search.size > 0 ? `${path}?${search}` : path,
      headers: tenant === undefined ? {} : { 'x-tenant-id': encodeTenant(tenant) },
      body,
    });
    if (answer.status >= 400 && isErrorBody(answer.body)) throw errorOf(answer.body.error);
    return answer.body as T;
  };
  return {
    get: (path, request) => call('GET', path, request),
    post: (path, request) => call('POST', path, request),
    patch: (path, request) => call('PATCH', path, request),
    delete: (path, request) => call('DELETE', path, request),
    url,
    close,
  };
}

/** Headers carry Latin-1 only; a name beyond that must be refused here, not garbled on the way. */
function encodeTenant(tenant: string): string {
  if (/^[\x20-\x7e]+$/.test(tenant)) return tenant;
  throw new MillraceError('USAGE', `The tenant '${tenant}' cannot stand in a header.`, {
    fix: 'Use a tenant of printable ASCII characters.',
  });
}

const answerMs = 120_000;

export function dispatchTo(url: string): Dispatch {
  return async ({ method, path, headers, body }) => {
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(answerMs),
      });
    } catch (cause) {
      throw new MillraceError('STORE_UNAVAILABLE', `The server at ${url} does not answer.`, {
        cause,
        fix: 'Look whether `millrace start` still runs in its terminal, then try again.',
      });
    }
    return { status: response.status, body: await response.json() };
  };
}

interface ErrorAnswer {
  readonly error: { readonly code: string; readonly message: string; readonly fix: string };
}

function isErrorBody(body: unknown): body is ErrorAnswer {
  return typeof (body as ErrorAnswer | null)?.error?.message === 'string';
}

function errorOf({ code, message, fix }: ErrorAnswer['error']): Error {
  if (Object.hasOwn(errorCodes, code))
    return new MillraceError(code as ErrorCode, message, { fix });
  return Object.assign(new Error(message), { code });
}

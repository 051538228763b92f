/**
 * The JSON API of one process: a table of routes behind an HTTP server, on loopback.
 *
 * There is no authentication yet: who reaches the port may do everything, for every tenant. So the
 * server refuses to listen on any address but loopback, and refuses requests that a web page of
 * another origin sends through the user's browser (Host and Origin are checked). An issue to come
 * brings keys and rights; the tenant then comes from the key instead of `x-tenant-id`.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { MillraceError } from '../core/errors.ts';
import { checkTenantId } from '../core/event-fields.ts';
import { parseJson } from '../core/json.ts';
import { type Failure, failure, failureOf } from './failures.ts';
import { type HttpMethod, type Route, type RouteRequest, requestInvalid } from './route.ts';

export interface HttpServerOptions {
  readonly routes: readonly Route[];
  /** Told of errors that the caller was not told the cause of. */
  readonly onError?: (error: unknown, where: string) => void;
}

export interface HttpServer {
  /** Starts to listen; EADDRINUSE comes through. Answers with `http://127.0.0.1:<port>`. */
  listen(port: number, host?: string): Promise<string>;
  /** A request without a socket, for the command line in the same process and for tests. */
  dispatch(request: DispatchRequest): Promise<{ status: number; body: unknown }>;
  close(): Promise<void>;
}

export interface DispatchRequest {
  readonly method: HttpMethod;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const bodyBytesMax = 1024 * 1024;
/** More members do not fit into the bytes, near enough: `"a":1,` has six. */
const bodyKeysMax = 175_000;
const requestTimeoutMs = 30_000;
const headersTimeoutMs = 10_000;
/** An exception id may have 256 characters, each of them escaped. */
const parameterCharsMax = 1_024;
/** JSON, and what is JSON by its name: `application/cloudevents+json`. */
const jsonTypes = /^application\/(?:[\w.-]+\+)?json(?:\s*;|$)/i;
const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

export function createHttpServer({ routes, onError }: HttpServerOptions): HttpServer {
  const app = Fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: requestTimeoutMs * 2,
    keepAliveTimeout: 10_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: parameterCharsMax },
    http: { headersTimeout: headersTimeoutMs },
    frameworkErrors: (error, _request, reply) => void send(reply as never, failureOf(error)),
    clientErrorHandler: (_error, socket) => void refuseSocket(socket),
  });
  readJson(app);
  app.addHook('onRequest', async (request, reply) => {
    if (!isFromHere(request)) return send(reply, foreign);
  });
  app.setNotFoundHandler((request, reply) => send(reply, unknownRoute(request, routes)));
  app.setErrorHandler((error, request, reply) => {
    const found = failureOf(error);
    if (!found.expected) onError?.(error, `${request.method} ${request.routeOptions.url ?? '?'}`);
    return send(reply, found);
  });
  const stopping = new AbortController();
  for (const route of routes) addRoute(app, route, stopping.signal);
  return {
    async listen(port, host = '127.0.0.1') {
      checkLoopback(host);
      return app.listen({ port, host });
    },
    async dispatch({ method, path, headers = {}, body }) {
      const response = await app.inject({
        method,
        url: path,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { payload: JSON.stringify(body) }),
      });
      return { status: response.statusCode, body: JSON.parse(response.body) };
    },
    async close() {
      stopping.abort();
      await app.close();
    },
  };
}

function checkLoopback(host: string): void {
  if (loopback.has(host)) return;
  throw new MillraceError(
    'CONFIG_INVALID',
    `The API would listen on ${host}, where others could reach it without a key.`,
    { fix: 'Listen on 127.0.0.1 and put a proxy that authenticates in front of it.' },
  );
}

/** Exact numbers, no double keys, valid UTF-8: what is stored is what was sent. */
function readJson(app: FastifyInstance): void {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(jsonTypes, { parseAs: 'buffer' }, async (_: unknown, bytes: Buffer) => {
    if (bytes.length === 0) return undefined;
    let text: string;
    try {
      text = utf8.decode(bytes);
    } catch {
      throw new MillraceError('PAYLOAD_NOT_JSON', 'The body is not UTF-8.', {
        fix: 'Encode the body as UTF-8.',
      });
    }
    return parseJson(text, { root: 'body', keysMax: bodyKeysMax });
  });
}

function addRoute(app: FastifyInstance, route: Route, stopping: AbortSignal): void {
  const { method, path } = route;
  const known = new Set(['tenant', ...(route.query ?? [])]);
  app.route({
    method,
    url: path,
    async handler(request, reply) {
      const gone = new AbortController();
      // 'close' comes after the answer as well; aborting then does no harm.
      reply.raw.once('close', () => gone.abort());
      const query = checkQuery(request.query as Record<string, unknown>, known);
      const params = request.params as Record<string, string>;
      const routed: RouteRequest = {
        tenantId: tenantOf(route, request, params, query),
        params,
        query,
        body: request.body as RouteRequest['body'],
        idempotencyKey: idempotencyKeyOf(request),
        headers: headersOf(request),
        signal: AbortSignal.any([gone.signal, stopping]),
      };
      const { status = 200, body, textType, headers } = await route.handle(routed);
      reply.code(status);
      if (headers !== undefined) reply.headers(headers);
      return textType ? sendText(reply, textType, String(body)) : sendJson(reply, body);
    },
  });
}

function checkQuery(query: Record<string, unknown>, known: ReadonlySet<string>) {
  for (const [name, value] of Object.entries(query)) {
    if (!known.has(name)) {
      throw requestInvalid(
        `The query parameter '${name}' is not known here.`,
        `It can be ${[...known].join(', ')}.`,
      );
    }
    if (typeof value !== 'string') throw requestInvalid(`The query gives '${name}' twice.`);
  }
  return query as Record<string, string>;
}

function tenantOf(
  route: Route,
  request: FastifyRequest,
  params: Readonly<Record<string, string>>,
  query: Readonly<Record<string, string>>,
): string {
  const header = request.headers['x-tenant-id'];
  const given = [params.tenant, header, query.tenant].filter((value) => value !== undefined);
  const [tenant] = given;
  if (given.some((other) => other !== tenant)) {
    throw requestInvalid('The path, x-tenant-id and ?tenant= name different tenants.');
  }
  if (tenant !== undefined) return checkTenantId(tenant);
  if ((route.tenant ?? 'required') !== 'required') return '';
  throw requestInvalid('The request names no tenant.', 'Send the header x-tenant-id: <tenant>.');
}

function idempotencyKeyOf({ headers }: FastifyRequest): string | null {
  const key = headers['idempotency-key'];
  return typeof key === 'string' && key !== '' ? key : null;
}

function headersOf({ headers }: FastifyRequest): RouteRequest['headers'] {
  const texts = Object.entries(headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(', ') : value,
  ]);
  return Object.fromEntries(texts);
}

const foreign = failure(403, 'REQUEST_INVALID', 'This API answers to this machine only.', {
  fix: 'Call it as 127.0.0.1 or localhost, and not from the page of another site.',
});

/** A name that is rebound to 127.0.0.1 keeps its name in Host; a foreign page sends its Origin. */
function isFromHere({ headers: { host, origin } }: FastifyRequest): boolean {
  const called = host === undefined || loopback.has(hostName(`http://${host}`));
  return called && (origin === undefined || loopback.has(hostName(origin)));
}

function hostName(url: string): string {
  try {
    return new URL(url).hostname.replace(/^\[|\]$/g, '');
  } catch {
    return '';
  }
}

function unknownRoute(request: FastifyRequest, routes: readonly Route[]): Failure {
  const path = request.url.split('?')[0] ?? '';
  const shown = path.length > 200 ? `${path.slice(0, 200)}…` : path;
  const area = `/${path.split('/')[1]}`;
  const near = routes.filter((route) => route.path.startsWith(area)).slice(0, 5);
  const alike = near.map(({ method, path: at }) => `${method} ${at}`).join(', ');
  const areas = [...new Set(routes.map((route) => `/${route.path.split('/')[1]}`))].join(', ');
  const fix =
    near.length === 0
      ? `GET /health shows that the server lives; its routes begin with ${areas}.`
      : `Routes that begin alike: ${alike}.`;
  return failure(404, 'NOT_FOUND', `There is no route ${request.method} ${shown}.`, { fix });
}

function send(reply: FastifyReply, { status, body, retryAfter }: Failure): FastifyReply {
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
  return sendJson(reply.code(status), body);
}

function sendJson(reply: FastifyReply, body: unknown): FastifyReply {
  return sendText(reply, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`);
}

function sendText(reply: FastifyReply, type: string, text: string): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .type(type)
    .send(text);
}

/** Not even HTTP: answered on the bare socket, as there is no request to answer to. */
function refuseSocket(socket: {
  writable: boolean;
  end(text: string): unknown;
  destroy(): unknown;
}) {
  if (!socket.writable) return socket.destroy();
  const { body } = failureOf({ statusCode: 400 });
  const text = JSON.stringify(body);
  return socket.end(
    'HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

/**
 * Handlers that call an HTTP service: an answer that says no becomes a failure which knows whether
 * another try may help and when. 408, 429 and 5xx are tried again, other 4xx are not; Retry-After
 * is heeded; a connection that fails is tried again.
 */
import type { HandlerArguments, SourceSpec } from './arguments.ts';
import { type HandlerDefinition, type HandlerOptions, makeHandler } from './define-handler.ts';
import type { StepContext } from './step-context.ts';
import { isRetryableStatus, parseRetryAfter, stepError } from './step-failure.ts';

export interface ApiRequest {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent as JSON, unless it is text or bytes. */
  readonly body?: unknown;
  /** Of this call alone, beside the time limit of the step. */
  readonly timeoutMs?: number | undefined;
}

export interface ApiResponse<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed when it is JSON, else text; null when it is empty. */
  readonly data: T;
}

/** Every call obeys the step's signal, and throws for answers from 400 on. */
export interface ApiClient {
  request<T = unknown>(method: string, path: string, request?: ApiRequest): Promise<ApiResponse<T>>;
  get<T = unknown>(path: string, request?: ApiRequest): Promise<ApiResponse<T>>;
  post<T = unknown>(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse<T>>;
  put<T = unknown>(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse<T>>;
  patch<T = unknown>(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse<T>>;
  delete<T = unknown>(path: string, request?: ApiRequest): Promise<ApiResponse<T>>;
}

export interface ApiOptions<Depends extends SourceSpec, Inputs extends SourceSpec, Result>
  extends HandlerOptions<Depends, Inputs, Result> {
  /** Where paths begin; `base_url` of the step's `initialization` by default. */
  readonly baseUrl?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * Declares a handler that calls a service. POST and PATCH carry the step's idempotency key.
 * @example
 * const charge = defineApiHandler(
 *   'Payments::Charge',
 *   { baseUrl: 'https://api.example.com', inputs: { amount: fromInput<number>('amount') } },
 *   async ({ api, amount }) => (await api.post<{ id: string }>('/charges', { amount })).data,
 * );
 */
export function defineApiHandler<
  const Depends extends SourceSpec = Record<never, never>,
  const Inputs extends SourceSpec = Record<never, never>,
  Result = unknown,
>(
  callable: string,
  options: ApiOptions<Depends, Inputs, NoInfer<Result>>,
  handle: (
    args: HandlerArguments<Depends, Inputs> & { readonly api: ApiClient },
  ) => Result | Promise<Result>,
): HandlerDefinition<Result> {
  return makeHandler('step', callable, options, handle, (ctx) => ({
    api: apiClient(ctx, options),
  }));
}

/** For handlers written as classes. */
export function apiClient(
  ctx: StepContext,
  options: { readonly baseUrl?: string | undefined; readonly headers?: ApiRequest['headers'] } = {},
): ApiClient {
  const request = <T>(method: string, path: string, given: ApiRequest = {}) =>
    send<T>(ctx, options, { ...given, method, path });
  return {
    request,
    get: (path, given) => request('GET', path, given),
    post: (path, body, given) => request('POST', path, { ...given, body }),
    put: (path, body, given) => request('PUT', path, { ...given, body }),
    patch: (path, body, given) => request('PATCH', path, { ...given, body }),
    delete: (path, given) => request('DELETE', path, given),
  };
}

/** Methods that a service cannot take twice without knowing that it is the same call. */
const keyed: ReadonlySet<string> = new Set(['POST', 'PATCH']);

async function send<T>(
  ctx: StepContext,
  options: Parameters<typeof apiClient>[1] & {},
  call: ApiRequest & { readonly method: string; readonly path: string },
): Promise<ApiResponse<T>> {
  const { method, timeoutMs } = call;
  const url = urlOf(ctx, options.baseUrl, call);
  const headers = new Headers({ accept: 'application/json', ...options.headers, ...call.headers });
  if (keyed.has(method) && !headers.has('idempotency-key')) {
    headers.set('idempotency-key', ctx.idempotencyKey);
  }
  const body = bodyOf(call.body, headers);
  const limit = timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)];
  const signal = AbortSignal.any([ctx.signal, ...limit]);
  const init: RequestInit = { method, headers, signal, ...(body !== undefined && { body }) };
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, init);
    text = await response.text();
  } catch (cause) {
    ctx.signal.throwIfAborted();
    const slow = limit[0]?.aborted === true;
    const problem = slow ? `did not answer within ${timeoutMs} ms` : 'cannot be reached';
    const type = slow ? 'ApiTimeout' : 'ApiUnreachable';
    throw stepError(`${method} ${url.origin}${url.pathname} ${problem}.`, { type, cause });
  }
  if (response.ok) {
    return { status: response.status, headers: response.headers, data: parse(response, text) as T };
  }
  throw refusal(`${method} ${url.origin}${url.pathname}`, response, text);
}

/** Without its query: that may hold secrets. */
function refusal(what: string, { status, statusText, headers }: Response, text: string) {
  const said = text.trim().slice(0, 200);
  const retryAfter = headers.get('retry-after');
  const retryable = isRetryableStatus(status);
  return stepError(`${what} answered ${status} ${statusText}${said === '' ? '' : `: ${said}`}`, {
    type: `HTTP_${status}`,
    retryable,
    delayMs: (retryAfter === null ? null : parseRetryAfter(retryAfter)) ?? undefined,
    meta: { statusCode: status },
  });
}

function urlOf(
  ctx: StepContext,
  baseUrl: string | undefined,
  { path, query = {} }: ApiRequest & { readonly path: string },
): URL {
  const base = baseUrl ?? ctx.stepConfig.base_url;
  // A base with a path keeps it: 'https://host/v1' and '/charges' are 'https://host/v1/charges'.
  const whole =
    typeof base === 'string' && !/^https?:\/\//i.test(path)
      ? `${base.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`
      : path;
  const url = URL.parse(whole);
  if (url === null) {
    throw stepError(`'${whole}' is not a URL: give baseUrl, or base_url in initialization.`, {
      type: 'ApiAddress',
      retryable: false,
    });
  }
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

function bodyOf(body: unknown, headers: Headers): RequestInit['body'] {
  if (body === undefined) return undefined;
  if (typeof body === 'string' || body instanceof Uint8Array) return body as RequestInit['body'];
  if (!headers.has('content-type')) headers.set('content-type', 'application/json');
  return JSON.stringify(body);
}

function parse({ headers }: Response, text: string): unknown {
  if (text === '') return null;
  if (!/\bjson\b/i.test(headers.get('content-type') ?? '')) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw stepError('The service answered with JSON that cannot be read.', {
      type: 'ApiAnswer',
      cause,
    });
  }
}

/**
 * Providers that call over the network. `http` sends the payload as JSON with the execution id as
 * Idempotency-Key; `webhook` sends it signed as Standard Webhooks describe (standardwebhooks.com):
 * HMAC-SHA256 of `id.timestamp.body`. Secrets come from environment variables named by the pack.
 */
import { createHmac } from 'node:crypto';
import { MillraceError } from 'millrace';
import type { CompiledTool } from '../packs/compiled.ts';
import { isPlainObject } from '../vocabulary.ts';
import { blocked, type ToolOutcome, type ToolProvider, type ToolRequest } from './outcome.ts';
import {
  type GuardedRequest,
  type GuardedResponse,
  type Resolver,
  sendGuarded,
} from './request.ts';

export interface NetworkOptions {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly resolver?: Resolver;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** The answer that is kept in the event; larger ones are cut. */
const outputMax = 4_096;

export function createHttpProvider(options: NetworkOptions = {}): ToolProvider {
  return {
    send(tool, request) {
      const headers = authHeaders(tool, options.environment ?? process.env);
      if (headers === null) return Promise.resolve(missingSecret(tool));
      const method = tool.spec.endpointConfig?.method ?? 'POST';
      const body = method === 'GET' ? null : JSON.stringify(request.payload);
      const own = { 'idempotency-key': request.executionId, ...headers };
      return call('http', tool, request, { method, body, headers: own, redirectsMax: 3 }, options);
    },
  };
}

export function createWebhookProvider(options: NetworkOptions = {}): ToolProvider {
  const now = options.now ?? Date.now;
  return {
    send(tool, request) {
      const environment = options.environment ?? process.env;
      const secret = tool.spec.secretEnv === undefined ? '' : environment[tool.spec.secretEnv];
      if (secret === undefined || secret === '') return Promise.resolve(missingSecret(tool));
      const milliseconds = now();
      const body = JSON.stringify({
        type: tool.name,
        timestamp: new Date(milliseconds).toISOString(),
        data: request.payload,
      });
      const seconds = Math.floor(milliseconds / 1_000);
      const headers = {
        'webhook-id': request.executionId,
        'webhook-timestamp': String(seconds),
        'webhook-signature': signWebhook(secret, request.executionId, seconds, body),
        'idempotency-key': request.executionId,
      };
      const message = { method: 'POST', body, headers, redirectsMax: 0 };
      return call('webhook', tool, request, message, options);
    },
  };
}

/** `v1,` and the base64 signature. A secret that begins with `whsec_` is base64 after that. */
export function signWebhook(secret: string, id: string, seconds: number, body: string): string {
  const key = secret.startsWith('whsec_')
    ? Buffer.from(secret.slice('whsec_'.length), 'base64')
    : Buffer.from(secret, 'utf8');
  return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`;
}

function missingSecret(tool: CompiledTool): ToolOutcome {
  const name = tool.spec.secretEnv;
  return blocked(
    name === undefined
      ? `tool ${tool.name} needs secretEnv, the name of the variable with its secret`
      : `the environment variable ${name}, the secret of tool ${tool.name}, is not set`,
  );
}

function authHeaders(
  tool: CompiledTool,
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> | null {
  const { authType, secretEnv } = tool.spec;
  if (authType === 'none') return {};
  const secret = secretEnv === undefined ? undefined : environment[secretEnv];
  if (secret === undefined || secret === '') return null;
  return authType === 'api_key' ? { 'x-api-key': secret } : { authorization: `Bearer ${secret}` };
}

type Message = Pick<GuardedRequest, 'method' | 'body' | 'headers' | 'redirectsMax'>;

async function call(
  provider: string,
  tool: CompiledTool,
  request: ToolRequest,
  message: Message,
  options: NetworkOptions,
): Promise<ToolOutcome> {
  const { spec } = tool;
  const url = tool.url ?? '';
  const own = URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : '';
  const deadline = AbortSignal.timeout(tool.timeoutMs);
  const started = performance.now();
  const elapsed = () => Math.round(performance.now() - started);
  try {
    const response = await sendGuarded(
      {
        ...message,
        url,
        headers: {
          ...(message.body === null ? {} : { 'content-type': 'application/json' }),
          accept: 'application/json',
          'user-agent': 'millrace',
          ...spec.endpointConfig?.headers,
          ...message.headers,
        },
        allowedDomains: spec.allowedDomains.length === 0 ? [own] : spec.allowedDomains,
        allowHttp: spec.allowHttp,
        allowPrivate: spec.allowPrivate,
        signal: AbortSignal.any([deadline, request.signal]),
      },
      options.resolver,
    );
    return judge(provider, response, elapsed());
  } catch (error) {
    return failed(provider, error, deadline.aborted ? tool.timeoutMs : null, elapsed());
  }
}

function judge(provider: string, response: GuardedResponse, durationMs: number): ToolOutcome {
  const { status, body } = response;
  if (status >= 200 && status < 300) {
    return { ok: true, provider, durationMs, output: outputOf(response) };
  }
  const retryable = status >= 500 || status === 408 || status === 425 || status === 429;
  const error = `answered ${status}: ${body.slice(0, 200)}`;
  return { ok: false, provider, durationMs, errorCode: 'TOOL_FAILED', error, retryable };
}

function outputOf({ status, body, truncated }: GuardedResponse): Record<string, unknown> {
  if (!truncated && body.length <= outputMax) {
    try {
      const value: unknown = JSON.parse(body);
      if (isPlainObject(value)) return value;
    } catch {
      // Not JSON: the text itself is the answer.
    }
  }
  return { httpStatus: status, body: body.slice(0, outputMax), truncated: body.length > outputMax };
}

function failed(
  provider: string,
  error: unknown,
  timedOutMs: number | null,
  durationMs: number,
): ToolOutcome {
  if (error instanceof MillraceError && error.code === 'TOOL_BLOCKED') {
    return { ...blocked(error.message), provider, durationMs };
  }
  const { code, message } = error as { code?: string; message: string };
  // A header or URL that node refuses will be refused again.
  const permanent = code?.startsWith('ERR_INVALID') === true;
  return {
    ok: false,
    provider,
    durationMs,
    errorCode: 'TOOL_FAILED',
    error: timedOutMs === null ? message || String(code) : `no answer within ${timedOutMs} ms`,
    retryable: !permanent,
  };
}

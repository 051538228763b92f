/**
 * What a route is: data, so that the server, the command line and an app's plug-in share one table.
 * A route knows nothing of sockets or of the library below; it gets a checked request and answers
 * with a value, or throws a MillraceError.
 */
import { MillraceError } from '../core/errors.ts';
import type { JsonValue } from '../core/json.ts';

export type HttpMethod = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface Route {
  readonly method: HttpMethod;
  /** `/ops/dlq/:group/:eventId`; a `:tenant` in it names the tenant of the request. */
  readonly path: string;
  /**
   * `required` (the default): the path, the header x-tenant-id or `?tenant=` must name one.
   * `optional`: without one the answer covers every tenant. `none`: it concerns no tenant.
   */
  readonly tenant?: 'required' | 'optional' | 'none';
  /** Query parameters beside `tenant`. Others are refused: a misspelt filter shows too much. */
  readonly query?: readonly string[];
  handle(request: RouteRequest): RouteReply | Promise<RouteReply>;
}

export interface RouteRequest {
  /** The empty string when the request names none. */
  readonly tenantId: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Undefined when nothing was sent. */
  readonly body: JsonValue | undefined;
  /** The header idempotency-key; null when it was not sent. */
  readonly idempotencyKey: string | null;
  /** As they came, names in lower case; one that came several times is joined by commas. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Aborted when the caller has gone, or the server stops. */
  readonly signal: AbortSignal;
}

export interface RouteReply {
  /** 200 by default. */
  readonly status?: number;
  readonly body: unknown;
  /** The body is a text of this media type; JSON by default. */
  readonly textType?: string;
  /** Beside those that every answer has. */
  readonly headers?: Readonly<Record<string, string>>;
}

export function requestInvalid(message: string, fix?: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message, { fix });
}

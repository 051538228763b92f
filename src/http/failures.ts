/**
 * Errors as answers: the status of each code and the one shape `{ error: { code, message, fix } }`.
 * A stack, a path or a statement of the database never leaves the process; what is not ours becomes
 * INTERNAL, and the server hands the original to its `onError`.
 */
import { type ErrorCode, MillraceError } from '../core/errors.ts';

export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly fix: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}

export interface Failure {
  readonly status: number;
  readonly body: ErrorBody;
  /** Seconds, for 429 and 503. */
  readonly retryAfter?: number;
  /** False when the cause is ours and somebody should look at it. */
  readonly expected: boolean;
}

const statusOf: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  EVENT_INVALID: 400,
  EVENT_UNKNOWN: 400,
  EVENT_VERSION_UNSUPPORTED: 400,
  TENANT_MISMATCH: 403,
  JOB_INVALID: 400,
  SCHEDULE_INVALID: 400,
  PAYLOAD_NOT_JSON: 400,
  CONFIG_INVALID: 400,
  WORKFLOW_INVALID: 400,
  WORKFLOW_INPUT_INVALID: 400,
  TEMPLATE_INVALID: 400,
  SOURCE_INVALID: 400,
  TOOL_BLOCKED: 403,
  NOT_FOUND: 404,
  WORKFLOW_UNKNOWN: 404,
  STORE_CONFLICT: 409,
  GROUP_STATE: 409,
  DEAD_LETTER_STATE: 409,
  JOB_STATE: 409,
  JOB_DUPLICATE: 409,
  WORKFLOW_DUPLICATE: 409,
  WORKFLOW_STATE: 409,
  EVENT_TOO_LARGE: 413,
  JOB_TOO_LARGE: 413,
  BACKPRESSURE: 429,
  STORE_UNAVAILABLE: 503,
  SHUTTING_DOWN: 503,
};

export function failureOf(error: unknown): Failure {
  if (error instanceof MillraceError) {
    const { code, message, fix, details } = error;
    const status = statusOf[code];
    if (status !== undefined) {
      const body = { error: { code, message, fix, ...(details && { details }) } };
      const wait = status === 429 || status === 503;
      return { status, body, expected: status < 500, ...(wait && { retryAfter: 1 }) };
    }
  }
  // Anything can be thrown, null too.
  const found = ofLibrary((error ?? {}) as { code?: unknown; statusCode?: unknown });
  if (found !== null) return found;
  return failure(500, 'INTERNAL', 'Something failed inside the server.', {
    fix: 'Look into the log of the server; the request itself may be right.',
    expected: false,
  });
}

/** What the HTTP library refuses before a route is reached. */
function ofLibrary(error: { code?: unknown; statusCode?: unknown }) {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return failure(413, 'REQUEST_INVALID', 'The body is larger than 1 MiB.', {
        fix: 'Send less at once, in several requests.',
      });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return failure(415, 'REQUEST_INVALID', 'The body is not said to be JSON.', {
        fix: 'Send it with the header content-type: application/json.',
      });
    default:
  }
  const status = Number(error.statusCode);
  if (!(status >= 400 && status < 500)) return null;
  return failure(status, 'REQUEST_INVALID', 'The request is not well-formed HTTP.', {
    fix: 'Correct the address, the headers or the length of the body.',
  });
}

export function failure(
  status: number,
  code: ErrorCode | 'INTERNAL',
  message: string,
  { fix, expected = true }: { fix: string; expected?: boolean },
): Failure {
  return { status, body: { error: { code, message, fix } }, expected };
}

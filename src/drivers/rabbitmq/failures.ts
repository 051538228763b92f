/** What the server, the socket and the client say, as the broker port's errors. */
import { isMillraceError, MillraceError } from '../../core/errors.ts';

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

export function messageOf(error: unknown): string {
  // Where no method was refused but the connection itself, the client writes its name as undefined.
  return error instanceof Error ? error.message.replace(/^undefined: /, '') : String(error);
}

/** A queue whose node is down is reported as one that does not exist. */
export function isMissing(error: unknown): boolean {
  return (
    codeOf(error) === 'NOT_FOUND' && !/down or inaccessible|timed? ?out/i.test(messageOf(error))
  );
}

export function isMismatch(error: unknown): boolean {
  return codeOf(error) === 'PRECONDITION_FAILED' && /inequivalent/.test(messageOf(error));
}

/** Of Node's TLS: whose certificate is wrong, ours or theirs. */
const certificate =
  /CERT|SELF_SIGNED|ISSUER|VERIFY|ERR_TLS|ERR_SSL_(?:TLSV1|SSLV3)_ALERT|ERR_OSSL|HOSTNAME_MISMATCH/;

function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  if (certificate.test(code)) return true;
  // A virtual host that is starting refuses everybody for a moment.
  if (code === 'NOT_ALLOWED') return !/is down|limit/.test(messageOf(error));
  return code === 'ACCESS_REFUSED';
}

/** @param doing what we were about: 'publishing', 'connecting to 127.0.0.1:5672'. */
export function translate(error: unknown, doing: string): MillraceError {
  if (isMillraceError(error)) return error;
  const problem = messageOf(error) || codeOf(error) || 'no reason given';
  const code = isDenied(error) ? 'BROKER_DENIED' : 'BROKER_UNAVAILABLE';
  return new MillraceError(code, `RabbitMQ, ${doing}: ${problem}`, { cause: error });
}

export function unavailable(problem: string, cause?: unknown): MillraceError {
  return new MillraceError('BROKER_UNAVAILABLE', `RabbitMQ: ${problem}.`, { cause });
}

export function unknownTopic(topic: string, problem = 'does not exist'): MillraceError {
  return new MillraceError('BROKER_TOPIC_UNKNOWN', `RabbitMQ: topic '${topic}' ${problem}.`, {
    details: { topic },
  });
}

export function isUnknownTopic(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'BROKER_TOPIC_UNKNOWN';
}

/** Rejects with BROKER_UNAVAILABLE when the promise takes longer. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(unavailable(`${what} took longer than ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

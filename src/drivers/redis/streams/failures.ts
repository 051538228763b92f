/** Errors of Redis and of its client in the words of the broker port. */
import { ErrorReply } from '@redis/client';
import { MillraceError } from '../../../core/errors.ts';

const refused = /^(NOAUTH|WRONGPASS|NOPERM|DENIED|ERR AUTH)/;

/** One side does not believe the other's certificate: codes of Node and of OpenSSL. */
const distrust =
  /^(CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH|ERR_TLS_CERT|ERR_SSL_\w*ALERT)/;

export function translate(error: unknown): unknown {
  if (error instanceof MillraceError) return ofServerCheck(error);
  if (!(error instanceof Error)) return error;
  if (!(error instanceof ErrorReply)) {
    const { code } = error as { code?: unknown };
    if (typeof code === 'string' && distrust.test(code)) {
      return new MillraceError('BROKER_DENIED', `TLS with Redis fails: ${error.message}`, {
        cause: error,
        fix: "Give the authority of the server's certificate, and one of ours that it trusts.",
      });
    }
    return unavailable(`Redis does not answer: ${textOf(error)}`, error);
  }
  const { message } = error;
  if (refused.test(message)) {
    return new MillraceError('BROKER_DENIED', `Redis refuses us: ${message}`, {
      cause: error,
      fix: 'Check user and password; docs/redis-streams.md has the rights that the user needs.',
    });
  }
  if (message.startsWith('OOM')) {
    return unavailable(`Redis has no memory left: ${message}`, error, {
      fix: 'Raise maxmemory, or find the group of the topic that acknowledges nothing.',
    });
  }
  if (message.startsWith('READONLY')) {
    return unavailable(`Redis is a read-only replica: ${message}`, error, {
      fix: 'Connect to the primary; after a failover this passes by itself.',
    });
  }
  // LOADING, CLUSTERDOWN, MISCONF, BUSY, … pass; anything else was never seen and may as well.
  return unavailable(`Redis cannot serve: ${message}`, error);
}

export function unavailable(
  message: string,
  cause?: unknown,
  options: { readonly fix?: string } = {},
): MillraceError {
  return new MillraceError('BROKER_UNAVAILABLE', message, { cause, ...options });
}

export function unknownTopic(topic: string, partition?: number): MillraceError {
  const what = partition === undefined ? `Topic ${topic}` : `Partition ${partition} of ${topic}`;
  return new MillraceError('BROKER_TOPIC_UNKNOWN', `${what} does not exist at this Redis.`);
}

/** A replica may be the primary in a moment; other findings do not pass. */
function ofServerCheck(error: MillraceError): MillraceError {
  if (error.code !== 'STORE_MISCONFIGURED' || error.details?.role !== 'replica') return error;
  return unavailable(error.message, error, { fix: error.fix });
}

/** Failures to connect are often an AggregateError without a message of its own. */
function textOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return error.message || (typeof code === 'string' ? code : error.name);
}

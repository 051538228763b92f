/** Errors of Redis and of its client in our words. */
import { ErrorReply } from '@redis/client';
import { MillraceError } from '../../core/errors.ts';

/** The server is there and cannot serve for now: it starts, fails over, or cannot write its log. */
const passing =
  /^(LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|READONLY|BUSY|MISCONF|NOREPLICAS|UNBLOCKED)/;
const refused = /^(NOAUTH|WRONGPASS|NOPERM|DENIED)/;

/** Everything that is no answer of the server is a loss: what was under way may have happened. */
export function translate(error: unknown): unknown {
  if (error instanceof MillraceError || !(error instanceof Error)) return error;
  if (!(error instanceof ErrorReply) || passing.test(error.message)) {
    return new MillraceError('STORE_UNAVAILABLE', `Redis does not answer: ${error.message}`, {
      cause: error,
    });
  }
  if (refused.test(error.message)) {
    return new MillraceError('STORE_MISCONFIGURED', `Redis refuses us: ${error.message}`, {
      cause: error,
      fix: 'Check user and password in the URL; the user needs all commands on the keys we use.',
    });
  }
  if (error.message.startsWith('OOM')) {
    return new MillraceError('BACKPRESSURE', `Redis has no memory left: ${error.message}`, {
      cause: error,
      fix: 'Raise maxmemory on the server, add workers, or set lengthMax for the queue.',
    });
  }
  return error;
}

export function isUnknownScript(error: unknown): boolean {
  return error instanceof ErrorReply && error.message.startsWith('NOSCRIPT');
}

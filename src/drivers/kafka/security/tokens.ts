/**
 * Tokens for SASL OAUTHBEARER: one source for all connections of a client, asked again when three
 * quarters of a token's life are over, once however many connections wait. A source that fails
 * does no harm while the token it gave before still lives.
 */
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerToken } from '../../../ports/broker.ts';

export interface TokenSource {
  /** @throws MillraceError BROKER_UNAVAILABLE when there is none to be had */
  get(): Promise<string>;
  /** The last one, to take it out of messages; null before the first. */
  readonly last: string | null;
  /** It lived when it was given away, and does not any more: a broker refuses it for that alone. */
  readonly ranOut: boolean;
}

const freshShare = 0.75;

export function createTokenSource(
  ask: () => Promise<BrokerToken>,
  now: () => number = Date.now,
): TokenSource {
  let token: BrokerToken | null = null;
  let freshUntil = 0;
  let wasAlive = false;
  let asking: Promise<string> | null = null;

  async function renew(): Promise<string> {
    try {
      const next = checked(await ask());
      freshUntil = now() + (next.expiresAt - now()) * freshShare;
      token = next;
      wasAlive = next.expiresAt > now();
      return next.token;
    } catch (error) {
      if (token !== null && token.expiresAt > now()) return token.token;
      if (error instanceof MillraceError) throw error;
      throw new MillraceError('BROKER_UNAVAILABLE', 'No token for the broker could be had.', {
        cause: error,
        fix: 'Look at the cause: the function given as broker.token, or AWS credentials, failed.',
      });
    }
  }

  return {
    get() {
      if (token !== null && now() < freshUntil) return Promise.resolve(token.token);
      asking ??= renew().finally(() => {
        asking = null;
      });
      return asking;
    },
    get last() {
      return token?.token ?? null;
    },
    get ranOut() {
      return wasAlive && token !== null && token.expiresAt <= now();
    },
  };
}

function checked(given: BrokerToken): BrokerToken {
  const { token, expiresAt } = given ?? {};
  // \x01 ends a field of the SASL message; anything outside visible ASCII is no bearer token.
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw invalid('no text of visible ASCII characters in `token`');
  }
  if (typeof expiresAt !== 'number' || !Number.isFinite(expiresAt)) {
    throw invalid('no number of milliseconds since 1970 in `expiresAt`');
  }
  return { token, expiresAt };
}

function invalid(what: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `The source of broker tokens gave ${what}.`, {
    fix: 'Have broker.token resolve to { token, expiresAt }.',
  });
}

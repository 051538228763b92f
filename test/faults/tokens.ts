/** Tokens that a Kafka takes without a key server: a JWS without a signature. */
export interface UnsecuredToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

export function unsecuredToken(subject: string, lifeMs: number): UnsecuredToken {
  const now = Date.now();
  const claims = { sub: subject, iat: now / 1000 - 60, exp: (now + lifeMs) / 1000 };
  return { token: `${encode({ alg: 'none' })}.${encode(claims)}.`, expiresAt: now + lifeMs };
}

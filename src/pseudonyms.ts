/**
 * Pseudonyms for redaction: a keyed hash that lets equal values be joined where they are masked,
 * and tells nothing to whoever lacks the key.
 */
import { createHmac } from 'node:crypto';
import { MillraceError } from './core/errors.ts';

const keyBytesMin = 16;

/**
 * HMAC-SHA256 of tenant and value, its first 16 characters of hex. Upper and lower case, and blanks
 * and dashes as people put them into numbers, do not matter; values of two tenants never join.
 * @param key at least 16 bytes, kept secret: with it values can be guessed and confirmed.
 * @throws MillraceError CONFIG_INVALID for a short key
 * @example
 * const redaction = { pseudonym: pseudonyms(process.env.PSEUDONYM_KEY ?? '') };
 * const mill = await connect(url, { redaction });
 */
export function pseudonyms(key: string | Uint8Array): (value: string, tenantId: string) => string {
  const secret = typeof key === 'string' ? Buffer.from(key) : key;
  if (secret.length < keyBytesMin) {
    throw new MillraceError('CONFIG_INVALID', `The pseudonym key has ${secret.length} bytes.`, {
      fix: `Give ${keyBytesMin} random bytes or more, and keep them: they make the pseudonyms.`,
    });
  }
  return (value, tenantId) => {
    const same = value.toLowerCase().replace(/[\s\u00a0-]/g, '');
    const hash = createHmac('sha256', secret).update(tenantId).update('\0').update(same);
    return hash.digest('hex').slice(0, 16);
  };
}

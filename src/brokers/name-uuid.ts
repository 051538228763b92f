/**
 * UUIDs computed from names (version 5 of RFC 9562), so that whoever computes one again, in
 * another process or after a restart, gets the same: ids of foreign events and of refusals.
 */
import { createHash } from 'node:crypto';

/** Ours alone; made at random once and never to be changed. */
const namespace = Buffer.from('6f1d2c0a94b74e0e9a3d5c1be27a8f43', 'hex');

/** Names are told apart by where they end: ['ab', 'c'] and ['a', 'bc'] differ. 2 µs. */
export function nameUuid(names: readonly string[]): string {
  const hash = createHash('sha1').update(namespace).update(JSON.stringify(names)).digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${groups.join('-')}-${hex.slice(20, 32)}`;
}

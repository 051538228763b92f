/**
 * The bases of all keys: what stands in braces decides the slot, so one queue is one slot, the
 * registry (queues, lanes, epochs) another, the schedules a third. No script touches two.
 */
import { MillraceError } from '../../core/errors.ts';

export interface Keys {
  readonly registry: string;
  readonly schedules: string;
  /** Channel of the notices; no key. */
  readonly notices: string;
  queue(queue: string): string;
  /** What `queue` was given, for one of its bases. */
  queueOf(base: string): string;
}

export function createKeys(prefix: string): Keys {
  if (!/^[\w.:-]{1,64}$/.test(prefix)) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `prefix is '${prefix}', not 1 to 64 letters, digits, or one of . : _ -`,
    );
  }
  const start = `{${prefix}:q:`;
  return {
    registry: `{${prefix}}`,
    schedules: `{${prefix}:schedules}`,
    notices: `${prefix}:notices`,
    // Encoded: a brace or a space in a name would end the tag or a field of a link.
    queue: (queue) => `${start}${encodeURIComponent(queue)}}`,
    queueOf: (base) => decodeURIComponent(base.slice(start.length, -1)),
  };
}

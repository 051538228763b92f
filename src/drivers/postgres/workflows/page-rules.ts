/** What pages of runs and of investigations have in common: limits and cursors, checked. */
import { MillraceError } from '../../../core/errors.ts';
import { isUuid } from '../../../core/ids.ts';

export const leastId = '00000000-0000-0000-0000-000000000000';
export const greatestId = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
const limitMax = 1_000;

export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= limitMax) return;
  throw invalid(`limit is ${limit}, not a whole number from 1 to ${limitMax}.`);
}

/** A page goes on behind the id at which the one before ended. */
export function checkCursor(after: string): string {
  if (isUuid(after)) return after;
  throw invalid(`'${after}' is not the 'next' of an earlier page.`);
}

export function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

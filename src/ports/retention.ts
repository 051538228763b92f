/**
 * Retention of the log: the part of the store port that removes old events at the cold end of each
 * partition. How old an event is nobody is asked but the store: times and ids of events are their
 * callers', so marks note now and then how far the log reached.
 *
 * Invariants: what is left of a partition is dense, from its first offset to its newest event,
 * which always stays; nothing goes that a group has not settled, or has an open failure of.
 */

export interface TrimRequest {
  /** Only what a mark covers that is older than this. */
  readonly olderThanMs: number;
  /** Events of one call at most; one partition after the other gets what is left of it. */
  readonly limit: number;
}

/** Who keeps events that are old enough to go. */
export interface LogHold {
  readonly partition: number;
  /** `position`: the group has settled up to there. `failure`: it has an open failure of that. */
  readonly reason: 'position' | 'failure';
  readonly group: string;
  readonly offset: number;
}

export interface TrimResult {
  readonly removed: number;
  /** True when the limit was reached: call again. */
  readonly more: boolean;
  /** For each partition that stopped early, the group that stops it. */
  readonly holds: readonly LogHold[];
}

export interface RetentionStore {
  /**
   * Notes how far each partition reaches now, if it has grown and its last mark is older than
   * `everyMs`. An event is old when a mark at or beyond it is. Safe to repeat and to do at once.
   */
  mark(everyMs: number): Promise<void>;
  /**
   * Removes the oldest events, each partition in a transaction of its own, and the closed failures
   * that refer to them. A partition on which another caller is at work is passed over. A crash in
   * between leaves a log that is dense. Stops before: the newest event of the partition; the first
   * event that a group has not settled (registered or not, as long as it has a cursor or a failure;
   * one without a cursor has settled nothing); the first event with a failure that is retrying,
   * parked or dead. A group that registers from the start meanwhile begins with the first event
   * that is left, and misses none from then on.
   */
  trim(request: TrimRequest): Promise<TrimResult>;
  /** The first offset of each partition that is left; 1 where nothing was ever removed. */
  starts(): Promise<readonly number[]>;
}

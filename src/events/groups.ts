/**
 * The groups of a log for whoever looks after it: how far each is behind, what it keeps in the log,
 * and how one that nobody runs any more is removed.
 */
import type { LogHold } from '../ports/retention.ts';
import type { Store } from '../ports/store.ts';
import type { GroupState } from '../ports/streams.ts';

export interface GroupView {
  readonly group: string;
  /** Null when it is not registered (any more). */
  readonly eventTypes: readonly string[] | null;
  readonly registeredAt: string | null;
  /** Processes that were heard of within the last minute. */
  readonly workers: number;
  /** Events of the log beyond its positions, of whatever type. */
  readonly behind: number;
  /** Events that are retrying, parked or dead. */
  readonly openFailures: number;
  /** Events that retention must not remove because of it. */
  readonly keeps: number;
  /** Where it keeps most; null when it keeps nothing. */
  readonly stopsAt: Omit<LogHold, 'group'> | null;
}

export interface Groups {
  /** What keeps most comes first. */
  list(): Promise<GroupView[]>;
  /**
   * Forgets a group for good. @throws MillraceError NOT_FOUND, GROUP_STATE while a worker of it
   * lives, or it has open failures that are not to be discarded
   */
  remove(group: string, options?: { readonly discardFailures?: boolean }): Promise<void>;
}

/** A process that was frozen for less is expected back. */
const aliveWithinMs = 60_000;

export function createGroups({ log, retention, streams }: Store): Groups {
  return {
    async list() {
      // Heads last: a group can then seem to be behind, never ahead.
      const states = await streams.groups(aliveWithinMs);
      const starts = await retention.starts();
      const heads = await log.heads();
      const views = states.map((state) => viewOf(state, starts, heads));
      return views.sort((a, b) => b.keeps - a.keeps || (a.group < b.group ? -1 : 1));
    },
    remove: (group, { discardFailures = false } = {}) =>
      streams.removeGroup({ group, discardFailures, aliveWithinMs }),
  };
}

function viewOf(
  { partitions, ...rest }: GroupState,
  starts: readonly number[],
  heads: readonly number[],
): GroupView {
  let [behind, keeps, most] = [0, 0, 0];
  let stopsAt: GroupView['stopsAt'] = null;
  for (const { partition, position, firstFailure } of partitions) {
    const removed = (starts[partition] ?? 1) - 1;
    const head = heads[partition] ?? 0;
    behind += Math.max(0, head - Math.max(position, removed));
    const failed = firstFailure !== null && firstFailure <= position;
    const limit = Math.max(removed, failed ? firstFailure - 1 : position);
    const kept = Math.max(0, head - limit);
    keeps += kept;
    if (kept <= most) continue;
    most = kept;
    stopsAt = failed
      ? { partition, reason: 'failure', offset: firstFailure }
      : { partition, reason: 'position', offset: position };
  }
  return { ...rest, behind, keeps, stopsAt };
}

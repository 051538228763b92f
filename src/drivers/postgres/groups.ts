/**
 * Groups for those who look after them: where each stands, and forgetting one that nobody runs.
 */
import { MillraceError } from '../../core/errors.ts';
import type { GroupRemoval, GroupState, StreamStore } from '../../ports/streams.ts';
import type { Database } from './connection.ts';
import { sender } from './settlement.ts';
import { sql } from './statements.ts';

export function createGroupDesk(
  database: Database,
  partitions: number,
): Pick<StreamStore, 'groups' | 'removeGroup'> {
  return {
    async groups(aliveWithinMs) {
      const found = await database.rows<GroupRow>(sql.groups, [partitions, aliveWithinMs]);
      return found.map(toGroupState);
    },
    removeGroup: (request) => removeGroup(database, request),
  };
}

type GroupRow = [
  group: string,
  types: string[] | null,
  registeredAt: string | null,
  workers: number,
  openFailures: number,
  positions: string[],
  failures: (string | null)[],
];

function toGroupState(row: GroupRow): GroupState {
  const [group, eventTypes, registeredAt, workers, openFailures, positions, failures] = row;
  const partitions = positions.map((position, partition) => {
    const first = failures[partition] ?? null;
    const firstFailure = first === null ? null : Number(first);
    return { partition, position: Number(position), firstFailure };
  });
  return { group, eventTypes, registeredAt, workers, openFailures, partitions };
}

async function removeGroup(database: Database, request: GroupRemoval): Promise<void> {
  const { group, aliveWithinMs, discardFailures } = request;
  await database.transaction(async (client) => {
    const ask = sender(client);
    await ask(sql.lockGroups);
    const [found] = await ask<[number, number]>(sql.groupInUse, [group, aliveWithinMs]);
    const [workers, failures] = found as [number, number];
    if (workers > 0) {
      throw new MillraceError('GROUP_STATE', `Group '${group}' has ${workers} live workers.`, {
        fix: 'Stop the processes that subscribe to it; a minute after the last it can be removed.',
      });
    }
    if (failures > 0 && !discardFailures) {
      throw new MillraceError(
        'GROUP_STATE',
        `Group '${group}' has ${failures} failed or parked events that nobody dealt with.`,
        { fix: 'Deal with its dead letters, or say that they are to be discarded with it.' },
      );
    }
    const [removed] = await ask<[boolean]>(sql.removeGroup, [group]);
    if (removed?.[0]) return;
    throw new MillraceError('NOT_FOUND', `There is no group '${group}'.`, {
      fix: '`millrace groups list` shows them.',
    });
  });
}

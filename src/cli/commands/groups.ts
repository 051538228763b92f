/** `millrace groups list|remove`: how far groups are behind, and what they keep in the log. */
import type { Command } from 'commander';
import type { GroupView } from '../../events/groups.ts';
import { colors as pc } from '../colors.ts';
import { hint, quote } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, withPlace } from '../options.ts';
import { table } from '../table.ts';
import { withApi } from '../with-api.ts';

interface GroupFlags extends PlaceFlags {
  readonly json?: boolean;
  readonly discardFailures?: boolean;
}

export function addGroups(program: Command, cli: Cli): void {
  const groups = program.command('groups').description('who reads the log, and what each keeps');
  withPlace(groups.command('list'))
    .description('every group; what keeps most of the log comes first')
    .action((flags: GroupFlags) => list(flags, cli));
  withPlace(groups.command('remove'))
    .description('forget a group that nobody runs any more; subscribed again, it is a new one')
    .argument('<group>')
    .option('--discard-failures', 'also when events of it are retrying, parked or dead letters')
    .action((group: string, flags: GroupFlags) => remove(group, flags, cli));
}

async function list(flags: GroupFlags, { io }: Cli): Promise<void> {
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: GroupView[] }>('/ops/groups');
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) return line(io.stdout, 'There are no groups.');
    line(
      io.stdout,
      table(
        ['group', 'workers', 'behind', 'failures', 'keeps', 'stops at', 'registered'],
        items.map(({ group, workers, behind, openFailures, keeps, stopsAt, registeredAt }) => [
          ...[group, workers, behind, openFailures, keeps],
          stopsAt && `partition ${stopsAt.partition}, ${stopsAt.reason} ${stopsAt.offset}`,
          registeredAt,
        ]),
      ),
    );
    const left = items.find(({ workers, keeps }) => workers === 0 && keeps > 0);
    if (left === undefined) return;
    line(io.stdout, pc.yellow(`  no process works on ${left.group}, and it keeps events`));
    line(io.stdout, hint(io, `groups remove ${quote(left.group)}`, flags));
  });
}

async function remove(group: string, flags: GroupFlags, { io }: Cli): Promise<void> {
  const body = { discardFailures: flags.discardFailures ?? false };
  await withApi(flags, async (api) => {
    const path = `/ops/groups/${encodeURIComponent(group)}/remove`;
    const answer = await api.post<{ removed: boolean }>(path, { body });
    if (flags.json) return printJson(io, answer);
    line(io.stdout, `${group} is removed; it keeps nothing of the log any more`);
  });
}

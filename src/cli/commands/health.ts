/** `millrace health`: exit code 0 when it works, 1 when it does not; for people and for probes. */
import type { Command } from 'commander';
import { printDuration } from '../../configuration/kinds.ts';
import type { Health } from '../../millrace.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes } from '../failure.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, placeOf, withPlace } from '../options.ts';
import { openApi } from '../platform.ts';
import { fields } from '../table.ts';

interface HealthFlags extends PlaceFlags {
  readonly json?: boolean;
}

export function addHealth(program: Command, cli: Cli): void {
  withPlace(program.command('health'))
    .description('how the database and the workers do')
    .action((flags: HealthFlags) => health(flags, cli));
}

function logFields({ retentionMs, removed, holds }: Health['log']): [string, string][] {
  if (retentionMs === null) return [];
  const held = holds.map(
    ({ group, partition, reason, offset }) =>
      `${group} (partition ${partition}, ${reason} ${offset})`,
  );
  const kept: [string, string] = ['log held by', held.slice(0, 5).join(', ')];
  const retention: [string, string] = [
    'log retention',
    `${printDuration(retentionMs)}, ${removed} events removed by this process`,
  ];
  return held.length === 0 ? [retention] : [retention, kept];
}

async function health(flags: HealthFlags, cli: Cli): Promise<void> {
  const api = await openApi(placeOf(flags));
  try {
    const found = await api.get<Health>('/health');
    const server = api.url;
    if (flags.json) printJson(cli.io, { server, ...found });
    else {
      const colour = { ok: pc.green, degraded: pc.yellow, down: pc.red }[found.status];
      const backlog = found.streams.reduce((sum, stream) => sum + stream.backlog, 0);
      line(cli.io.stdout, `${colour(found.status)}  ${found.problems.join('; ')}`.trimEnd());
      line(
        cli.io.stdout,
        fields([
          ['server', server ?? 'none runs: the database was opened for this answer'],
          ['mode', found.mode],
          ['workers', found.workers],
          ['streams', found.streams.length],
          ['backlog', backlog],
          ...logFields(found.log),
          ['errors', found.errors],
          ['last error', found.lastError],
        ]),
      );
    }
    if (found.status === 'down') cli.exitCode = exitCodes.failure;
  } finally {
    await api.close();
  }
}

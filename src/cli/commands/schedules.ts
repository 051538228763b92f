/** `millrace schedules …`: what is enqueued when, and when next. */
import type { Command } from 'commander';
import type { ScheduleView } from '../../jobs/schedule/schedules.ts';
import { colors as pc } from '../colors.ts';
import { hint, quote } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, withPlace } from '../options.ts';
import { type Cell, fields, table } from '../table.ts';
import { withApi } from '../with-api.ts';

interface ScheduleFlags extends PlaceFlags {
  readonly json?: boolean;
  readonly tenant?: string;
  readonly count: number;
}

export function addSchedules(program: Command, cli: Cli): void {
  const schedules = program.command('schedules').description('jobs that are enqueued by the clock');
  withPlace(schedules.command('list'))
    .description('every schedule, with its next tick')
    .option('--tenant <tenant>', 'one tenant; by default all of them')
    .action((flags: ScheduleFlags) => list(flags, cli));
  const one = (name: string, description: string) =>
    withPlace(schedules.command(name))
      .description(description)
      .argument('<name>')
      .option('--tenant <tenant>', "whose it is; 'default' by default");
  one('show', 'one schedule, whole').action((name: string, flags: ScheduleFlags) =>
    show(name, flags, cli),
  );
  one('pause', 'enqueue nothing until it is resumed').action((name: string, flags: ScheduleFlags) =>
    steer('pause', name, flags, cli),
  );
  one('resume', 'go on with the next tick from now').action((name: string, flags: ScheduleFlags) =>
    steer('resume', name, flags, cli),
  );
  one('remove', 'forget it; jobs it enqueued stay').action((name: string, flags: ScheduleFlags) =>
    remove(name, flags, cli),
  );
  one('next', 'its ticks to come')
    .option('--count <n>', 'ticks', integer(1, 1_000), 5)
    .action((name: string, flags: ScheduleFlags) => next(name, flags, cli));
}

const pathOf = (name: string) => `/ops/schedules/${encodeURIComponent(name)}`;

async function list(flags: ScheduleFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: ScheduleView[] }>('/ops/schedules', { tenant });
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) return line(io.stdout, 'There are no schedules.');
    const rows = items.map(({ name, tenantId, description, job, paused, nextAt, lastAt }) => [
      name,
      tenantId,
      description,
      job.name,
      paused ? 'paused' : nextAt,
      lastAt,
    ]);
    line(io.stdout, table(['name', 'tenant', 'when', 'job', 'next', 'last'], rows));
    const [first] = items;
    if (first) line(io.stdout, hint(io, `schedules next ${quote(first.name)}`, flags));
  });
}

async function show(name: string, flags: ScheduleFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const schedule = await api.get<ScheduleView>(pathOf(name), { tenant });
    if (flags.json) return printJson(io, schedule);
    const { rule, job, ...rest } = schedule;
    const { queue, payloadJson, priority, key } = job;
    const entries: [string, Cell][] = [
      ...Object.entries(rest),
      ['job', job.name],
      ['queue', queue],
      ['priority', priority],
      ['key', key],
    ];
    line(io.stdout, fields(entries));
    line(io.stdout, `  ${pc.dim('rule')}\n${JSON.stringify(rule, null, 2)}`);
    line(io.stdout, `  ${pc.dim('payload')}\n${payloadJson}`);
  });
}

async function steer(
  verb: 'pause' | 'resume',
  name: string,
  flags: ScheduleFlags,
  { io }: Cli,
): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const schedule = await api.post<ScheduleView>(`${pathOf(name)}/${verb}`, { tenant });
    if (flags.json) return printJson(io, schedule);
    const { paused, nextAt } = schedule;
    const next = nextAt === null ? 'it will not fire any more' : `next at ${nextAt}`;
    line(io.stdout, `${name} is ${paused ? pc.bold('paused') : `${pc.bold('open')}, ${next}`}`);
  });
}

async function remove(name: string, flags: ScheduleFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const answer = await api.post<{ removed: boolean }>(`${pathOf(name)}/remove`, { tenant });
    if (flags.json) return printJson(io, answer);
    line(io.stdout, `${name} is removed; jobs that it enqueued stay`);
  });
}

async function next(name: string, flags: ScheduleFlags, { io }: Cli): Promise<void> {
  const { tenant, count } = flags;
  await withApi(flags, async (api) => {
    const query = { count };
    const answer = await api.get<{ paused: boolean; items: string[] }>(`${pathOf(name)}/next`, {
      tenant,
      query,
    });
    if (flags.json) return printJson(io, answer);
    if (answer.items.length === 0) line(io.stdout, 'It will not fire any more.');
    for (const tick of answer.items) line(io.stdout, tick);
    if (answer.paused) line(io.stdout, pc.yellow('  paused: none of these is enqueued'));
  });
}

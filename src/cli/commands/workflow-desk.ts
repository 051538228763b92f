/** `millrace workflow dlq|stale|stats|bottlenecks|bulk`: for whoever looks after many runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { InvestigationDocument, TaskDocument } from '../../http/workflow-documents.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes, usage } from '../failure.ts';
import { hint } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer } from '../options.ts';
import { type Cell, fields, table } from '../table.ts';
import { withApi } from '../with-api.ts';
import {
  entryColumns,
  entryRow,
  runFilterOf,
  tookText,
  type WorkflowFlags,
  withRunFilter,
  withTenant,
} from '../workflow-flags.ts';

interface DeskFlags extends WorkflowFlags {
  readonly status?: string;
  readonly queue?: boolean;
  readonly notes?: string;
  readonly minutes: number;
  readonly dryRun?: boolean;
  readonly rate?: number;
}

export function addWorkflowDesk(workflow: Command, cli: Cli): void {
  const dlq = workflow.command('dlq').description('runs that somebody is to look into');
  withTenant(dlq.command('list'))
    .description('investigations, newest first; --queue: the pending ones, most urgent first')
    .option('--status <status>', 'pending, manually_resolved, permanently_failed, cancelled')
    .option('--reason <reason>', 'staleness_timeout, max_retries_exceeded, manual_dlq, …')
    .option('--queue', 'pending ones, in the order to look into them')
    .option('--limit <n>', 'entries at most', integer(1, 1_000), 50)
    .option('--after <cursor>', 'continue after a page')
    .action((flags: DeskFlags) => list(flags, cli));
  withTenant(dlq.command('show'))
    .description('one investigation, with the run as it was then')
    .argument('<entry>')
    .action((entry: string, flags: DeskFlags) => show(entry, flags, cli));
  withTenant(dlq.command('open'))
    .description('have somebody look into a run')
    .argument('<id>', 'id of the run')
    .option('--reason <reason>', 'why', 'manual_dlq')
    .option('--notes <text>')
    .action((id: string, flags: DeskFlags) => open(id, flags, cli));
  withTenant(dlq.command('resolve'))
    .description('close an investigation; the run stays as it is')
    .argument('<entry>')
    .option('--status <status>', 'manually_resolved, permanently_failed, cancelled')
    .option('--notes <text>')
    .option('--by <name>', 'who closes it')
    .action((entry: string, flags: DeskFlags) => resolve(entry, flags, cli));
  withTenant(dlq.command('stats'))
    .description('how many there are of each kind')
    .action((flags: DeskFlags) => stats(flags, cli));
  withTenant(workflow.command('stale'))
    .description('runs near or beyond a limit of their lifecycle, worst first')
    .action((flags: DeskFlags) => stale(flags, cli));
  withTenant(workflow.command('bottlenecks'))
    .description('steps by the time that they took')
    .option('--namespace <namespace>')
    .option('--name <name>', 'name of the workflow')
    .option('--minutes <n>', 'runs started in the last so many', integer(1, 525_600), 60)
    .action((flags: DeskFlags) => bottlenecks(flags, cli));
  withRunFilter(workflow.command('bulk'))
    .description('one verb for all runs of a filter')
    .argument('<verb>', 'cancel, retry, resolve_run, give_up, pause, resume')
    .option('--dry-run', 'count and show examples; change nothing')
    .option('--rate <n>', 'runs a second at most', integer(1, 100_000))
    .option('--limit <n>', 'runs at most', integer(1, 1_000_000), 10_000)
    .option('--reason <text>', 'why; stands in the audit')
    .option('--by <name>', 'who says so; stands in the audit')
    .action((verb: string, flags: DeskFlags) => bulk(verb, flags, cli));
}

interface Page {
  readonly items: readonly InvestigationDocument[];
  readonly next?: string | null;
}

async function list(flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant, status, reason, limit, after, queue = false } = flags;
  await withApi(flags, async (api) => {
    const page = queue
      ? await api.get<Page>('/v1/dlq/investigation-queue', { tenant, query: { limit } })
      : await api.get<Page>('/v1/dlq', { tenant, query: { status, reason, limit, after } });
    if (flags.json) return printJson(io, page);
    const { items, next = null } = page;
    if (items.length === 0) return line(io.stdout, 'Nothing is to be looked into.');
    const columns = queue ? [...entryColumns, 'score'] : entryColumns;
    const rows = items.map((entry) => [...entryRow(entry), ...(queue ? [entry.score] : [])]);
    line(io.stdout, table(columns, rows));
    line(io.stdout, hint(io, `workflow dlq show ${items[0]?.entry_id}`, flags));
    if (next !== null) line(io.stdout, pc.dim(`  there are more: --after ${next}`));
  });
}

const entryPath = (entry: string) => `/v1/dlq/entry/${encodeURIComponent(entry)}`;

async function show(entry: string, flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const found = await api.get<InvestigationDocument>(entryPath(entry), { tenant });
    if (flags.json) return printJson(io, found);
    const { snapshot, ...rest } = found;
    const told = ([, value]: readonly [string, unknown]) => value !== null;
    line(io.stdout, fields(Object.entries(rest).filter(told) as [string, Cell][]));
    line(io.stdout, `  ${pc.dim('snapshot')}\n${JSON.stringify(snapshot, null, 2)}`);
    line(io.stdout, hint(io, `workflow why ${found.task_uuid}`, flags));
  });
}

async function open(id: string, flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant, reason, notes } = flags;
  await withApi(flags, async (api) => {
    const path = `/v1/dlq/task/${encodeURIComponent(id)}`;
    const entry = await api.post<InvestigationDocument>(path, { tenant, body: { reason, notes } });
    if (flags.json) return printJson(io, entry);
    line(io.stdout, `opened ${pc.bold(entry.entry_id)} for ${entry.task_uuid}`);
    line(io.stdout, hint(io, `workflow dlq show ${entry.entry_id}`, flags));
  });
}

async function resolve(entry: string, flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant, status = 'manually_resolved', notes, by } = flags;
  await withApi(flags, async (api) => {
    const body = { status, notes, by };
    const closed = await api.patch<InvestigationDocument>(entryPath(entry), { tenant, body });
    if (flags.json) return printJson(io, closed);
    const { state_now: now } = closed;
    line(
      io.stdout,
      `${closed.entry_id} is ${pc.bold(closed.status)}; its run is ${now ?? 'removed'}`,
    );
    line(io.stdout, hint(io, 'workflow dlq list --queue', flags));
  });
}

async function stats(flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const found = await api.get<Record<string, unknown>>('/v1/dlq/stats', { tenant });
    if (flags.json) return printJson(io, found);
    const rows = Object.entries(found).flatMap(([name, value]): [string, Cell][] =>
      typeof value === 'object' && value !== null
        ? Object.entries(value).map(([kind, count]) => [`${name} ${kind}`, count as Cell])
        : [[name, value as Cell]],
    );
    line(io.stdout, fields(rows));
    line(io.stdout, hint(io, 'workflow dlq list --queue', flags));
  });
}

interface StaleDocument {
  readonly task_uuid: string;
  readonly namespace: string;
  readonly name: string;
  readonly state: string;
  readonly level: string;
  readonly limit: string;
  readonly limit_minutes: number;
  readonly minutes: number;
}

async function stale(flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: StaleDocument[] }>('/v1/dlq/staleness', { tenant });
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) return line(io.stdout, 'No run is near a limit of its lifecycle.');
    const columns = ['id', 'workflow', 'state', 'level', 'limit', 'minutes', 'of'];
    const rows = items.map((it) => [
      it.task_uuid,
      `${it.namespace}/${it.name}`,
      it.state,
      it.level,
      it.limit,
      it.minutes,
      it.limit_minutes,
    ]);
    line(io.stdout, table(columns, rows));
    line(io.stdout, hint(io, `workflow why ${items[0]?.task_uuid}`, flags));
  });
}

interface BottleneckDocument {
  readonly workflow: string;
  readonly step: string;
  readonly count: number;
  readonly failed_tries: number;
  readonly failed: number;
  readonly duration: { readonly p50: number | null; readonly p95: number | null };
  readonly total_ms: number;
  readonly share: number;
}

async function bottlenecks(flags: DeskFlags, { io }: Cli): Promise<void> {
  const { tenant, namespace, name, minutes } = flags;
  await withApi(flags, async (api) => {
    const query = { namespace, name, minutes };
    const found = await api.get<{ steps: BottleneckDocument[]; window: { runs: number } }>(
      '/v1/analytics/bottlenecks',
      { tenant, query },
    );
    if (flags.json) return printJson(io, found);
    line(io.stdout, `${found.window.runs} runs of the last ${minutes} minutes`);
    if (found.steps.length === 0) return;
    const columns = ['workflow', 'step', 'steps', 'failed tries', 'failed', 'p50', 'p95', 'share'];
    const time = (ms: number | null) => (ms === null ? null : tookText(ms));
    const rows = found.steps.map((it) => [
      it.workflow,
      it.step,
      it.count,
      it.failed_tries,
      it.failed,
      time(it.duration.p50),
      time(it.duration.p95),
      `${Math.round(it.share * 100)} %`,
    ]);
    line(io.stdout, table(columns, rows));
  });
}

interface BulkDocument {
  readonly id: string;
  readonly status: string;
  readonly matched: number;
  readonly more: boolean;
  readonly done: number;
  readonly failed: number;
  readonly error: string | null;
  readonly sample: readonly TaskDocument[];
}

const lookMs = 200;

async function bulk(verb: string, flags: DeskFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const { tenant, dryRun = false, rate, limit, reason, by } = flags;
  const given = Object.entries(runFilterOf(flags)).filter(([, value]) => value !== undefined);
  if (tenant === undefined && given.length === 0) {
    throw usage(
      'No filter was given: that would be every run there is.',
      'Name a tenant, a namespace, a state or another filter; see --help.',
    );
  }
  await withApi(flags, async (api) => {
    const filter = Object.fromEntries(given);
    const body = { verb, filter, dry_run: dryRun, rate_per_second: rate, limit, reason, by };
    const begun = await api.post<BulkDocument>('/v1/tasks/bulk', { tenant, body });
    let state = begun;
    let stopped = false;
    while (state.status === 'running') {
      await sleep(lookMs, undefined, { signal: stopped ? undefined : io.signal }).catch(() => {});
      if (io.signal.aborted && !stopped) {
        stopped = true;
        await api.post(`/v1/tasks/bulk/${begun.id}/stop`);
      }
      state = await api.get<BulkDocument>(`/v1/tasks/bulk/${begun.id}`);
    }
    if (state.status === 'failed') cli.exitCode = exitCodes.failure;
    if (state.status === 'stopped') cli.exitCode = exitCodes.interrupted;
    if (flags.json) return printJson(io, state);
    const count = `${state.matched.toLocaleString('en-US')}${state.more ? ' and more' : ''}`;
    if (dryRun) line(io.stdout, `${count} would be told to ${verb}`);
    else line(io.stdout, `${state.done.toLocaleString('en-US')} of ${count} told to ${verb}`);
    for (const { task_uuid: id, namespace, name, state: now } of begun.sample) {
      line(io.stdout, `  ${id}  ${namespace}/${name}  ${pc.dim(now)}`);
    }
    if (state.error !== null) line(io.stderr, `${pc.red('error')} ${state.error}`);
    if (dryRun && state.matched > 0) line(io.stdout, pc.dim('  do it: without --dry-run'));
  });
}

/** `millrace jobs bulk VERB`: one verb for all jobs of a filter, with a progress line. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { type BulkState, bulkStatuses } from '../../jobs/bulk-operation.ts';
import type { JobView } from '../../jobs/view.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes, usage } from '../failure.ts';
import { line, printJson } from '../io.ts';
import { filterOf, type JobFlags, withFilter } from '../job-filter.ts';
import { type Cli, integer } from '../options.ts';
import type { Api } from '../platform.ts';
import { startProgress } from '../progress.ts';
import { withApi } from '../with-api.ts';

interface BulkFlags extends JobFlags {
  readonly dryRun?: boolean;
  readonly rate?: number;
}

type Answer = BulkState & { readonly sample: readonly JobView[] };

const verbs = Object.keys(bulkStatuses);
const lookMs = 200;

export function addBulk(jobs: Command, cli: Cli): void {
  withFilter(jobs.command('bulk'))
    .description('one verb for all jobs of a filter')
    .argument('<verb>', verbs.join(', '))
    .option('--dry-run', 'count and show examples; change nothing')
    .option('--rate <n>', 'jobs a second at most', integer(1, 100_000))
    .option('--limit <n>', 'jobs at most', integer(1, 1_000_000), 100_000)
    .action((verb: string, flags: BulkFlags) => bulk(verb, flags, cli));
}

async function bulk(verb: string, flags: BulkFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  if (!verbs.includes(verb)) {
    throw usage(`'${verb}' is no verb for many; it can be ${verbs.join(', ')}.`);
  }
  const { tenant, dryRun = false, rate, limit } = flags;
  const filter = filterOf(flags);
  if (tenant === undefined && Object.values(filter).every((value) => value === undefined)) {
    throw usage(
      'No filter was given: that would be every job there is.',
      'Name a queue, a tenant, a status or another filter; see --help.',
    );
  }
  await withApi(flags, async (api) => {
    const body = { verb, filter, dryRun, ratePerSecond: rate, limit };
    const begun = await api.post<Answer>('/ops/jobs/bulk', { tenant, body });
    const end = dryRun ? begun : await watch(api, begun, flags, cli);
    if (end.status === 'failed') cli.exitCode = exitCodes.failure;
    if (end.status === 'stopped') cli.exitCode = exitCodes.interrupted;
    if (flags.json) return printJson(io, end);
    const { matched, done, failed, more, error } = end;
    const count = `${matched.toLocaleString('en-US')}${more ? ' and more' : ''}`;
    if (dryRun) line(io.stdout, `${count} would be changed`);
    else {
      const rest = failed > 0 ? `, ${failed} were in no state for it any more` : '';
      line(io.stdout, `${done.toLocaleString('en-US')} of ${count} changed${rest}`);
    }
    for (const { id, name, status } of begun.sample) {
      line(io.stdout, `  ${id}  ${name}  ${pc.dim(status)}`);
    }
    if (error !== null) line(io.stderr, `${pc.red('error')} ${error}`);
    if (dryRun && matched > 0) line(io.stdout, pc.dim('  do it: the same without --dry-run'));
  });
}

/** Until it ends. Ctrl-C stops it: what was changed stays changed. */
async function watch(api: Api, begun: Answer, flags: BulkFlags, { io }: Cli): Promise<Answer> {
  const path = `/ops/jobs/bulk/${begun.id}`;
  const silent = { write: () => {}, isTTY: false, columns: 100 };
  const progress = startProgress({
    output: flags.json ? silent : io.stderr,
    label: begun.verb,
    total: begun.matched,
    unit: 'jobs',
  });
  let state = begun;
  let stopped = false;
  while (state.status === 'running' || state.status === 'paused') {
    await sleep(lookMs, undefined, { signal: stopped ? undefined : io.signal }).catch(() => {});
    if (io.signal.aborted && !stopped) {
      stopped = true;
      await api.post(`${path}/stop`);
    }
    state = await api.get<Answer>(path);
    progress.update(state.done + state.failed, state.status === 'paused' ? 'paused' : '');
  }
  progress.end();
  return state;
}

/** `millrace jobs …`: look at jobs, ask why one does not run, change one or many, add one. */
import type { Command } from 'commander';
import { parseJson } from '../../core/json.ts';
import type { Why } from '../../jobs/reason.ts';
import type { JobView } from '../../jobs/view.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes, reportFailure } from '../failure.ts';
import { commandText, hint } from '../hint.ts';
import { inputText, line, printJson } from '../io.ts';
import { filterOf, type JobFlags, withFilter } from '../job-filter.ts';
import { type Cli, integer, type PlaceFlags, withPlace } from '../options.ts';
import { type Cell, fields, printable, table } from '../table.ts';
import { withApi } from '../with-api.ts';
import { addBulk } from './jobs-bulk.ts';

interface EnqueueFlags extends PlaceFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly queue?: string;
  readonly payload: string;
  readonly key?: string;
  readonly priority?: string;
  readonly delay?: number;
  readonly attempts?: number;
}

const verbs = {
  cancel: 'stop it for good, wherever it waits or runs',
  retry: 'run dead, cancelled or quarantined ones again, their tries counted anew',
  run: 'run delayed and retrying ones now',
  remove: 'forget ones that do not run, with their results',
} as const;

const dayMs = 86_400_000;

export function addJobs(program: Command, cli: Cli): void {
  const jobs = program.command('jobs').description('look at jobs, and decide about them');
  withFilter(jobs.command('list'))
    .description('jobs by filter; dead ones newest first, waiting ones in the order they will run')
    .option('--limit <n>', 'jobs at most', integer(1, 1_000), 50)
    .option('--after <cursor>', 'continue after a page')
    .action((flags: JobFlags) => list(flags, cli));
  const one = (name: string, description: string) =>
    withPlace(jobs.command(name))
      .description(description)
      .option('--tenant <tenant>', 'whose it must be');
  one('show', 'one job, whole')
    .argument('<id>')
    .action((id: string, flags: JobFlags) => show(id, flags, cli));
  one('why', 'what holds a job up, and the command that clears it')
    .argument('<id>')
    .action((id: string, flags: JobFlags) => why(id, flags, cli));
  for (const [verb, description] of Object.entries(verbs)) {
    one(verb, description)
      .argument('<ids...>')
      .action((ids: string[], flags: JobFlags) => change(verb, ids, flags, cli));
  }
  addBulk(jobs, cli);
  withPlace(jobs.command('enqueue'))
    .description('add a job; its handler checks the payload')
    .argument('<name>', 'name of the definition')
    .requiredOption('--payload <json>', 'JSON, or @file, or - for standard input')
    .option('--queue <queue>', "the queue; 'default' by default")
    .option('--tenant <tenant>', "whose it is; 'default' by default")
    .option('--key <key>', 'fairness and limit key')
    .option('--priority <n>', 'smaller runs first; 0 by default')
    .option('--delay <ms>', 'not before so many milliseconds', integer(0, 3_650 * dayMs))
    .option('--attempts <n>', 'tries in all', integer(1, 1_000))
    .action((name: string, flags: EnqueueFlags) => enqueue(name, flags, cli));
}

interface Page {
  readonly items: readonly JobView[];
  readonly next: string | null;
}

/** A page may be short because the store looked long enough: so many are asked for at most. */
const pagesMax = 20;

async function list(flags: JobFlags, { io }: Cli): Promise<void> {
  const { tenant, limit } = flags;
  await withApi(flags, async (api) => {
    const items: JobView[] = [];
    let after = flags.after;
    let next: string | null = null;
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const query = { ...filterOf(flags), limit: limit - items.length, after };
      const page = await api.get<Page>('/ops/jobs', { tenant, query });
      items.push(...page.items);
      next = page.next;
      if (next === null || items.length >= limit) break;
      after = next;
    }
    if (flags.json) return printJson(io, { items, next });
    if (items.length === 0 && next === null) return line(io.stdout, 'There are no such jobs.');
    line(io.stdout, table(columns, items.map(rowOf)));
    const [first] = items;
    if (first) line(io.stdout, hint(io, `jobs why ${first.id}`, flags));
    if (next !== null) line(io.stdout, pc.dim(`  there are more: --after ${next}`));
  });
}

const columns = ['id', 'queue', 'name', 'tenant', 'status', 'tries', 'enqueued at', 'note'];

function rowOf(job: JobView): Cell[] {
  const { id, queue, name, tenantId, status, failures, enqueuedAt } = job;
  return [id, queue, name, tenantId, status, failures, enqueuedAt, noteOf(job)];
}

/** What one wants to know of a job in this state. */
function noteOf({ status, error, runAt, startedAt, finishedAt, waitsFor }: JobView): Cell {
  switch (status) {
    case 'dead':
    case 'quarantined':
      return error?.message ?? finishedAt;
    case 'retrying':
      return `${runAt}  ${error?.message ?? ''}`.trimEnd();
    case 'delayed':
      return `until ${runAt}`;
    case 'blocked':
      return `waits for ${waitsFor.join(', ')}`;
    case 'running':
      return `since ${startedAt}`;
    default:
      return finishedAt;
  }
}

const pathOf = (id: string) => `/ops/jobs/${encodeURIComponent(id)}`;

async function show(id: string, flags: JobFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const job = await api.get<JobView>(pathOf(id), { tenant });
    if (flags.json) return printJson(io, job);
    const { payload, result, progress, options, error, waitsFor, ...rest } = job;
    const more: [string, Cell][] = [
      ['waits for', waitsFor.join(', ')],
      ['error', error && `${error.message}${error.code === null ? '' : ` [${error.code}]`}`],
      ['fingerprint', error?.fingerprint],
    ];
    const told = ([, value]: readonly [string, unknown]) => value !== null && value !== '';
    line(io.stdout, fields([...Object.entries(rest), ...more].filter(told) as [string, Cell][]));
    const documents = { payload, result, progress, options };
    for (const [name, document] of Object.entries(documents)) {
      if (document === null || (name === 'options' && Object.keys(options).length === 0)) continue;
      line(io.stdout, `  ${pc.dim(name)}\n${JSON.stringify(document, null, 2)}`);
    }
    if (error?.stack) line(io.stdout, pc.dim(printable(error.stack)));
    line(io.stdout, hint(io, `jobs why ${id}`, flags));
  });
}

async function why(id: string, flags: JobFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const answer = await api.get<Why>(`${pathOf(id)}/why`, { tenant });
    if (flags.json) return printJson(io, answer);
    line(io.stdout, `${pc.bold(answer.id)} is ${pc.bold(answer.status)}`);
    for (const { text, command } of answer.reasons) {
      line(io.stdout, `  ${printable(text)}`);
      if (command !== null) line(io.stdout, `    ${pc.cyan(commandText(io, command, flags))}`);
    }
  });
}

async function change(
  verb: string,
  ids: readonly string[],
  flags: JobFlags,
  cli: Cli,
): Promise<void> {
  const { tenant, json = false } = flags;
  await withApi(flags, async (api) => {
    const changed: { id: string; status: string }[] = [];
    for (const id of ids) {
      try {
        const answer = await api.post<Changed>(`${pathOf(id)}/${verb}`, { tenant });
        const status = answer.job?.status ?? 'removed';
        changed.push({ id, status });
        if (!json) line(cli.io.stdout, `${verb}: ${id} is ${pc.bold(status)}`);
      } catch (error) {
        // Of one job the error says it all; of several the others are dealt with first.
        if (ids.length === 1) throw error;
        cli.exitCode = exitCodes.failure;
        reportFailure(error, { ...cli.io, stdout: cli.io.stderr }, json, 'jobs');
      }
    }
    if (json) printJson(cli.io, { verb, changed });
    else if (api.url === null && changed.length > 0 && (verb === 'retry' || verb === 'run')) {
      line(cli.io.stdout, pc.dim('  no server runs here: it runs when a worker starts'));
    }
  });
}

interface Changed {
  readonly id: string;
  readonly job: JobView | null;
}

async function enqueue(name: string, flags: EnqueueFlags, { io }: Cli): Promise<void> {
  const { tenant, queue, key, priority, delay, attempts } = flags;
  const payload = parseJson(await inputText(flags.payload, io.stdin));
  const body = {
    name,
    payload,
    queue,
    key,
    attempts,
    ...(priority !== undefined && { priority: Number(priority) }),
    ...(delay !== undefined && { delayMs: delay }),
  };
  await withApi(flags, async (api) => {
    const answer = await api.post<{ id: string; duplicate: boolean }>('/ops/jobs', {
      tenant,
      body,
    });
    if (flags.json) return printJson(io, answer);
    line(io.stdout, `enqueued ${pc.bold(answer.id)}`);
    line(io.stdout, hint(io, `jobs why ${answer.id}`, flags));
  });
}

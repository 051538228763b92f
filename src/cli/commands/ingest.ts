/**
 * `millrace ingest FILE…`: reads NDJSON, CSV and log lines. Where a server runs on the directory it
 * gets them over its API; an embedded database that nobody runs is opened, and the pipeline works
 * until they went through; a server of your own (--url) gets the events, and its workers the work.
 */
import type { Command } from 'commander';
import { colors as pc } from '../colors.ts';
import { usage } from '../failure.ts';
import { finish } from '../finish.ts';
import { hint, quote } from '../hint.ts';
import {
  type IngestFile,
  type IngestReport,
  ingestFiles,
  localSink,
  remoteSink,
} from '../ingest-run.ts';
import { type Io, line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, placeOf, withPlace } from '../options.ts';
import { takeBaseline } from '../pipeline.ts';
import {
  apiOver,
  dispatchTo,
  isBusy,
  loadApp,
  openPlatform,
  type Place,
  type Platform,
  waitForServer,
} from '../platform.ts';
import { amount, duration } from '../progress.ts';
import { findServer } from '../server-file.ts';
import { printSummary } from '../summary.ts';

interface IngestFlags extends PlaceFlags {
  readonly source?: string;
  readonly tenant: string;
  readonly domain?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addIngest(program: Command, cli: Cli): void {
  withPlace(program.command('ingest'))
    .description('read exceptions from NDJSON, CSV or log files; - reads standard input')
    .argument('<files...>', 'files to read')
    .option(
      '--source <name>',
      'where the records come from; one like ndjson, csv, plain or openssh also says how to ' +
        'read them, which is found out from the first lines by default',
    )
    .option('--tenant <tenant>', 'whose exceptions these are', 'default')
    .option('--domain <domain>', 'domain pack for records that name none')
    .option('--limit <n>', 'records at most', integer(1, 1_000_000_000))
    .action((paths: readonly string[], flags: IngestFlags) => ingest(paths, flags, cli));
}

async function ingest(paths: readonly string[], flags: IngestFlags, { io }: Cli): Promise<void> {
  if (paths.filter((path) => path === '-').length > 1)
    throw usage('Standard input was named twice.');
  const { tenant, domain, source } = flags;
  const files = paths.map((path) => ({ path, tenant, domain, source }));
  const run = { files, flags, io };
  const place = placeOf(flags);
  const running = place.url === undefined ? ((await findServer(place.data))?.url ?? null) : null;
  if (running !== null) return ingestInto(running, run);
  let platform: Platform;
  try {
    platform = await openPlatform(place, { work: place.url === undefined });
  } catch (error) {
    const other = isBusy(error) ? await waitForServer(place.data) : null;
    if (other === null) throw error;
    return ingestInto(other, run);
  }
  try {
    await ingestHere(platform, place, run);
  } finally {
    await platform.close();
  }
}

interface Run {
  readonly files: readonly IngestFile[];
  readonly flags: IngestFlags;
  readonly io: Io;
}

async function ingestHere(platform: Platform, place: Place, run: Run): Promise<void> {
  const { files, flags, io } = run;
  const { limit } = flags;
  const quiet = flags.json === true;
  const works = place.url === undefined;
  if (works) await platform.mill.start();
  const baseline = await takeBaseline(platform);
  const report = await ingestFiles(files, {
    io,
    read: platform.app.read,
    sink: localSink(platform),
    limit,
    quiet,
  });
  if (!works) {
    if (quiet) printJson(io, { ingest: report });
    else printStored(run, report, 'the workers of this database process them');
    return;
  }
  const finished = await finish(platform, io, { baseline, quiet });
  if (quiet) printJson(io, { ingest: report, ...finished });
  else printSummary(io, { ingest: report, ...finished }, run.flags);
}

async function ingestInto(url: string, run: Run): Promise<void> {
  const { files, flags, io } = run;
  const quiet = flags.json === true;
  const { limit } = flags;
  const api = apiOver(dispatchTo(url), url, async () => {});
  if (!quiet) line(io.stderr, pc.dim(`sending to the server at ${url}`));
  const { readExceptions: read } = await loadApp();
  const report = await ingestFiles(files, { io, read, sink: remoteSink(api), limit, quiet });
  if (quiet) printJson(io, { url, ingest: report });
  else printStored(run, report, `the server at ${url} processes them`);
}

function printStored({ io, flags }: Run, report: IngestReport, where: string): void {
  const fresh = report.exceptions - report.duplicates;
  line(
    io.stdout,
    `${pc.green(amount(fresh, 'exceptions stored'))} in ${duration(report.seconds)}; ${where}`,
  );
  const rest = [
    [report.duplicates, 'were there already'],
    [report.informational, 'lines report no fault'],
    [report.rejected, 'lines were rejected'],
  ] as const;
  for (const [count, what] of rest) if (count > 0) line(io.stdout, `  ${amount(count, what)}`);
  const tenant = report.files[0]?.tenant ?? 'default';
  line(io.stdout, hint(io, `exceptions list --tenant ${quote(tenant)}`, flags));
}

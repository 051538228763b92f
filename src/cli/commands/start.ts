/**
 * `millrace start`: everything in one process. The embedded Postgres (or --url), the workers, the
 * API on loopback; the sample goes through the pipeline, the summary is printed, and then it serves
 * until Ctrl-C. With --once it ends after the summary.
 */
import { type Command, Option } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import type { AnyWorkflowDefinition } from '../../workflows/definition.ts';
import { colors as pc } from '../colors.ts';
import { type DefinitionFlags, loadDefinitions, withDefinitions } from '../definitions.ts';
import { exitCodes } from '../failure.ts';
import { finish } from '../finish.ts';
import { hint } from '../hint.ts';
import { type IngestReport, ingestFiles, localSink } from '../ingest-run.ts';
import { type Io, line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, placeOf, withBroker, withPlace } from '../options.ts';
import { takeBaseline } from '../pipeline.ts';
import { isBusy, openPlatform, type Place, type Platform } from '../platform.ts';
import { findServer, removeServerFile, writeServerFile } from '../server-file.ts';
import { printSummary, type Summary } from '../summary.ts';

interface StartFlags extends PlaceFlags, DefinitionFlags {
  readonly once?: boolean;
  readonly port: number;
  readonly sample: boolean;
  readonly json?: boolean;
}

const portDefault = 4280;
/** Ports tried after the wanted one when they are taken. */
const portTries = 20;

export function addStart(program: Command, cli: Cli): void {
  withDefinitions(withBroker(withPlace(program.command('start'))))
    .description('start the database, the workers and the API; ingest the sample; serve')
    .option('--once', 'end after the summary')
    .addOption(
      new Option('--port <port>', 'port of the API on 127.0.0.1; the next free one is taken')
        .env('MILLRACE_PORT')
        .default(portDefault)
        .argParser(integer(0, 65_535)),
    )
    .option('--sample', 'ingest the sample that comes with it', true)
    .option('--no-sample', 'ingest nothing')
    .action((flags: StartFlags) => start(flags, cli));
}

async function start(flags: StartFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const place = placeOf(flags);
  const quiet = flags.json === true;
  const say = (text: string) => (quiet ? undefined : line(io.stderr, text));
  say(pc.dim(place.url === undefined ? `starting Postgres in ${place.data}` : 'connecting'));
  const workflows = (await loadDefinitions(flags)) ?? [];
  const platform = await open(place, io, workflows);
  let address: string | null = null;
  try {
    await platform.mill.start();
    const { broker } = platform.mill;
    if (broker)
      say(pc.dim(`events travel by ${broker.broker.name}, topic ${broker.topics.template}`));
    if (!flags.once) address = await serve(platform, place, flags.port, say);
    const summary = await ingestSample(platform, io, { sample: flags.sample, quiet });
    if (quiet) printJson(io, { url: address, ...summary });
    else printSummary(io, summary, flags);
    if (flags.once && summary.pipeline?.complete === false) cli.exitCode = exitCodes.interrupted;
    if (address === null || io.signal.aborted) return;
    line(io.stderr, `\n${pc.green('serving')} ${address}  ${pc.dim('(Ctrl-C stops)')}`);
    say(pc.dim(`  curl ${address}/health`));
    say(hint(io, 'ingest my.log --tenant acme', flags));
    await aborted(io.signal);
    say(pc.dim('stopping: finishing what is under way'));
  } finally {
    if (address !== null) await removeServerFile(place.data, platform.mill.workerId);
    await platform.close();
  }
}

async function open(
  place: Place,
  io: Io,
  workflows: readonly AnyWorkflowDefinition[],
): Promise<Platform> {
  try {
    return await openPlatform(place, {
      work: true,
      workflows,
      onError: (error, where) => reportSurvived(io, error, where),
    });
  } catch (error) {
    if (!isBusy(error)) throw error;
    const running = await findServer(place.data);
    if (running === null) throw error;
    throw new MillraceError(
      'EMBEDDED_BUSY',
      `It runs already: ${running.url}, process ${running.pid}.`,
      {
        fix: `Use that one, stop it with Ctrl-C in its terminal, or give another --data directory.`,
      },
    );
  }
}

/** Errors that the engine survives are worth a line, not an end. */
function reportSurvived(io: Io, error: unknown, where: string): void {
  const message = error instanceof Error ? error.message : String(error);
  line(io.stderr, `${pc.yellow('recovering')} ${where}: ${message}`);
}

async function serve(
  { server, mill }: Platform,
  place: Place,
  wanted: number,
  say: (text: string) => void,
): Promise<string> {
  for (let port = wanted; ; port += 1) {
    try {
      const url = await server.listen(port);
      if (port !== wanted) say(pc.yellow(`port ${wanted} is taken, so the API listens on ${port}`));
      if (place.url === undefined) {
        await writeServerFile(place.data, { url, pid: process.pid, workerId: mill.workerId });
      }
      return url;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EADDRINUSE') throw error;
      if (port >= Math.min(wanted + portTries, 65_535)) {
        throw new MillraceError('CONFIG_INVALID', `Ports ${wanted} to ${port} are all taken.`, {
          cause: error,
          fix: 'Choose another one with --port.',
        });
      }
    }
  }
}

async function ingestSample(
  platform: Platform,
  io: Io,
  { sample, quiet }: { readonly sample: boolean; readonly quiet: boolean },
): Promise<Summary> {
  const baseline = await takeBaseline(platform);
  let ingest: IngestReport | null = null;
  if (sample) {
    const { read, sample: files } = platform.app;
    ingest = await ingestFiles(files, { io, read, sink: localSink(platform), quiet });
  }
  return { ingest, ...(await finish(platform, io, { baseline, quiet })) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener('abort', () => resolve(), { once: true }),
  );
}

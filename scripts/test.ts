/**
 * Runs the tests: `npm test [-- unit|int|faults] [part of a path…] [--coverage]`.
 *
 * Test files run two at a time, each in a process of its own; one embedded Postgres serves all of
 * them. The last line is `N passed, N failed`, after everything that was skipped and why.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEmbeddedPostgres } from '../src/drivers/postgres/embedded/launcher.ts';
import { coverageFloor, coverageGlobs, type LoadedFile, measureCoverage } from './coverage.ts';
import { allTestFiles, selectTestFiles, type TestFile } from './test-files.ts';

const flags = process.argv.slice(2).filter((word) => word.startsWith('-'));
const words = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const withCoverage = flags.includes('--coverage');

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
process.once('SIGTERM', () => interrupted.abort());

/** After this long without a result, files that still run are stopped and reported by name. */
const silenceMsMax = 300_000 * Math.max(1, Number(process.env.MILLRACE_FAULTS_SCALE ?? 1));

const slowestShown = 15;

const timeLimit = new URL('../test/support/time-limit.ts', import.meta.url);

interface Tally {
  passed: number;
  failed: number;
  /** Reason of a skip → names of the tests. */
  readonly skipped: Map<string, string[]>;
  /** Test file → seconds. */
  readonly seconds: Map<string, number>;
  coverage: readonly LoadedFile[] | null;
}

async function main(): Promise<number> {
  const unknown = flags.find((flag) => flag !== '--coverage');
  const files = selectTestFiles(allTestFiles(), words);
  if (unknown !== undefined || files.length === 0) {
    const problem = unknown === undefined ? `no test file matches: ${words.join(' ')}` : unknown;
    console.error(
      `${problem}\nusage: npm test [-- unit|int|faults] [part of a path…] [--coverage]`,
    );
    return 2;
  }
  // The temporary directory of all tests, so that one that is killed leaves nothing behind.
  const workspace = mkdtempSync(path.join(tmpdir(), 'millrace-run-'));
  chmodSync(workspace, 0o755); // the embedded server of root runs as somebody else
  process.env.TMPDIR = workspace;
  const tally: Tally = {
    passed: 0,
    failed: 0,
    skipped: new Map(),
    seconds: new Map(),
    coverage: null,
  };
  const stopServer = await startSharedServer(files, workspace);
  try {
    await runFiles(files, tally);
    return report(files, tally);
  } finally {
    await stopServer();
    if (interrupted.signal.aborted) await sleep(1000); // servers of killed tests are ending
    rmSync(workspace, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Saves a second per file that needs a database; test/support/database.ts reads the URL. */
async function startSharedServer(
  files: readonly TestFile[],
  workspace: string,
): Promise<() => Promise<void>> {
  if (!files.some((file) => file.kind === 'int')) return async () => undefined;
  const directory = path.join(workspace, 'postgres');
  const server = await startEmbeddedPostgres({ directory, settings: { max_connections: '200' } });
  process.env.MILLRACE_TEST_URL = server.url;
  return () => server.stop('immediate'); // throw-away data: no checkpoint needed
}

async function runFiles(files: readonly TestFile[], tally: Tally): Promise<void> {
  const stream = run({
    concurrency: 2,
    coverage: withCoverage,
    files: files.map((file) => path.resolve(file.path)),
    execArgv: ['--conditions=millrace-source', `--import=${timeLimit}`],
    coverageIncludeGlobs: coverageGlobs.include,
    coverageExcludeGlobs: coverageGlobs.exclude,
    signal: interrupted.signal,
  });
  stream.on('test:pass', ({ name, details, skip }) => {
    if (skip !== undefined && skip !== false) noteSkip(tally, name, skip);
    else if (details.type !== 'suite') tally.passed += 1;
  });
  stream.on('test:fail', ({ details, todo }) => {
    if (details.type !== 'suite' && todo === undefined) tally.failed += 1;
  });
  stream.on('test:coverage', ({ summary }) => {
    tally.coverage = summary.files;
  });
  stream.on('test:summary', ({ file, duration_ms: ms }) => {
    if (file !== undefined) tally.seconds.set(path.relative('.', file), ms / 1000);
  });
  const watchdog = setTimeout(() => {
    const left = files.map((file) => file.path).filter((file) => !tally.seconds.has(file));
    console.error(`no result for ${silenceMsMax / 1000} s: stopping ${left.join(', ')}`);
    interrupted.abort();
  }, silenceMsMax);
  stream.on('test:complete', () => watchdog.refresh());
  const shown = stream.compose(new spec());
  for await (const text of shown) process.stdout.write(text);
  clearTimeout(watchdog);
}

function noteSkip(tally: Tally, name: string, skip: string | true): void {
  const reason = skip === true ? 'no reason given' : skip;
  tally.skipped.set(reason, [...(tally.skipped.get(reason) ?? []), name]);
}

function report(files: readonly TestFile[], tally: Tally): number {
  const untouched = allTestFiles().length - files.length;
  if (words.length > 0 && untouched > 0)
    console.log(`\n${untouched} test files not selected by: ${words.join(' ')}`);
  if (tally.skipped.size > 0) console.log('\nskipped:');
  for (const [reason, names] of tally.skipped) {
    const shown = names.length > 3 ? [...names.slice(0, 3), '…'] : names;
    console.log(`  ${names.length} × ${reason} (${shown.join('; ')})`);
  }
  if (tally.seconds.size > slowestShown) reportSlowest(tally.seconds);
  const covered = tally.coverage === null || reportCoverage(tally.coverage);
  if (interrupted.signal.aborted) console.log('\ninterrupted');
  console.log(`\n${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed === 0 && covered && !interrupted.signal.aborted ? 0 : 1;
}

/** Where the time of a long run went. */
function reportSlowest(seconds: ReadonlyMap<string, number>): void {
  const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, slowestShown);
  const sum = [...seconds.values()].reduce((total, one) => total + one, 0);
  console.log(
    `\n${seconds.size} files took ${Math.round(sum)} s, one after the other; the slowest:`,
  );
  for (const [file, took] of slowest) console.log(`  ${took.toFixed(0).padStart(4)} s  ${file}`);
}

function reportCoverage(files: readonly LoadedFile[]): boolean {
  const { percent, covered, total, notLoaded, lowest } = measureCoverage(files);
  console.log(`\n${percent.toFixed(1)} % of lines covered (${covered} of ${total})`);
  console.log(
    `lowest: ${lowest.map((file) => `${file.path} ${file.percent.toFixed(0)} %`).join(', ')}`,
  );
  if (notLoaded.length > 0) console.log(`loaded by no test: ${notLoaded.join(', ')}`);
  if (percent >= coverageFloor) return true;
  console.log(`below the floor of ${coverageFloor} %`);
  return false;
}

// Not by itself: what an interrupted test left running may still hold our streams.
process.exit(await main());

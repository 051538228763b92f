/**
 * Reading files into the platform: batches from the app's reader, sent to a sink, counted, with a
 * progress bar and every rejected line told with its reason. Shared by `ingest` and `start`.
 */
import { stat } from 'node:fs/promises';
import { MillraceError } from '../core/errors.ts';
import type { Io } from './io.ts';
import type { Api, ExceptionApplication, Platform } from './platform.ts';
import { amount, type Progress, startProgress } from './progress.ts';

export type ReadExceptions = ExceptionApplication['read'];
type Batch = ReturnType<ReadExceptions> extends AsyncIterable<infer B> ? B : never;
type SourceRecord = Batch['records'][number];
export type SourceInput = NonNullable<SourceRecord['input']>;

/** Takes records in; answers with how many were there already. */
export type Sink = (
  tenant: string,
  inputs: readonly SourceInput[],
) => Promise<{ duplicates: number }>;

export interface IngestFile {
  /** A path, or `-` for standard input. */
  readonly path: string;
  readonly tenant: string;
  readonly domain?: string | undefined;
  readonly source?: string | undefined;
}

export interface Rejection {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

export interface FileReport {
  readonly file: string;
  readonly tenant: string;
  records: number;
  exceptions: number;
  informational: number;
  rejected: number;
  duplicates: number;
}

export interface IngestReport {
  readonly files: readonly FileReport[];
  readonly exceptions: number;
  readonly informational: number;
  readonly rejected: number;
  /** Of the exceptions, those that were stored before. */
  readonly duplicates: number;
  /** The first 1,000. */
  readonly rejections: readonly Rejection[];
  readonly seconds: number;
  /** False when a signal or --limit ended it early. */
  readonly complete: boolean;
}

export interface IngestOptions {
  readonly io: Io;
  readonly read: ReadExceptions;
  readonly sink: Sink;
  /** Records at most, of all files together. */
  readonly limit?: number | undefined;
  /** No progress and no lines about rejections: one JSON document is to be printed. */
  readonly quiet: boolean;
}

/** Sent and not yet durable: reading goes on while the database writes. */
const batchesUnderWayMax = 4;
const rejectionsMax = 1_000;
/** Told line by line; more of them would hide the rest. */
const rejectionsShown = 20;

export async function ingestFiles(
  files: readonly IngestFile[],
  options: IngestOptions,
): Promise<IngestReport> {
  const startedAt = performance.now();
  const reports: FileReport[] = [];
  const rejections: Rejection[] = [];
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let complete = true;
  for (const file of files) {
    const report: FileReport = {
      file: file.path === '-' ? 'standard input' : file.path,
      tenant: file.tenant,
      records: 0,
      exceptions: 0,
      informational: 0,
      rejected: 0,
      duplicates: 0,
    };
    reports.push(report);
    complete = (await ingestFile(file, { ...options, report, rejections, left })) && complete;
    left -= report.records;
    if (left <= 0 || options.io.signal.aborted) break;
  }
  const sum = (name: 'exceptions' | 'informational' | 'rejected' | 'duplicates') =>
    reports.reduce((total, report) => total + report[name], 0);
  return {
    files: reports,
    exceptions: sum('exceptions'),
    informational: sum('informational'),
    rejected: sum('rejected'),
    duplicates: sum('duplicates'),
    rejections,
    seconds: (performance.now() - startedAt) / 1000,
    complete: complete && reports.length === files.length,
  };
}

interface FileRun extends IngestOptions {
  readonly report: FileReport;
  readonly rejections: Rejection[];
  readonly left: number;
}

async function ingestFile(file: IngestFile, run: FileRun): Promise<boolean> {
  const { io, report, sink } = run;
  const bytes = file.path === '-' ? null : (await stat(file.path)).size;
  const progress = startProgress({
    output: run.quiet ? silent : io.stderr,
    label: `reading ${shortName(report.file)}`,
    total: bytes,
    unit: 'B',
  });
  let left = run.left;
  try {
    const batches = run.read(file.path === '-' ? io.stdin : file.path, {
      tenant: file.tenant,
      ...(file.domain !== undefined && { domain: file.domain }),
      ...(file.source !== undefined && { source: file.source }),
    });
    const underWay: Promise<unknown>[] = [];
    for await (const { records, bytesRead } of batches) {
      const taken = records.slice(0, left);
      left -= taken.length;
      if (underWay.length >= batchesUnderWayMax) await underWay.shift();
      const sent = send(taken, sink, file.tenant).then((result) => {
        count(taken, result, run, progress);
        progress.update(bytesRead, noteOf(report));
      });
      // Awaited above or below; until then its failure must not count as unhandled.
      sent.catch(() => {});
      underWay.push(sent);
      if (left <= 0 || io.signal.aborted) break;
    }
    await Promise.all(underWay);
    return left > 0 && !io.signal.aborted;
  } finally {
    progress.end();
  }
}

interface Sent {
  readonly duplicates: number;
  /** Records that were read and then refused where they were to be stored, with the reason. */
  readonly refused: ReadonlyMap<SourceRecord, string>;
}

const recordFaults = new Set([
  'EVENT_INVALID',
  'EVENT_TOO_LARGE',
  'PAYLOAD_NOT_JSON',
  'REQUEST_INVALID',
]);

/** One bad record must not take its batch with it: halves are tried until it stands alone. */
async function send(records: readonly SourceRecord[], sink: Sink, tenant: string): Promise<Sent> {
  const taken = records.filter(({ input }) => input !== undefined);
  const [only] = taken;
  if (only === undefined) return { duplicates: 0, refused: new Map() };
  try {
    const inputs = taken.flatMap(({ input }) => input ?? []);
    return { ...(await sink(tenant, inputs)), refused: new Map() };
  } catch (error) {
    if (!(error instanceof MillraceError) || !recordFaults.has(error.code)) throw error;
    if (taken.length === 1) return { duplicates: 0, refused: new Map([[only, error.message]]) };
    const middle = Math.ceil(taken.length / 2);
    const first = await send(taken.slice(0, middle), sink, tenant);
    const second = await send(taken.slice(middle), sink, tenant);
    return {
      duplicates: first.duplicates + second.duplicates,
      refused: new Map([...first.refused, ...second.refused]),
    };
  }
}

function count(
  records: readonly SourceRecord[],
  { duplicates, refused }: Sent,
  { report, rejections }: FileRun,
  progress: Progress,
): void {
  report.duplicates += duplicates;
  for (const record of records) {
    const { line } = record;
    const reason = refused.get(record) ?? record.reason ?? 'it cannot be read';
    const outcome = refused.has(record) ? 'rejected' : record.outcome;
    report.records += 1;
    if (outcome === 'exception') report.exceptions += 1;
    else if (outcome === 'informational') report.informational += 1;
    else {
      report.rejected += 1;
      if (rejections.length < rejectionsMax) rejections.push({ file: report.file, line, reason });
      if (report.rejected <= rejectionsShown) {
        progress.say(`  rejected  ${shortName(report.file)}:${line}  ${reason}`);
      } else if (report.rejected === rejectionsShown + 1) {
        progress.say('  rejected  more lines; --json lists the first 1,000 of them');
      }
    }
  }
}

function noteOf({ exceptions, informational, rejected }: FileReport): string {
  const parts = [amount(exceptions, 'exceptions')];
  if (informational > 0) parts.push(amount(informational, 'informational'));
  if (rejected > 0) parts.push(amount(rejected, 'rejected'));
  return parts.join(', ');
}

const shortName = (path: string) => path.split('/').at(-1) ?? path;

const silent = { write: () => {}, isTTY: false, columns: 100 };

/** Straight into the log of this process. */
export function localSink({ app }: Pick<Platform, 'app'>): Sink {
  return async (tenant, inputs) => {
    const accepted = await app.accept(
      tenant,
      inputs.map(({ eventId, payload }) => ({ ...payload, eventId })),
    );
    return { duplicates: accepted.filter(({ duplicate }) => duplicate).length };
  };
}

/** Half of what the server takes, as JSON grows when it is escaped. */
const bodyCharsMax = 400_000;
const bodyItemsMax = 1_000;

/** Through the API of the server that has the database. */
export function remoteSink(api: Api): Sink {
  return async (tenant, inputs) => {
    let duplicates = 0;
    for (const exceptions of chunks(inputs)) {
      const path = `/exceptions/${encodeURIComponent(tenant)}`;
      const answer = await api.post<{ duplicates: number }>(path, {
        body: { exceptions, ingestion_method: 'file' },
      });
      duplicates += answer.duplicates;
    }
    return { duplicates };
  };
}

function* chunks(inputs: readonly SourceInput[]): Generator<unknown[]> {
  let chunk: unknown[] = [];
  let chars = 0;
  for (const { eventId, payload } of inputs) {
    const item = { ...payload, eventId };
    const size = JSON.stringify(item).length;
    if (chunk.length > 0 && (chars + size > bodyCharsMax || chunk.length >= bodyItemsMax)) {
      yield chunk;
      chunk = [];
      chars = 0;
    }
    chunk.push(item);
    chars += size;
  }
  if (chunk.length > 0) yield chunk;
}

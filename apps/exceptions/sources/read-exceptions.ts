/**
 * Reads NDJSON, CSV and logs as exceptions, in batches, in bounded memory whatever the size of the
 * input: one chunk, one batch, one open record. What cannot be read is rejected with its line and
 * reason, and reading goes on. Called by `millrace ingest`, by the sample and by tests.
 */
import { MillraceError } from 'millrace';
import { createCsvReader } from './csv-records.ts';
import { type Detected, detect, kindNamed, sourceKinds } from './detect.ts';
import { createJsonReader } from './json-records.ts';
import {
  countBytes,
  decoderFor,
  type OpenInput,
  openInput,
  peek,
  readLines,
  type SourceInput,
} from './lines.ts';
import { createLogReader } from './log-records.ts';
import type { ReadContext, ReadRecord, RecordReader } from './record.ts';

export interface ReadOptions {
  readonly tenant: string;
  /** What the source system is called. The name of a source kind says the kind as well. */
  readonly source?: string | undefined;
  /** One of sourceKinds. Default: found out from the first lines. */
  readonly kind?: string | undefined;
  /** For records that name none. Default: none, and `operations` for faults in logs. */
  readonly domain?: string | undefined;
  /** Ids by content, so that reading twice stores once. Default true. */
  readonly stableIds?: boolean | undefined;
  /** Records per batch. Default 1,000. */
  readonly batchMax?: number | undefined;
  /** Characters per line. Default 524,288; longer ones are rejected. */
  readonly lineMax?: number | undefined;
  /** Times without a year are not after this. Default: the file's last change, else now. */
  readonly referenceMs?: number | undefined;
}

export interface ReadBatch {
  readonly records: readonly ReadRecord[];
  /** So far, for a progress bar; `bytesTotal` is known for files. */
  readonly bytesRead: number;
  readonly bytesTotal: number | undefined;
  /** Which kind the input was found to be: ndjson, csv, plain, or a log format's name. */
  readonly kind: string;
}

const sampleBytes = 65_536;
const sampleLinesMax = 200;

/**
 * @param input a path, or chunks of bytes or text.
 * @throws MillraceError SOURCE_INVALID when the input as a whole cannot be read.
 * @example
 * for await (const { records } of readExceptions('auth.log', { tenant: 'acme' })) {
 *   for (const { outcome, line, reason, input } of records) {
 *     if (outcome === 'exception') await publish({ tenantId: 'acme', ...input });
 *     else if (outcome === 'rejected') console.error(`${line}: ${reason}`);
 *   }
 * }
 */
export async function* readExceptions(
  input: SourceInput,
  options: ReadOptions,
): AsyncIterable<ReadBatch> {
  const { batchMax = 1_000, lineMax = 524_288 } = options;
  for (const [name, value] of Object.entries({ batchMax, lineMax })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new MillraceError('CONFIG_INVALID', `${name} is ${value}, not a whole number from 1`);
  }
  const opened = await openInput(input);
  let bytesRead = 0;
  const counted = countBytes(opened.chunks, (bytes) => {
    bytesRead += bytes;
  });
  const { head, chunks } = await peek(counted, sampleBytes);
  const detected = detectKind(head, opened, options);
  const context = contextOf(opened, detected, options);
  const batchOf = (records: readonly ReadRecord[]): ReadBatch => ({
    records,
    bytesRead,
    bytesTotal: opened.sizeBytes,
    kind: detected.format?.name ?? detected.kind,
  });

  const reader = createReader(detected, context, lineMax);
  const records: ReadRecord[] = [];
  let line = 0;
  for await (const texts of readLines(chunks, decoderFor(head), lineMax)) {
    for (const text of texts) {
      line += 1;
      reader.push(text, line, records);
      if (records.length < batchMax) continue;
      yield batchOf(records.splice(0, batchMax));
    }
  }
  reader.finish(records);
  while (records.length > 0) yield batchOf(records.splice(0, batchMax));
}

function createReader(detected: Detected, context: ReadContext, lineMax: number): RecordReader {
  const { kind, format, delimiter = ',' } = detected;
  if (kind === 'csv') return createCsvReader(context, { delimiter, lineMax });
  const logs = createLogReader(context, { lineMax, plain: kind === 'plain', format });
  return kind === 'ndjson' ? createJsonReader(context, logs, lineMax) : logs;
}

function detectKind(head: Uint8Array, opened: OpenInput, options: ReadOptions): Detected {
  const text = decoderFor(head).decode(head);
  const lines = text.split(/\r?\n/);
  // The last line of a full sample is cut somewhere.
  if (head.length === sampleBytes && lines.length > 1) lines.pop();
  const sample = lines.slice(0, sampleLinesMax);
  const named =
    options.kind ??
    (options.source !== undefined && sourceKinds.includes(options.source)
      ? options.source
      : undefined);
  return named === undefined ? detect(head, sample, opened.file) : kindNamed(named, sample);
}

function contextOf(opened: OpenInput, detected: Detected, options: ReadOptions): ReadContext {
  const nowMs = Date.now();
  return {
    tenant: options.tenant,
    source: options.source ?? detected.source,
    domain: options.domain,
    file: opened.file,
    stableIds: options.stableIds ?? true,
    referenceMs: options.referenceMs ?? Math.min(opened.modifiedMs ?? nowMs, nowMs),
    readAt: new Date(nowMs).toISOString(),
  };
}

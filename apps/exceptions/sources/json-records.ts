/**
 * NDJSON: one JSON object per line, which is an exception record of a source system, an envelope
 * with such a record in `rawPayload`, or a log line. What intake can decide is left to intake.
 */
import { MillraceError, parseJson } from 'millrace';
import { type Severity, severities } from '../vocabulary.ts';
import { isMembers, jsonLogOf, readJsonLog } from './json-log.ts';
import {
  exception,
  excerpt,
  type IngestedPayload,
  type ReadContext,
  type ReadRecord,
  type RecordReader,
  rejected,
} from './record.ts';

type Members = Readonly<Record<string, unknown>>;

/** Of a payload in an event, less what the envelope takes. */
/** Room for the envelope around the record. */
const recordLimits = { depthMax: 60, keysMax: 9_900, root: 'record' } as const;
const recordBytesMax = 1_048_576 - 4_096;
const typeNames = [
  'exceptionType',
  'exception_type',
  'type',
  'rawPayload',
  'raw_payload',
  'exceptionId',
];

export function createJsonReader(
  context: ReadContext,
  logs: RecordReader,
  lineMax: number,
): RecordReader {
  const pushLog = (text: string, line: number, out: ReadRecord[]) => {
    logs.push(text.trim(), line, out);
    logs.finish(out);
  };
  return {
    push(text, line, out) {
      if (text === null) {
        out.push(rejected(line, `longer than ${lineMax} characters`));
        return;
      }
      if (text.trim() === '') return;
      let value: unknown;
      try {
        value = parseJson(text, recordLimits);
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        // Of a log line texts are kept, so a time in nanoseconds, beyond 2^53, does no harm.
        if (readJsonLog(text) !== undefined) pushLog(text, line, out);
        else out.push(rejected(line, `${oneLine(error.message)}: ${excerpt(text)}`));
        return;
      }
      if (!isMembers(value)) {
        out.push(rejected(line, `is no JSON object: ${excerpt(text)}`));
        return;
      }
      const typed = typeNames.some((name) => Object.hasOwn(value, name));
      if (!typed && jsonLogOf(value) !== undefined) pushLog(text, line, out);
      else out.push(toException(context, value, { line, text, method: 'ndjson' }));
    },
    finish() {},
  };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[.:]$/, '');
}

export interface RecordOrigin {
  readonly line: number;
  /** As read; the stable ids are made of it. */
  readonly text: string;
  readonly method: 'ndjson' | 'csv';
  /** Of names that are in the record but not in the text. */
  readonly charsMore?: number;
}

/** Shared with CSV, where all values are texts. */
export function toException(
  context: ReadContext,
  record: Members,
  { line, text, method, charsMore = 0 }: RecordOrigin,
): ReadRecord {
  if (Object.keys(record).length === 0) return rejected(line, 'has no fields');
  // A number may be seven times as long when it is written out, 1E20, and a character three bytes.
  if (text.length + charsMore > recordBytesMax / 7) {
    const bytes = Buffer.byteLength(JSON.stringify(record));
    if (bytes > recordBytesMax) {
      return rejected(line, `takes ${bytes} bytes; an event can hold ${recordBytesMax}`);
    }
  }
  const raw = record.rawPayload ?? record.raw_payload;
  if (raw !== undefined && !isMembers(raw)) return rejected(line, 'rawPayload is no JSON object');
  const id = record.exceptionId ?? record.exception_id;
  const ownId = typeof id === 'number' ? String(id) : id;
  if (ownId !== undefined && !isIdentifier(ownId)) {
    return rejected(
      line,
      `exceptionId is ${excerpt(JSON.stringify(id))}, not a text of 1 to 256 characters`,
    );
  }
  const payload =
    raw === undefined
      ? { ...named(context, record), ingestionMethod: method, rawPayload: record }
      : {
          ...named(context, record),
          ...envelope(record),
          ingestionMethod: method,
          rawPayload: raw,
        };
  return exception(context, line, text, payload, ownId);
}

/** What the log and keys can carry. */
function isIdentifier(value: unknown): value is string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are refused
  return typeof value === 'string' && /^[^\x00-\x1f\x7f]{1,256}$/.test(value);
}

/** What the record itself says is more particular than what is said of the whole input. */
function named(context: ReadContext, record: Members): Pick<IngestedPayload, 'source' | 'domain'> {
  const text = (name: string) => {
    const value = record[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return {
    source: text('sourceSystem') ?? text('source_system') ?? text('source') ?? context.source,
    domain: text('domain') ?? context.domain,
  };
}

function envelope(record: Members): Partial<IngestedPayload> {
  const found: Record<string, string> = {};
  const take = (field: string, ...names: string[]) => {
    for (const name of names) {
      const value = record[name];
      if (typeof value === 'string' && value !== '') found[field] ??= value;
    }
  };
  take('tenantId', 'tenantId', 'tenant_id');
  take('exceptionType', 'exceptionType', 'exception_type', 'type');
  take('occurredAt', 'timestamp', 'occurredAt', 'occurred_at');
  const severity = record.severity;
  if (typeof severity === 'string' && isSeverity(severity.toUpperCase())) {
    found.severity = severity.toUpperCase();
  }
  return found;
}

function isSeverity(text: string): text is Severity {
  return (severities as readonly string[]).includes(text);
}

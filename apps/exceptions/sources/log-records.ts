/**
 * Log lines to records, one line at a time. A record stays open until the next line that begins
 * one, so that stack traces join the line they belong to; finish() closes the last. Lines without
 * time and level that continue nothing are rejected, unless the source is plain text.
 */
import { classify } from './classify.ts';
import { faultDomain } from './fault-types.ts';
import { readJsonLog } from './json-log.ts';
import { parseLogLine } from './log-formats.ts';
import type { LogFormat, LogLine } from './log-line.ts';
import { toIsoTime } from './log-time.ts';
import {
  exception,
  excerpt,
  informational,
  type ReadContext,
  type ReadRecord,
  type RecordReader,
  rejected,
} from './record.ts';

/** Of a trace, kept with its record; what is beyond is counted only. */
const traceLinesMax = 100;
const traceCharsMax = 8_192;

/** After so many lines of one format in a row the next is read as one without a second look. */
const streakTrusted = 64;
/** Of a line's text in the payload, which must fit into an event of 1 MiB. */
const textCharsMax = 32_768;

interface OpenRecord {
  readonly line: number;
  readonly text: string;
  readonly log: LogLine;
  readonly format: string;
  readonly trace: string[];
  traceChars: number;
  traceLines: number;
  inTraceback: boolean;
}

/** Indented lines, `at …`, `Caused by: …`, Python's and Go's traces, `java.io.IOException: …`. */
const continuation = new RegExp(
  '^(?:\\s|[})\\]]+[;,]?$|at \\S|Caused by: |Suppressed: |\\.\\.\\. \\d+ more|Traceback' +
    ' \\(most|File "|goroutine \\d|(?:[\\w$]+\\.)+[A-Z][\\w$]*(?:Exception|Error|Throwable' +
    '|Failure|Fault)\\b|[A-Z]\\w*(?:Exception|Error)(?::|$)|-- |---+)',
);
/** What ends a Python traceback: `module.Name: text`. */
const tracebackEnd = /^[\w.]+(?:: .*)?$/;
const thrown =
  /^(?:Caused by: )?(?:[\w$]+\.)*[A-Z]\w*(?:Exception|Error|Throwable|Failure|Fault|Timeout)\b/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals' colours are control sequences
const colours = /\x1b\[[\d;]*m/g;

export interface LogReaderOptions {
  readonly lineMax: number;
  /** Takes lines without time and level as messages. */
  readonly plain: boolean;
  /** Tried first. */
  readonly format?: LogFormat | undefined;
}

export function createLogReader(context: ReadContext, options: LogReaderOptions): RecordReader {
  let open: OpenRecord | undefined;
  let format = options.format;
  let streak = 0;

  const timeOf = createTimeReader(context.referenceMs);
  const close = (out: ReadRecord[]) => {
    if (open !== undefined) out.push(toRecord(context, open, timeOf));
    open = undefined;
  };
  const begin = (text: string, line: number, log: LogLine, name: string, out: ReadRecord[]) => {
    close(out);
    open = {
      line,
      text,
      log,
      format: name,
      trace: [],
      traceChars: 0,
      traceLines: 0,
      inTraceback: false,
    };
  };

  const reject = (line: number, reason: string, out: ReadRecord[]) => {
    close(out);
    out.push(rejected(line, reason));
  };

  return {
    push(text, line, out) {
      if (text === null) return reject(line, `longer than ${options.lineMax} characters`, out);
      if (text === '' || text.trim() === '') return;
      if (text.includes('\0')) {
        return reject(line, `holds NUL characters, so it is no text: ${excerpt(text)}`, out);
      }
      const plain = text.includes('\x1b') ? text.replace(colours, '') : text;
      if (open !== undefined && plain.charCodeAt(0) <= 32 && continuation.test(plain)) {
        return attach(open, plain);
      }
      if (plain.startsWith('{')) {
        const json = readJsonLog(plain);
        if (json !== undefined) {
          begin(text, line, json.log, 'json', out);
          for (const traced of json.trace) attach(open as unknown as OpenRecord, traced);
          return;
        }
      }
      const parsed = parseLogLine(plain, format, streak >= streakTrusted);
      if (parsed !== undefined) {
        streak = parsed.format === format ? streak + 1 : 0;
        format = parsed.format;
        if (parsed.line.continues === true && open !== undefined) attach(open, parsed.line.message);
        else begin(text, line, parsed.line, parsed.format.name, out);
        return;
      }
      if (open !== undefined && continues(open, plain)) return attach(open, plain);
      if (options.plain) {
        begin(text, line, { time: '', level: undefined, message: plain }, 'plain', out);
        return;
      }
      reject(line, `no time or level that a known log format has: ${excerpt(text)}`, out);
    },
    finish: close,
  };
}

function continues(record: OpenRecord, text: string): boolean {
  if (continuation.test(text)) return true;
  return record.inTraceback && tracebackEnd.test(text);
}

function attach(record: OpenRecord, text: string): void {
  record.traceLines += 1;
  if (text.startsWith('Traceback (most')) record.inTraceback = true;
  else if (record.inTraceback && !/^\s/.test(text)) record.inTraceback = false;
  if (record.trace.length >= traceLinesMax) return;
  if (record.traceChars + text.length > traceCharsMax) return;
  record.trace.push(text);
  record.traceChars += text.length;
}

type TimeReader = (text: string) => string | undefined;

/** Neighbours often have the same time. */
function createTimeReader(referenceMs: number): TimeReader {
  let text = '';
  let time: string | undefined;
  return (next) => {
    if (next !== text) {
      time = toIsoTime(next, referenceMs);
      text = next;
    }
    return time;
  };
}

function toRecord(context: ReadContext, record: OpenRecord, timeOf: TimeReader): ReadRecord {
  const { log, line, text, trace } = record;
  const fault = classify(
    log,
    trace.find((traced) => thrown.test(traced)),
  );
  if (fault === null) return informational(line);
  return exception(context, line, text, {
    source: context.source,
    domain: context.domain ?? faultDomain,
    exceptionType: fault.type,
    severity: fault.severity,
    occurredAt: log.time === '' ? undefined : timeOf(log.time),
    ingestionMethod: 'log',
    rawPayload: rawPayload(context, record),
  });
}

function clip(text: string): string {
  return text.length <= textCharsMax ? text : `${text.slice(0, textCharsMax).toWellFormed()}…`;
}

/** Names as packs/domains/operations.yaml declares them. */
function rawPayload(context: ReadContext, record: OpenRecord): Record<string, unknown> {
  const { log, trace, traceLines } = record;
  const raw: Record<string, unknown> = {
    message: clip(log.message),
    text: record.text === log.message ? undefined : clip(record.text),
    line: record.line,
    format: record.format,
    file: context.file,
    host: log.host,
    service: log.service,
    component: log.component,
    processId: log.processId,
    level: log.level?.name,
    statusCode: log.statusCode,
    ...detailsOf(log.message),
  };
  if (traceLines > 0) {
    raw.trace = trace.join('\n');
    if (traceLines > trace.length) raw.traceLinesLeftOut = traceLines - trace.length;
  }
  return raw;
}

const user = new RegExp(
  '(?:\\buser=|\\bfor (?:invalid user )?|\\b[Ii]nvalid user |\\buser (?:name )?")' +
    '([\\w.@$\\\\-]{1,64})(?=[\\s",;)\\]]|$)',
);
const address = new RegExp(
  '\\brhost=([\\w.:-]+)|(?:\\b|/)(\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3})\\b|\\b(?:from' +
    '|client:?) ([\\da-fA-F]*:[\\da-fA-F:]+:[\\da-fA-F]+)',
);
const repeated = /\bmessage repeated (\d+) times|\bPAM (\d+) more authentication/;
const security = /user|password|auth|login|client|rhost|from|address|connect/i;

/** Who and from where, as far as the message says. */
function detailsOf(message: string): Record<string, unknown> {
  if (!security.test(message)) return {};
  const found = address.exec(message);
  const times = repeated.exec(message);
  return {
    user: user.exec(message)?.[1],
    remoteAddress: found?.[1] ?? found?.[2] ?? found?.[3],
    repeated: times === null ? undefined : Number(times[1] ?? times[2]),
  };
}

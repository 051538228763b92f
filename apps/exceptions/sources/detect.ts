/**
 * Tells from the first lines of an input what it is: NDJSON, CSV or a log, and of which system.
 */
import { extname } from 'node:path';
import { MillraceError } from 'millrace';
import { suggest } from '../packs/suggest.ts';
import { csvDelimiters } from './csv-records.ts';
import { logFormats, parseLogLine } from './log-formats.ts';
import type { LogFormat } from './log-line.ts';

export interface Detected {
  readonly kind: 'ndjson' | 'csv' | 'log' | 'plain';
  /** What the exceptions' source is called unless the caller knows better. */
  readonly source: string;
  readonly format?: LogFormat | undefined;
  readonly delimiter?: string | undefined;
}

/** Names that may be given instead of detecting. */
export const sourceKinds: readonly string[] = [
  'ndjson',
  'csv',
  'log',
  'plain',
  'openssh',
  ...new Set(logFormats.map(({ name }) => name)),
];

/** @throws MillraceError SOURCE_INVALID for a name that is no kind. */
export function kindNamed(name: string, sample: readonly string[]): Detected {
  if (!sourceKinds.includes(name)) {
    throw new MillraceError(
      'SOURCE_INVALID',
      `'${name}' is no kind of source${suggest(name, sourceKinds)}`,
      {
        fix: `Give one of ${sourceKinds.join(', ')}, or none to have it detected.`,
      },
    );
  }
  if (name === 'ndjson' || name === 'plain') return { kind: name, source: name };
  if (name === 'csv')
    return { kind: 'csv', source: 'csv', delimiter: delimiterOf(sample)?.delimiter ?? ',' };
  if (name === 'log') return { ...detectLog(sample), kind: 'log' };
  const format = logFormats.find(
    (candidate) => candidate.name === (name === 'openssh' ? 'syslog' : name),
  );
  return { kind: 'log', source: name, format };
}

/**
 * @param sample the first lines, some hundred at most.
 * @throws MillraceError SOURCE_INVALID for one JSON document and for compressed or binary input.
 */
export function detect(
  head: Uint8Array,
  sample: readonly string[],
  file: string | undefined,
): Detected {
  refuseBinary(head);
  const extension = file === undefined ? '' : extname(file).toLowerCase();
  const lines = sample.filter((line) => line.trim() !== '');
  if (lines.length === 0) return { kind: extension === '.csv' ? 'csv' : 'log', source: 'unknown' };
  refuseDocument(lines);
  const objects = lines.filter((line) => /^\s*\{/.test(line)).length;
  if (extension === '.ndjson' || extension === '.jsonl' || objects * 2 >= lines.length) {
    return { kind: 'ndjson', source: 'ndjson' };
  }
  const log = detectLog(lines);
  const csv = delimiterOf(lines);
  if (csv !== undefined && (extension === '.csv' || extension === '.tsv' || log.kind === 'plain')) {
    return { kind: 'csv', source: 'csv', delimiter: csv.delimiter };
  }
  return log;
}

function refuseBinary(head: Uint8Array): void {
  if (head[0] === 0x1f && head[1] === 0x8b) {
    throw new MillraceError('SOURCE_INVALID', 'the input is compressed with gzip', {
      fix: 'Pass it through gunzip -c first.',
    });
  }
  const marked = (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);
  if (marked) return;
  let zeros = 0;
  for (const byte of head) if (byte === 0) zeros += 1;
  // A log may have a torn line of zeros after a power cut; a binary file has them everywhere.
  if (zeros * 10 > head.length) {
    throw new MillraceError('SOURCE_INVALID', 'the input is binary, not text', {
      fix: 'Give NDJSON, CSV or a text log.',
    });
  }
}

function refuseDocument(lines: readonly string[]): void {
  const first = (lines[0] as string).trim();
  const second = lines[1]?.trim() ?? '';
  const array = first === '[' ? /^[{\]]/.test(second) : /^\[\s*\{/.test(first);
  if (!array && !(first === '{' && second.startsWith('"'))) return;
  throw new MillraceError('SOURCE_INVALID', 'the input is one JSON document, not one per line', {
    fix: array ? "Convert it first: jq -c '.[]' file.json" : 'Convert it first: jq -c . file.json',
  });
}

/** The format of most lines. Plain when fewer than one line in ten has any. */
function detectLog(lines: readonly string[]): Detected {
  const counts = new Map<LogFormat, number>();
  let format: LogFormat | undefined;
  let parsed = 0;
  let ssh = 0;
  for (const line of lines) {
    const found = parseLogLine(line, format);
    if (found === undefined) continue;
    format = found.format;
    parsed += 1;
    counts.set(format, (counts.get(format) ?? 0) + 1);
    if (found.line.service === 'sshd') ssh += 1;
  }
  if (parsed * 10 < lines.length) return { kind: 'plain', source: 'plain' };
  const [best] = [...counts].sort((a, b) => b[1] - a[1])[0] as [LogFormat, number];
  const source = best.name === 'syslog' && ssh * 2 > parsed ? 'openssh' : best.name;
  return {
    kind: 'log',
    source: source === 'dated' || source === 'level-first' ? 'log' : source,
    format: best,
  };
}

/** The delimiter that gives a header of names and the same number of cells on most rows. */
function delimiterOf(
  lines: readonly string[],
): { readonly delimiter: string; readonly columns: number } | undefined {
  // Quoted cells may hold delimiters and line ends.
  const [header = '', ...rows] = lines
    .join('\n')
    .replace(/"(?:[^"]|"")*"/g, 'q')
    .split('\n');
  let best: { delimiter: string; columns: number } | undefined;
  for (const delimiter of csvDelimiters) {
    const names = (lines[0] ?? '')
      .split(delimiter)
      .map((name) => name.replace(/^\uFEFF?"?|"?$/g, ''));
    const columns = header.split(delimiter).length;
    if (columns < 2 || !names.every((name) => /^ ?[A-Za-z_][\w .()#/-]{0,63}$/.test(name)))
      continue;
    const fitting = rows.filter((row) => row.split(delimiter).length === columns).length;
    if (fitting * 10 < rows.length * 6) continue;
    if (columns > (best?.columns ?? 1)) best = { delimiter, columns };
  }
  return best;
}

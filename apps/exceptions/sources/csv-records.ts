/**
 * CSV with a header line to exception records: RFC 4180, any of four delimiters. Empty cells are
 * left out of a record. A row that cannot be read is rejected and reading goes on with the next
 * line: csv-parse alone takes everything behind a quote that never ends as one cell, so rows are
 * told apart here, and it only reads those that have quotes.
 */
import { parse } from 'csv-parse/sync';
import { MillraceError } from 'millrace';
import { toException } from './json-records.ts';
import {
  excerpt,
  type ReadContext,
  type ReadRecord,
  type RecordReader,
  rejected,
} from './record.ts';

export const csvDelimiters = [',', ';', '\t', '|'] as const;

/** Of a row whose cells hold line ends. */
const rowLinesMax = 50;
const columnsMax = 2_000;

export interface CsvOptions {
  readonly delimiter: string;
  readonly lineMax: number;
}

interface Line {
  readonly text: string;
  readonly line: number;
}

/** push throws SOURCE_INVALID when the header names a column twice or not at all. */
export function createCsvReader(context: ReadContext, options: CsvOptions): RecordReader {
  const { delimiter, lineMax } = options;
  let columns: readonly string[] | undefined;
  let namesChars = 0;
  /** Lines of a row whose quotes are open. */
  let open: Line[] = [];

  const take = (cells: readonly string[], line: number, out: ReadRecord[]) => {
    if (columns === undefined) {
      columns = checkHeader(cells);
      namesChars = columns.join('').length;
      return;
    }
    const record = toRecord(columns, cells);
    if (typeof record === 'string') out.push(rejected(line, record));
    else {
      const text = JSON.stringify(cells);
      out.push(toException(context, record, { line, text, method: 'csv', charsMore: namesChars }));
    }
  };
  /** The row cannot be read: its first line is rejected, the others are rows of their own. */
  const giveUp = (reason: string, out: ReadRecord[]) => {
    const [first, ...rest] = open as [Line, ...Line[]];
    open = [];
    out.push(rejected(first.line, `${reason}: ${excerpt(first.text)}`));
    for (const { text, line } of rest) add(text, line, out);
  };
  const add = (text: string, line: number, out: ReadRecord[]) => {
    if (open.length === 0) {
      if (text.trim() === '') return;
      if (!text.includes('"')) {
        take(
          text.split(delimiter).map((cell) => cell.trim()),
          line,
          out,
        );
        return;
      }
    }
    open.push({ text, line });
    const row = open.map((part) => part.text).join('\n');
    if (quotesIn(row) % 2 === 1) {
      if (open.length >= rowLinesMax || row.length > lineMax) giveUp('a quote does not end', out);
      return;
    }
    const cells = parseRow(row, delimiter);
    if (typeof cells === 'string') {
      giveUp(cells, out);
      return;
    }
    const begin = (open[0] as Line).line;
    open = [];
    take(cells, begin, out);
  };

  return {
    push(text, line, out) {
      if (text !== null) add(line === 1 ? text.replace(/^\uFEFF/, '') : text, line, out);
      else out.push(rejected(line, `longer than ${lineMax} characters`));
    },
    finish(out) {
      while (open.length > 0) giveUp('a quote does not end', out);
    },
  };
}

function quotesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) count += 1;
  return count;
}

/** The cells, or what is wrong. */
function parseRow(row: string, delimiter: string): readonly string[] | string {
  try {
    const [cells] = parse(row, { delimiter, relax_column_count: true, trim: true });
    return cells ?? [];
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return error.message.replace(/\s+/g, ' ').replace(/ at line \d+.*$/, '');
  }
}

function checkHeader(header: readonly string[]): readonly string[] {
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  let problem = '';
  if (header.includes('')) problem = `column ${header.indexOf('') + 1} has no name`;
  else if (twice !== undefined) problem = `column '${twice}' is named twice`;
  else if (header.includes('__proto__')) problem = "a column cannot be named '__proto__'";
  else if (header.some((name) => name.includes('\0'))) problem = 'a name holds NUL characters';
  else if (header.length > columnsMax) problem = `it has more than ${columnsMax} columns`;
  if (problem === '') return header;
  throw new MillraceError('SOURCE_INVALID', `the header of the CSV: ${problem}`, {
    fix: 'Give each column a name of its own in the first line.',
  });
}

/** The cells by name, or why they are no record. */
function toRecord(
  columns: readonly string[],
  cells: readonly string[],
): Readonly<Record<string, string>> | string {
  if (cells.length !== columns.length) {
    return `has ${cells.length} cells; the header has ${columns.length}`;
  }
  const record: Record<string, string> = {};
  for (let i = 0; i < cells.length; i += 1) {
    const cell = cells[i] as string;
    if (cell.includes('\0')) return `${columns[i]} holds NUL characters`;
    if (cell !== '') record[columns[i] as string] = cell;
  }
  return record;
}

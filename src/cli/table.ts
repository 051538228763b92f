/** Tables and lists for people; without a terminal the same without colours. */
import Table from 'cli-table3';
import { colors as pc } from './colors.ts';

export type Cell = string | number | boolean | null | undefined;

/** Rows under a header, as wide as they need; cells longer than `cellMax` are cut. */
export function table(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  cellMax = 60,
): string {
  const made = new Table({
    head: head.map((title) => pc.bold(title)),
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    style: { head: [], border: pc.isColorSupported ? ['grey'] : [], compact: true },
    colAligns: head.map((_, i) =>
      rows.every((row) => typeof row[i] === 'number') ? 'right' : 'left',
    ),
  });
  for (const row of rows) made.push(row.map((cell) => show(cell, cellMax)));
  return made.toString();
}

/** Control characters of stored data must not steer the terminal; lines stay lines. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, ' ');
}

function show(cell: Cell, cellMax: number): string {
  if (cell === null || cell === undefined || cell === '') return pc.dim('–');
  if (typeof cell === 'number') return cell.toLocaleString('en-US');
  const text = printable(String(cell)).replaceAll('\n', ' ');
  return text.length > cellMax ? `${text.slice(0, cellMax - 1)}…` : text;
}

/** `name  value` lines, the values in one column. */
export function fields(entries: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries
    .map(([name, value]) => `  ${pc.dim(name.padEnd(width))}  ${show(value, 400)}`)
    .join('\n');
}

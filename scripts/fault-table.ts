/** What the fault tests wrote to their ledger, as a table: one line per fault. */
import { readFileSync } from 'node:fs';
import Table from 'cli-table3';
import type { LedgerLine } from '../test/faults/ledger.ts';

/** Empty when no fault test ran. */
export function faultTable(file: string): string {
  const lines = readFileSync(file, 'utf8').trim().split('\n').filter(Boolean);
  if (lines.length === 0) return '';
  const table = new Table({ head: ['fault', 'injected', 'events', 'found', 'recovery', 'seed'] });
  for (const text of lines) {
    const line = JSON.parse(text) as LedgerLine;
    const found = Object.entries(line.verdict).filter(([, value]) => value !== 0);
    const shown = found.map(([name, value]) => `${name} ${value}`).join(', ') || 'nothing wrong';
    table.push([line.fault, line.injected, line.events, shown, worst(line), line.seed]);
  }
  return table.toString();
}

function worst({ recoveriesMs = [] }: LedgerLine): string {
  return recoveriesMs.length === 0 ? '' : `${(Math.max(...recoveriesMs) / 1000).toFixed(1)} s`;
}

/** The figures of the job queues as a table for people. */
import Table from 'cli-table3';
import { thousands } from '../statistics.ts';
import type { JobsFigures, ProductFigures } from './report.ts';

const rows: readonly [string, (of: ProductFigures) => string][] = [
  ['drained/s while a process produces', (of) => thousands(of.producingPerSecond)],
  ['the same in one process', (of) => thousands(of.oneProcessPerSecond)],
  ['drained/s of a backlog', (of) => thousands(of.backlogPerSecond)],
  ['bulk enqueue/s, 1,000 a call', (of) => thousands(of.bulkPerSecond)],
  ['single enqueue/s, 100 callers', (of) => thousands(of.singlePerSecond)],
  ['jobs of a run', (of) => thousands(of.jobs)],
  ['idle to handler, p50 / p99 ms', (of) => `${of.idleP50Ms} / ${of.idleP99Ms}`],
  ['across processes, p50 / p99 ms', (of) => `${of.crossProcessP50Ms} / ${of.crossProcessP99Ms}`],
  ['WAL or AOF bytes a job', (of) => thousands(of.bytesPerJob)],
  ['pinned horizon, first → last /s', pinned],
  ['limits never reached cost', (of) => (of.limits ? percent(of.limits.limitsCost) : '–')],
  ['runs again after a kill', recovery],
];

export function jobsTable({ products }: JobsFigures): string {
  const columns = Object.entries(products);
  const table = new Table({
    head: ['', ...columns.map(([name]) => name)],
    colAligns: ['left', ...columns.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const [title, show] of rows) table.push([title, ...columns.map(([, of]) => show(of))]);
  return table.toString();
}

function pinned({ pinned: one }: ProductFigures): string {
  if (one === null) return '–';
  const ratio = one.ratio === null ? '' : ` (${one.ratio} of free)`;
  return `${thousands(one.firstPerSecond)} → ${thousands(one.lastPerSecond)}${ratio}`;
}

function recovery({ recovery: one, recoveryByDefault }: ProductFigures): string {
  if (one === null) return recoveryByDefault === null ? '–' : `default ${recoveryByDefault}`;
  return `p99 ${one.recoverySecondsP99} s, worst ${one.recoverySecondsMax} s`;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

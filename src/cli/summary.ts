/**
 * The summary that a person reads after an ingestion: what came in, what became of it, how fast,
 * and what needs a look, each with its reason. Made from the report that /ops/statistics gives.
 */

import type { StatisticsReport } from '../http/statistics.ts';
import { colors as pc } from './colors.ts';
import { type HintPlace, hint, quote } from './hint.ts';
import type { IngestReport } from './ingest-run.ts';
import { type Io, line, type Output } from './io.ts';
import type { Drained } from './pipeline.ts';
import { amount, duration } from './progress.ts';
import { table } from './table.ts';

export interface Summary {
  readonly ingest: IngestReport | null;
  readonly pipeline: Drained | null;
  readonly statistics: StatisticsReport;
}

const lettersShown = 20;

export function printSummary(io: Io, summary: Summary, place: HintPlace): void {
  const { ingest, pipeline, statistics } = summary;
  const { app } = statistics;
  const output = io.stdout;
  line(output);
  if (ingest !== null) printIngest(output, ingest);
  line(output, pc.bold('Exceptions'));
  line(
    output,
    sideBySide([
      ['stage', countsOf(app.byStage)],
      ['severity', countsOf(app.bySeverity)],
      ['outcome', countsOf(app.byOutcome)],
      ['status', countsOf(app.byStatus)],
    ]),
  );
  printWork(output, statistics, pipeline);
  const example = printLetters(output, statistics);
  if (example !== null) line(output, hint(io, `dead-letters show ${example}`, place));
}

function printIngest(output: Output, ingest: IngestReport): void {
  line(output, pc.bold('Read'));
  line(
    output,
    table(
      ['file', 'tenant', 'exceptions', 'there before', 'informational', 'rejected'],
      ingest.files.map((file) => [
        file.file.split('/').at(-1),
        file.tenant,
        file.exceptions,
        file.duplicates,
        file.informational,
        file.rejected,
      ]),
    ),
  );
  const byReason = new Map<string, number>();
  for (const { reason } of ingest.rejections) {
    const [kind = reason] = reason.split(': "'); // the excerpt of the line is behind it
    byReason.set(kind, (byReason.get(kind) ?? 0) + 1);
  }
  for (const [reason, count] of [...byReason].sort((a, b) => b[1] - a[1]).slice(0, 10)) {
    line(output, `  ${pc.yellow('rejected')} ${count} × ${reason}`);
  }
  line(output);
}

function countsOf(counts: unknown): readonly (readonly [string, number])[] {
  return Object.entries((counts ?? {}) as Record<string, number>).sort((a, b) => b[1] - a[1]);
}

type Column = readonly [string, readonly (readonly [string, number])[]];

/** Lists of different things in one table, so that the summary fits one screen. */
function sideBySide(columns: readonly Column[]): string {
  const height = Math.max(1, ...columns.map(([, counts]) => counts.length));
  const rows = Array.from({ length: height }, (_, i) =>
    columns.flatMap(([, counts]) => {
      const entry = counts[i];
      return entry === undefined ? [' ', ' '] : [entry[0], entry[1].toLocaleString('en-US')];
    }),
  );
  return table(
    columns.flatMap(([name]) => [name, '']),
    rows,
  );
}

function printWork(output: Output, statistics: StatisticsReport, pipeline: Drained | null): void {
  line(output);
  line(output, pc.bold('Work'));
  const { handled, failed, settlements, groups } = statistics;
  if (handled === 0) line(output, '  nothing new: all that is stored was handled before');
  else {
    line(
      output,
      `  ${amount(handled, 'deliveries')} to ${groups.length} groups, ` +
        `${amount(settlements, 'commits')}, ` +
        `${amount(failed, 'failed calls')} (tried again, or dead letters below)`,
    );
  }
  if (pipeline === null) return;
  if (pipeline.events > 0) {
    const rate = pipeline.events / pipeline.seconds;
    line(
      output,
      `  ${pc.green(amount(rate, 'events/s'))} durable (${amount(rate * 60, 'events/min')}): ` +
        `${amount(pipeline.events, 'events')} in ${duration(pipeline.seconds)}, ` +
        `all settled after ${duration(pipeline.settledSeconds)}`,
    );
  }
  if (pipeline.retriesWaiting > 0) {
    line(output, `  ${pc.yellow(`${pipeline.retriesWaiting} retries`)} wait for a later time`);
  }
  if (!pipeline.complete)
    line(output, `  ${pc.yellow('interrupted')}: the rest goes on at the next start`);
}

/** Answers with one of them, as arguments of a command. */
function printLetters(output: Output, { deadLetters }: StatisticsReport): string | null {
  line(output);
  const [first] = deadLetters;
  if (first === undefined) {
    line(output, `${pc.bold('Dead letters')}  none`);
    return null;
  }
  const total = deadLetters.reduce((sum, { count }) => sum + count, 0);
  line(output, `${pc.bold('Dead letters')}  ${total}`);
  const rows = deadLetters
    .slice(0, lettersShown)
    .map(({ count, tenantId, group, eventType, reason }) => [
      count,
      tenantId,
      group,
      eventType,
      reason,
    ]);
  line(output, table(['count', 'tenant', 'group', 'event', 'reason'], rows, 90));
  return `${first.group} ${first.exampleEventId} --tenant ${quote(first.tenantId)}`;
}

/** The end of an ingestion, for `start` and `ingest`: a progress line, then the report. */
import type { Io } from './io.ts';
import { type Baseline, drain } from './pipeline.ts';
import type { Platform } from './platform.ts';
import { startProgress } from './progress.ts';
import type { Summary } from './summary.ts';

/** Retries due within this time belong to the summary. */
const retryPatienceMs = 5_000;

/** Waits until the pipeline is idle, with its own progress line, and reports. */
export async function finish(
  platform: Platform,
  io: Io,
  { baseline, quiet }: { readonly baseline: Baseline; readonly quiet: boolean },
): Promise<Pick<Summary, 'pipeline' | 'statistics'>> {
  const progress = startProgress({
    output: quiet ? { write: () => {}, isTTY: false, columns: 100 } : io.stderr,
    label: 'working through the pipeline',
    total: 0,
    unit: 'events',
  });
  const pipeline = await drain(platform, {
    baseline,
    signal: io.signal,
    patienceMs: retryPatienceMs,
    onProgress: (settled, total) => progress.update(settled, '', total),
  });
  progress.end();
  platform.eventsPerSecond = Math.round(pipeline.events / pipeline.seconds);
  return { pipeline, statistics: await platform.statistics.report() };
}

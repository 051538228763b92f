/**
 * A progress line with rate and time left: redrawn in place on a terminal ten times a second, one
 * line for every tenth of the way elsewhere, so that a log file stays short.
 */
import { line, type Output } from './io.ts';

export interface Progress {
  /** `note` is shown behind the bar; `total` may grow while more work comes to light. */
  update(done: number, note?: string, total?: number): void;
  /** Writes a line above the bar. */
  say(text: string): void;
  /** Draws the last state and goes to a new line. */
  end(): void;
}

export interface ProgressOptions {
  readonly output: Output;
  readonly label: string;
  /** Null when nobody knows; then no bar and no time left are shown. */
  readonly total: number | null;
  /** What is counted: `events`, `lines`; `B` is shown in KiB and MiB. */
  readonly unit: string;
  readonly now?: () => number;
}

const redrawMs = 100;
const barWidth = 24;
/** Where the total is unknown: a line now and then, each time twice as much is done. */
const firstUnknown = 10_000;

export function startProgress(options: ProgressOptions): Progress {
  const { output, label, unit, now = () => performance.now() } = options;
  let { total } = options;
  const startedAt = now();
  let done = 0;
  let note = '';
  let drawnAt = Number.NEGATIVE_INFINITY;
  let nextTenth = 1;
  let nextUnknown = firstUnknown;
  let ended = false;

  const draw = () => {
    drawnAt = now();
    const text = describe({ label, total, unit, done, note, elapsedMs: now() - startedAt });
    if (output.isTTY) output.write(`\r${fit(text, output.columns - 1)}\u001b[K`);
    else line(output, text);
  };
  return {
    update(next, nextNote = note, nextTotal = total ?? undefined) {
      done = next;
      note = nextNote;
      total = nextTotal ?? null;
      if (output.isTTY) {
        if (now() - drawnAt >= redrawMs) draw();
      } else if (total === null) {
        if (done < nextUnknown) return;
        while (done >= nextUnknown) nextUnknown *= 2;
        draw();
      } else if (total > 0 && done * 10 >= nextTenth * total) {
        nextTenth = Math.floor((done * 10) / total) + 1;
        draw();
      }
    },
    say(text) {
      if (output.isTTY && !ended) output.write('\r\u001b[K');
      line(output, text);
      if (output.isTTY && !ended) draw();
    },
    end() {
      if (ended) return;
      ended = true;
      if (!output.isTTY) {
        if (total === null || nextTenth <= 10) draw();
        return;
      }
      draw();
      line(output);
    },
  };
}

interface Moment {
  readonly label: string;
  readonly total: number | null;
  readonly unit: string;
  readonly done: number;
  readonly note: string;
  readonly elapsedMs: number;
}

function describe({ label, total, unit, done, note, elapsedMs }: Moment): string {
  const seconds = Math.max(elapsedMs / 1000, 0.001);
  const rate = done / seconds;
  const parts = [label];
  if (total !== null && total > 0) {
    const share = Math.min(1, done / total);
    const full = Math.round(share * barWidth);
    parts.push(`${'█'.repeat(full)}${'░'.repeat(barWidth - full)}`);
    parts.push(`${Math.floor(share * 100)}%`.padStart(4));
  }
  parts.push(
    total === null ? amount(done, unit) : `${amount(done, unit)} of ${amount(total, unit)}`,
    `${amount(rate, unit)}/s`,
  );
  if (total !== null && rate > 0 && done < total) {
    parts.push(`${duration((total - done) / rate)} left`);
  } else parts.push(duration(seconds));
  if (note !== '') parts.push(note);
  return parts.join('  ');
}

/** `1,234 events`, `3.4 MiB`. */
export function amount(value: number, unit: string): string {
  if (unit !== 'B') return `${Math.round(value).toLocaleString('en-US')} ${unit}`;
  if (value < 1024) return `${Math.round(value)} B`;
  if (value < 1024 ** 2) return `${(value / 1024).toFixed(1)} KiB`;
  return `${(value / 1024 ** 2).toFixed(1)} MiB`;
}

/** `850 ms`, `12 s`, `3 min 20 s`, `1 h 05 min`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function fit(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

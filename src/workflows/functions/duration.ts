/**
 * Durations as people write them: milliseconds, or text such as '90s' and '1h 30m'. Read where a
 * durable function waits; the moment that comes of it is what the history keeps.
 */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';

/** Milliseconds, or numbers with units: '500ms', '10s', '5m', '1h 30m', '2d', '1w'. */
export type Duration = number | string;

const unitsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
/** A hundred years: what is more is a mistake in the unit. */
const durationMsMax = 100 * 366 * 86_400_000;

/**
 * Whole milliseconds.
 * @param path how messages call the value: `sleep`, `approval 'manager': timeoutMs`.
 * @throws MillraceError WORKFLOW_INVALID
 */
export function parseDuration(value: unknown, path: string): number {
  const ms = typeof value === 'string' ? readText(value) : value;
  if (typeof ms === 'number' && ms >= 0 && ms <= durationMsMax) return Math.ceil(ms);
  const found = typeof value === 'string' || typeof value === 'number' ? `'${value}'` : null;
  throw new MillraceError(
    'WORKFLOW_INVALID',
    `${path} is ${found ?? describeKind(value)}, which is no duration.`,
    { fix: "Give milliseconds, or text such as '500ms', '10s', '1h 30m' or '7d'." },
  );
}

function readText(text: string): number {
  const parts = [...text.matchAll(/\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\b/gy)];
  const read = parts.reduce((chars, [part]) => chars + part.length, 0);
  if (parts.length === 0 || text.slice(read).trim() !== '') return Number.NaN;
  return parts.reduce((sum, [, n, unit]) => sum + Number(n) * (unitsMs[unit as string] ?? 0), 0);
}

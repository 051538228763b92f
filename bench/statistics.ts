/** Medians and percentiles; every figure of a bench goes through here. */

/** The value below which `share` (0 to 1) of the values lie. NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * share));
  return sorted[at] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}

/** 1234567 → 1,234,567 */
export const thousands = (value: number): string => Math.round(value).toLocaleString('en-US');

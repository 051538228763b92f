/**
 * Numbers as the hot path keeps them: a Map of plain counters, which cost a tenth of a call to a
 * metrics API (0.8 µs). They are read when somebody collects.
 */

export type Labels = Readonly<Record<string, string>>;

interface Value {
  readonly labels: Labels;
  value: number;
}

/** More label values than this are a mistake somewhere: the rest is counted as `other`. */
const seriesMax = 2_000;

export class Counters {
  readonly #series = new Map<string, Map<string, Value>>();
  #count = 0;

  /** `labels` in the same order of names at every call. */
  add(name: string, labels: Labels, n = 1): void {
    let values = this.#series.get(name);
    if (values === undefined) {
      values = new Map();
      this.#series.set(name, values);
    }
    const key = Object.values(labels).join('\u0001');
    const found = values.get(key);
    if (found !== undefined) found.value += n;
    else this.#begin(values, key, labels, n);
  }

  /** Every name with its values. */
  *read(): Iterable<readonly [name: string, labels: Labels, value: number]> {
    for (const [name, values] of this.#series) {
      for (const { labels, value } of values.values()) yield [name, labels, value];
    }
  }

  of(name: string): readonly { readonly labels: Labels; readonly value: number }[] {
    return [...(this.#series.get(name)?.values() ?? [])];
  }

  #begin(values: Map<string, Value>, key: string, labels: Labels, n: number): void {
    if (this.#count < seriesMax) {
      this.#count += 1;
      values.set(key, { labels, value: n });
      return;
    }
    const other = Object.fromEntries(Object.keys(labels).map((label) => [label, 'other']));
    const rest = Object.values(other).join('\u0001');
    const found = values.get(rest);
    if (found === undefined) values.set(rest, { labels: other, value: n });
    else found.value += n;
  }
}

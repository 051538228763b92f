/**
 * The kinds of values that configuration has: how each is written in TOML and in a variable, what
 * is allowed, and what the program gets. Checked by zod; a key is one of these with its default.
 */
import { z } from 'zod';

export type KindName =
  | 'text'
  | 'switch'
  | 'whole number'
  | 'number'
  | 'duration'
  | 'one of'
  | 'list of texts'
  | 'list of numbers';

export interface Key<Value = unknown> {
  readonly kind: KindName;
  /** As it would stand in a file; undefined: not set by default, and the value is null. */
  readonly default: unknown;
  readonly about: string;
  /** Environment variables beside MILLRACE__…, the first that is set counts. */
  readonly variables: readonly string[];
  /** What is allowed, for people. */
  readonly allowed: string;
  /** Never shown as it is: it may hold a password. */
  readonly secret: boolean;
  readonly schema: z.ZodType<Value>;
  /** The text of a variable as a value of a file. */
  fromText(text: string): unknown;
}

export interface KeyOptions {
  readonly variables?: readonly string[];
  readonly secret?: boolean;
}

interface Range {
  readonly least?: number;
  readonly most?: number;
}

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const durationPattern = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/;

/** `30s` → 30,000; null when it is no duration. */
export function parseDuration(text: string): number | null {
  const [, amount, unit] = durationPattern.exec(text.trim()) ?? [];
  return amount === undefined ? null : Number(amount) * (units[unit as string] as number);
}

/** 30,000 → `30s`: the largest unit that says it in whole numbers. */
export function printDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = units[unit] as number;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

const numeric = (text: string): unknown =>
  /^[+-]?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;

function key<Value>(
  kind: KindName,
  fallback: unknown,
  about: string,
  rest: Pick<Key<Value>, 'allowed' | 'schema' | 'fromText'> & KeyOptions,
): Key<Value> {
  const { variables = [], secret = false } = rest;
  return { kind, default: fallback, about, ...rest, variables, secret };
}

export function text(fallback: string, about: string, options: KeyOptions = {}): Key<string> {
  const schema = z.string().min(1);
  const rest = { ...options, schema, allowed: 'a text', fromText: (given: string) => given };
  return key('text', fallback, about, rest);
}

/** What variables may say of a switch. */
const switchWords: Readonly<Record<string, boolean>> = {
  ...{ true: true, 1: true, yes: true, on: true },
  ...{ false: false, 0: false, no: false, off: false },
};

/** Null unless it is set. */
export function optionalText(about: string, options: KeyOptions = {}): Key<string | null> {
  return { ...text('', about, options), default: undefined } as Key<string | null>;
}

export function toggle(fallback: boolean, about: string, options: KeyOptions = {}): Key<boolean> {
  return key('switch', fallback, about, {
    ...options,
    allowed: 'true or false',
    schema: z.boolean(),
    fromText: (given) => switchWords[given.trim().toLowerCase()] ?? given,
  });
}

export function whole(fallback: number, about: string, range: Range & KeyOptions): Key<number> {
  const { least = 0, most = 1_000_000_000 } = range;
  return key('whole number', fallback, about, {
    ...range,
    allowed: `a whole number from ${least} to ${most}`,
    schema: z.number().int().min(least).max(most),
    fromText: numeric,
  });
}

export function fraction(fallback: number, about: string, range: Range & KeyOptions): Key<number> {
  const { least = 0, most = 1 } = range;
  return key('number', fallback, about, {
    ...range,
    allowed: `a number from ${least} to ${most}`,
    schema: z.number().min(least).max(most),
    fromText: numeric,
  });
}

const dayMs = 86_400_000;

/**
 * Milliseconds. Written with a unit (`"30s"`), or as a number where the key's name says the unit.
 * @param options.bareMs what a number without a unit counts; none is allowed otherwise
 */
export function duration(
  fallback: string | number,
  about: string,
  options: { least?: string; most?: string; bareMs?: number } & KeyOptions = {},
): Key<number> {
  const { least = '0ms', most = '3650d', bareMs, ...rest } = options;
  const [min, max] = [parseDuration(least) as number, parseDuration(most) as number];
  const range = `from ${printDuration(min)} to ${printDuration(max)}`;
  const bare = bareMs === undefined ? '' : `, or a number of ${printDuration(bareMs)}`;
  const timed = z
    .union([z.string(), z.number()])
    .transform((given) => {
      if (typeof given === 'string') return parseDuration(given) ?? Number.NaN;
      return bareMs === undefined ? Number.NaN : given * bareMs;
    })
    .pipe(z.number().min(min).max(max));
  return key('duration', fallback, about, {
    ...rest,
    allowed: `a duration such as "30s" (ms, s, m, h, d) ${range}${bare}`,
    schema: timed,
    fromText: (given) => (bareMs === undefined ? given : numeric(given)),
  });
}

/** Null unless it is set; 'never' in a file turns off what is on by default. */
export function durationOrNever(
  fallback: string | number,
  about: string,
  options: { least?: string; most?: string } & KeyOptions = {},
): Key<number | null> {
  const plain = duration(fallback, about, options);
  const never = z.literal('never').transform(() => null);
  const allowed = `${plain.allowed}, or "never"`;
  return { ...plain, allowed, schema: z.union([never, plain.schema]) } as Key<number | null>;
}

export function oneOf<const Word extends string>(
  words: readonly Word[],
  fallback: NoInfer<Word>,
  about: string,
  options: KeyOptions = {},
): Key<Word> {
  return key('one of', fallback, about, {
    ...options,
    allowed: words.map((word) => `"${word}"`).join(', '),
    schema: z.enum(words as readonly [Word, ...Word[]]) as unknown as z.ZodType<Word>,
    fromText: (given) => given,
  });
}

const parts = (given: string): string[] =>
  given
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

export function texts(fallback: readonly string[], about: string): Key<readonly string[]> {
  return key<readonly string[]>('list of texts', fallback, about, {
    allowed: 'a list of texts; in a variable with commas between',
    schema: z.array(z.string().min(1)),
    fromText: parts,
  });
}

/** Ascending, as the bounds of a histogram are. */
export function bounds(fallback: readonly number[], about: string): Key<readonly number[]> {
  const ascending = (list: readonly number[]) =>
    list.every((one, i) => i === 0 || one > (list[i - 1] as number));
  return key<readonly number[]>('list of numbers', fallback, about, {
    allowed: 'a list of positive numbers, each greater than the one before',
    schema: z.array(z.number().positive()).min(1).refine(ascending),
    fromText: (given) => parts(given).map(numeric),
  });
}

export { dayMs };

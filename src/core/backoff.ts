/**
 * How long a failed job waits before its next try. A policy is checked where it is written and pure
 * afterwards; `retry.ts` has the older and simpler rule of events. Called by defineJob, by enqueue
 * options and by the worker after a failure.
 */
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';

export const backoffKinds = [
  'none',
  'fixed',
  'linear',
  'exponential',
  'fibonacci',
  'custom',
] as const;
export type BackoffKind = (typeof backoffKinds)[number];

/** Milliseconds to wait. `attempt` is 1 after the first failure. */
export type BackoffFunction = (attempt: number, error: unknown) => number;

/**
 * Delays after failures 1, 2, 3, 4 with delayMs 100 and multiplier 2:
 * fixed 100, 100, 100, 100 · linear 100, 200, 300, 400 · exponential 100, 200, 400, 800 ·
 * fibonacci 100, 100, 200, 300 · none 0, 0, 0, 0 · custom: what `delay` answers.
 */
export interface Backoff {
  readonly kind: BackoffKind;
  /** For custom: what is waited when `delay` gives no usable answer. */
  readonly delayMs: number;
  /** Of exponential only. */
  readonly multiplier: number;
  /** Cap of the delay, before jitter: at the cap too, retries must not all come at one moment. */
  readonly maxDelayMs: number;
  /** 0 to 1: up to this share of the delay is added at random. */
  readonly jitter: number;
  /** Of custom only. */
  readonly delay: BackoffFunction | null;
}

/** A policy that can be stored with a job; members left out have their defaults. */
export interface StorableBackoff {
  /** 'exponential' by default. */
  readonly kind?: Exclude<BackoffKind, 'custom'> | undefined;
  /** 1,000 by default. */
  readonly delayMs?: number | undefined;
  /** 2 by default. */
  readonly multiplier?: number | undefined;
  /** 300,000 by default, or delayMs when that is more. */
  readonly maxDelayMs?: number | undefined;
  /** 0.2 by default. */
  readonly jitter?: number | undefined;
}

export interface CustomBackoff extends Omit<StorableBackoff, 'kind' | 'multiplier'> {
  readonly kind: 'custom';
  readonly delay: BackoffFunction;
}

/** A number is the first delay of an exponential policy; a function is a custom one. */
export type BackoffOption = number | BackoffFunction | StorableBackoff | CustomBackoff;

export const defaultBackoff: Backoff = Object.freeze({
  kind: 'exponential',
  delayMs: 1_000,
  multiplier: 2,
  maxDelayMs: 300_000,
  jitter: 0.2,
  delay: null,
});

const dayMs = 86_400_000;
/** Member → lowest and highest value allowed. */
const ranges = {
  delayMs: [0, 30 * dayMs],
  multiplier: [1, 100],
  maxDelayMs: [0, 30 * dayMs],
  jitter: [0, 1],
} as const;
const members = ['kind', ...Object.keys(ranges), 'delay'];

/**
 * A complete policy from what a definition, an enqueue option or a configuration file gives.
 * @param path how messages call the value, such as `invoice.send.backoff`.
 * @throws MillraceError CONFIG_INVALID naming the member.
 */
export function parseBackoff(value: unknown, path = 'backoff'): Backoff {
  if (typeof value === 'number') return parseBackoff({ delayMs: value }, path);
  if (typeof value === 'function') return parseBackoff({ kind: 'custom', delay: value }, path);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(path, `is ${describeKind(value)}, not a number, an object or a function`);
  }
  const stranger = Object.keys(value).find((name) => !members.includes(name));
  if (stranger !== undefined) {
    throw invalid(`${path}.${stranger}`, 'is not part of a policy', `Use ${members.join(', ')}.`);
  }
  const given = value as Readonly<Record<string, unknown>>;
  const kind = readKind(given, path);
  const read = (name: keyof typeof ranges, fallback: number) =>
    readNumber(given[name] === undefined ? fallback : given[name], name, path);
  const delayMs = kind === 'none' ? 0 : read('delayMs', defaultBackoff.delayMs);
  const backoff: Backoff = Object.freeze({
    kind,
    delayMs,
    multiplier: read('multiplier', defaultBackoff.multiplier),
    maxDelayMs: read('maxDelayMs', Math.max(defaultBackoff.maxDelayMs, delayMs)),
    // Whoever computes delays himself gets them as they are, unless he asks for more.
    jitter: read('jitter', kind === 'custom' ? 0 : defaultBackoff.jitter),
    delay: readDelay(given.delay, kind, path),
  });
  if (backoff.delayMs <= backoff.maxDelayMs) return backoff;
  throw invalid(
    `${path}.delayMs`,
    `is ${backoff.delayMs}, above maxDelayMs ${backoff.maxDelayMs}`,
    'Lower delayMs, raise maxDelayMs or leave it out.',
  );
}

function readKind(given: Readonly<Record<string, unknown>>, path: string): BackoffKind {
  const fallback = typeof given.delay === 'function' ? 'custom' : defaultBackoff.kind;
  const kind = given.kind === undefined ? fallback : given.kind;
  if (backoffKinds.includes(kind as BackoffKind)) return kind as BackoffKind;
  const found = typeof kind === 'string' ? `'${kind}'` : describeKind(kind);
  throw invalid(`${path}.kind`, `is ${found}`, `Use one of ${backoffKinds.join(', ')}.`);
}

function readNumber(value: unknown, name: keyof typeof ranges, path: string): number {
  const [min, max] = ranges[name];
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw invalid(`${path}.${name}`, `is ${describeKind(value)}, not a number`);
  }
  if (value >= min && value <= max) return value;
  throw invalid(`${path}.${name}`, `is ${value}, not from ${min} to ${max}`);
}

function readDelay(value: unknown, kind: BackoffKind, path: string): BackoffFunction | null {
  if (kind === 'custom') {
    if (typeof value === 'function') return value as BackoffFunction;
    throw invalid(
      `${path}.delay`,
      `is ${describeKind(value)}, not a function`,
      "kind 'custom' needs delay: (attempt, error) => milliseconds.",
    );
  }
  if (value === undefined || value === null) return null;
  throw invalid(`${path}.delay`, `is given, but kind is '${kind}'`, "Use kind 'custom' with it.");
}

function invalid(path: string, problem: string, fix?: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${path} ${problem}.`, { fix, details: { path } });
}

export interface BackoffSituation {
  /** 1 after the first failure. */
  readonly attempt: number;
  readonly error?: unknown;
  /** From 0 up to 1. */
  readonly random?: number;
  /** Told when a custom function threw or gave no number of milliseconds; delayMs is used then. */
  readonly onProblem?: (problem: MillraceError) => void;
}

/** How long to wait, in whole milliseconds. Never throws. */
export function backoffDelayMs(backoff: Backoff, situation: BackoffSituation): number {
  const { attempt, random = Math.random() } = situation;
  const rawMs = backoff.delay === null ? delayOf(backoff, attempt) : askCustom(backoff, situation);
  return Math.round(Math.min(rawMs, backoff.maxDelayMs) * (1 + backoff.jitter * random));
}

function delayOf({ kind, delayMs, multiplier }: Backoff, attempt: number): number {
  // 0 × Infinity would be NaN: a policy without delay stays without one.
  if (delayMs === 0) return 0;
  switch (kind) {
    case 'none':
      return 0;
    case 'linear':
      return delayMs * attempt;
    case 'exponential':
      return delayMs * multiplier ** (attempt - 1);
    case 'fibonacci':
      return delayMs * fibonacci(attempt);
    default:
      return delayMs;
  }
}

/** 1, 1, 2, 3, 5, 8 …; above 1,476 it is Infinity, which the cap takes care of. */
function fibonacci(n: number): number {
  let [before, current] = [0, 1];
  for (let i = 1; i < n && current < Number.POSITIVE_INFINITY; i += 1) {
    [before, current] = [current, before + current];
  }
  return current;
}

function askCustom(backoff: Backoff, { attempt, error, onProblem }: BackoffSituation): number {
  const refuse = (problem: string, cause?: unknown) => {
    const message = `The custom backoff function ${problem} after failure ${attempt}.`;
    const fix = `Have it answer milliseconds from 0; ${backoff.delayMs} ms are waited instead.`;
    onProblem?.(new MillraceError('CONFIG_INVALID', message, { fix, cause }));
    return backoff.delayMs;
  };
  let answer: unknown;
  try {
    answer = (backoff.delay as BackoffFunction)(attempt, error);
  } catch (cause) {
    return refuse('threw', cause);
  }
  if (typeof answer === 'number' && answer >= 0) return answer;
  // Nobody waits for a promise, and its rejection would end the process.
  if (answer instanceof Promise) answer.catch(() => {});
  const found = typeof answer === 'number' ? String(answer) : describeKind(answer);
  return refuse(`answered ${found}`);
}

/**
 * One field of a cron expression: `*`, `5`, `1-5`, `1-30/10`, `*` with a step, names of months and
 * weekdays, lists of these, and what days have of their own (L, FRI#2, FRIL). Called by `cron.ts`.
 */
import { MillraceError } from './errors.ts';

export interface CronField {
  /** In numbers: fields that mean the same mostly have the same text. */
  readonly text: string;
  /** Ascending; all of them for `*`. */
  readonly values: readonly number[];
  /** `*`: the field restricts nothing. */
  readonly any: boolean;
  /** The n of a field that is nothing but `*` with a step. */
  readonly step: number | null;
  /** Has `*` or a step: it says how often rather than when. */
  readonly wild: boolean;
  /** The last day of the month. */
  readonly last: boolean;
  readonly nth: readonly NthWeekday[];
}

export interface NthWeekday {
  /** 0 is Sunday. */
  readonly weekday: number;
  /** 1 to 5, or the last of the month. */
  readonly nth: number | 'last';
}

export interface FieldRule {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** A right expression, and what it means. */
  readonly example: string;
  readonly names: readonly string[];
}

export const monthNames = 'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC'.split(' ');
export const weekdayNames = 'SUN MON TUE WED THU FRI SAT'.split(' ');

const hourRule: FieldRule = {
  name: 'hour',
  min: 0,
  max: 23,
  example: '0 2 * * * (at 02:00)',
  names: [],
};
const dayRule: FieldRule = {
  name: 'day of month',
  min: 1,
  max: 31,
  example: '0 2 1,15 * * (on the 1st and the 15th)',
  names: [],
};
const monthRule: FieldRule = {
  name: 'month',
  min: 1,
  max: 12,
  example: '0 2 1 JAN,JUL * (on the 1st of January and July)',
  names: monthNames,
};
const weekdayRule: FieldRule = {
  name: 'day of week',
  min: 0,
  max: 7,
  example: '0 9 * * MON-FRI (at 09:00 on workdays)',
  names: weekdayNames,
};

/** In the order of an expression with seconds. */
export const fieldRules: readonly FieldRule[] = [
  { name: 'second', min: 0, max: 59, example: '*/30 * * * * * (twice a minute)', names: [] },
  { name: 'minute', min: 0, max: 59, example: '*/15 * * * * (every 15 minutes)', names: [] },
  hourRule,
  dayRule,
  monthRule,
  weekdayRule,
];

/** What one item of a list says. */
interface Item {
  readonly text: string;
  readonly values?: readonly number[];
  readonly wild?: boolean;
  readonly last?: boolean;
  readonly nth?: NthWeekday;
}

/** @throws MillraceError SCHEDULE_INVALID naming the field, with a right expression. */
export function readField(text: string, rule: FieldRule, path: string): CronField {
  const isDay = rule === dayRule || rule === weekdayRule;
  const any = text === '*' || text === '*/1' || (text === '?' && isDay);
  const words = any ? ['*'] : text.toUpperCase().split(',');
  if (words.length > 1 && words.some((word) => /[*?]/.test(word))) {
    throw wrong(rule, path, `has '*' in a list`);
  }
  const items = words.map((word) => readItem(word, rule, path));
  const values = new Set(items.flatMap((item) => item.values ?? []));
  // 7 is Sunday, as 0 is.
  if (rule === weekdayRule && values.delete(7)) values.add(0);
  return Object.freeze({
    text: items.map((item) => item.text).join(','),
    values: Object.freeze([...values].sort((a, b) => a - b)),
    any,
    step: !any && words[0]?.startsWith('*/') ? Number(words[0].slice(2)) : null,
    wild: items.some((item) => item.wild === true),
    last: items.some((item) => item.last === true),
    nth: Object.freeze(items.flatMap((item) => item.nth ?? [])),
  });
}

/** from, to and step; from may be `*`. */
const itemPattern = /^(\*|[0-9A-Z]+)(?:-([0-9A-Z]+))?(?:\/([0-9]+))?$/;

function readItem(word: string, rule: FieldRule, path: string): Item {
  if (rule === dayRule && word === 'L') return { text: 'L', last: true };
  const nth = rule === weekdayRule ? readNth(word, path) : null;
  if (nth !== null) return nth;
  const [, from = '', to, step] = itemPattern.exec(word) ?? [];
  if (from === '' || (from === '*' && to !== undefined)) {
    throw wrong(rule, path, `is '${cut(word)}', which cannot be read`);
  }
  const by = step === undefined ? 1 : readStep(step, rule, path);
  if (from === '*') {
    const max = rule === weekdayRule ? 6 : rule.max;
    const values = valuesOf(rule.min, max, by);
    return { text: by === 1 ? '*' : `*/${by}`, values, wild: true };
  }
  const first = readNumber(from, rule, path);
  if (to === undefined && step !== undefined) {
    const fix = `Write ${first}-${rule === weekdayRule ? 6 : rule.max}/${by}.`;
    throw wrong(rule, path, `is '${cut(word)}', a step without a range`, fix);
  }
  if (to === undefined) return { text: String(first), values: [first] };
  const last = to === 'SUN' ? 7 : readNumber(to, rule, path);
  if (last < first) {
    const fix = `Write ${first}-${rule === weekdayRule ? 6 : rule.max},${rule.min}-${last}.`;
    throw wrong(rule, path, `is '${cut(word)}', a range that ends before it begins`, fix);
  }
  const text = `${first}-${last}${step === undefined ? '' : `/${by}`}`;
  return { text, values: valuesOf(first, last, by), wild: step !== undefined };
}

function valuesOf(first: number, last: number, by: number): number[] {
  const count = Math.floor((last - first) / by) + 1;
  return Array.from({ length: count }, (_, i) => first + i * by);
}

/** FRI#2 and FRIL; null for anything else. */
function readNth(word: string, path: string): Item | null {
  const [, day, number] = /^([0-9]|[A-Z]{3})(?:#([0-9]+)|L)$/.exec(word) ?? [];
  if (day === undefined) return null;
  const weekday = readNumber(day, weekdayRule, path) % 7;
  if (number === undefined) return { text: `${weekday}L`, nth: { weekday, nth: 'last' } };
  const nth = Number(number);
  if (nth >= 1 && nth <= 5) return { text: `${weekday}#${nth}`, nth: { weekday, nth } };
  const fix = 'Write FRI#1 to FRI#5, or FRIL for the last Friday of the month.';
  throw wrong(weekdayRule, path, `is '${cut(word)}', not from #1 to #5`, fix);
}

function readNumber(text: string, rule: FieldRule, path: string): number {
  const named = rule.names.indexOf(text);
  if (named >= 0) return named + rule.min;
  if (!/^[0-9]{1,9}$/.test(text)) {
    const names = rule.names.length > 0 ? ` or one of ${rule.names.join(', ')}` : '';
    throw wrong(rule, path, `is '${cut(text)}', not a number${names}`);
  }
  const value = Number(text);
  if (value >= rule.min && value <= rule.max) return value;
  throw wrong(rule, path, `is ${value}, not from ${rule.min} to ${rule.max}`);
}

function readStep(text: string, rule: FieldRule, path: string): number {
  const most = rule === weekdayRule ? 7 : rule.max - rule.min + 1;
  const by = Number(text);
  if (by >= 1 && by <= most) return by;
  throw wrong(rule, path, `has the step ${cut(text)}, not from 1 to ${most}`);
}

/** A part of what was given, for a message. */
export const cut = (text: string) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

function wrong(rule: FieldRule, path: string, problem: string, fix?: string): MillraceError {
  return new MillraceError('SCHEDULE_INVALID', `${path}: the ${rule.name} ${problem}.`, {
    fix: fix ?? `Write the ${rule.name} as in ${rule.example}.`,
    details: { path, field: rule.name },
  });
}

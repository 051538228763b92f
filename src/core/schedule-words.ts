/** Schedules in plain words, for the CLI, the dashboard and logs: `every 15 minutes (UTC)`. */
import type { Cron } from './cron.ts';
import type { CronField, NthWeekday } from './cron-field.ts';
import type { CronRule, ScheduleRule } from './schedule-rule.ts';

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const units = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
] as const;
/** More times of day than this are said field by field. */
const timesMax = 4;

/** One line, without a full stop. Times are in the rule's own zone, single moments in UTC. */
export function describeSchedule(rule: ScheduleRule): string {
  const parts = [describeKindOf(rule)];
  if (rule.jitterMs > 0) parts.push(`up to ${duration(rule.jitterMs)} later`);
  if (rule.untilMs !== null) parts.push(`until ${moment(rule.untilMs)}`);
  return parts.join(', ');
}

function describeKindOf(rule: ScheduleRule): string {
  if (rule.kind === 'at') return `once at ${moment(rule.atMs)}`;
  if (rule.kind === 'cron') return describeCron(rule);
  const every = `every ${duration(rule.everyMs).replace(/^1 /, '')}`;
  return rule.startAtMs === null ? every : `${every} from ${moment(rule.startAtMs)}`;
}

function describeCron({ cron, timezone }: CronRule): string {
  const day = describeDay(cron);
  const time = describeTime(cron);
  // 'every 5 minutes every day' says no more than 'every 5 minutes'.
  const daily = day === 'every day' && !/^at \d/.test(time);
  const words = daily ? time : `${time} ${day}`;
  return `${words} (${timezone})`;
}

function describeTime({ second, minute, hour, fixed }: Cron): string {
  const count = second.values.length * minute.values.length * hour.values.length;
  if (fixed && count <= timesMax) {
    const times = hour.values.flatMap((h) =>
      minute.values.flatMap((m) => second.values.map((s) => timeOfDay(h, m, s))),
    );
    return `at ${list(times)}`;
  }
  const levels: Level[] = [['hour', hour, 24]];
  const onTheMinute = second.text === '0';
  // On the full hour: 'every 2 hours', but 'at minute 0 of hours 8 to 17'.
  const onTheHour = onTheMinute && minute.text === '0' && (hour.any || hour.step !== null);
  if (!onTheHour) levels.unshift(['minute', minute, 60]);
  if (!onTheMinute) levels.unshift(['second', second, 60]);
  return describeLevels(levels);
}

type Level = readonly [unit: string, field: CronField, size: number];

/** The finest unit says how often, the others of what: `every 5 minutes of hours 8 to 17`. */
function describeLevels(levels: readonly Level[]): string {
  const words = levels.map(([unit, field], i) => {
    const { step, text, values } = field;
    const [, finer, sizeOfFiner] = levels[i - 1] ?? [];
    // 'every 15 minutes of every hour' says no more than 'every 15 minutes'.
    const even = finer?.any || (finer?.step && (sizeOfFiner as number) % finer.step === 0);
    if (field.any) return even ? '' : `every ${unit}`;
    if (step !== null) return i === 0 ? `every ${step} ${unit}s` : `every ${ordinal(step)} ${unit}`;
    const named =
      values.length === 1 ? `${unit} ${values[0]}` : `${unit}s ${describeValues(text, String)}`;
    return i === 0 ? `at ${named}` : named;
  });
  return words.filter((word) => word !== '').join(' of ');
}

function describeDay({ dayOfMonth, month, dayOfWeek }: Cron): string {
  const named = describeValues(month.text, (n) => months[n - 1] ?? '');
  const ofMonth = month.any ? '' : ` of ${named}${month.step === null ? '' : ' month'}`;
  const choices: string[] = [];
  if (!dayOfMonth.any) choices.push(`on ${describeDaysOfMonth(dayOfMonth)}`);
  if (!dayOfWeek.any) choices.push(`on ${describeWeekdays(dayOfWeek)}`);
  if (choices.length === 0) return month.any ? 'every day' : `every day${ofMonth}`;
  if (dayOfMonth.any) return month.any ? choices.join() : `${choices.join()} in${ofMonth.slice(3)}`;
  return `${choices.join(' and ')}${month.any ? ' of every month' : ofMonth}`;
}

function describeDaysOfMonth({ step, last, text, values }: CronField): string {
  if (step !== null) return `every ${ordinal(step)} day from the 1st`;
  const days = values.length > 0 ? [`the ${describeValues(withoutL(text), ordinal)}`] : [];
  if (last) days.push('the last day');
  return list(days);
}

const withoutL = (text: string) =>
  text
    .split(',')
    .filter((item) => item !== 'L')
    .join(',');

function describeWeekdays({ nth, text, values }: CronField): string {
  const plain = text
    .split(',')
    .filter((item) => !/[#L]/.test(item))
    .join(',');
  const named = values.length > 0 ? [describeValues(plain, (n) => weekdays[n % 7] ?? '')] : [];
  return list([...named, ...nth.map(describeNth)]);
}

function describeNth({ weekday, nth }: NthWeekday): string {
  return `the ${nth === 'last' ? 'last' : ordinal(nth)} ${weekdays[weekday]}`;
}

/** The items of a field, ranges as ranges. */
function describeValues(text: string, name: (n: number) => string): string {
  return list(
    text.split(',').map((item) => {
      const [, from, to, step] = /^(\*|\d+)(?:-(\d+))?(?:\/(\d+))?$/.exec(item) ?? [];
      if (from === '*') return step === undefined ? 'any' : `every ${ordinal(Number(step))}`;
      const range = to === undefined ? name(Number(from)) : null;
      const words = range ?? `${name(Number(from))} to ${name(Number(to))}`;
      return step === undefined ? words : `every ${ordinal(Number(step))} from ${words}`;
    }),
  );
}

function list(items: readonly string[]): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

function ordinal(n: number): string {
  const teen = n % 100 > 10 && n % 100 < 14;
  const ending = teen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${ending}`;
}

function timeOfDay(hour: number, minute: number, second: number): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(hour)}:${two(minute)}${second === 0 ? '' : `:${two(second)}`}`;
}

/** In the largest unit that divides it: `90 minutes`. */
function duration(ms: number): string {
  const [unit, size] = units.find(([, one]) => ms % one === 0) ?? ['millisecond', 1];
  const count = ms / size;
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** `2030-01-31 12:00 UTC`, with seconds where they matter. */
function moment(ms: number): string {
  const [date = '', time = ''] = new Date(ms).toISOString().split('T');
  return `${date} ${time.replace('Z', '').replace(/(:00)?\.000$/, '')} UTC`;
}

/**
 * Cron expressions: five fields (minute, hour, day of month, month, day of week), six with seconds
 * in front, or an alias such as @daily. What they mean is decided here; `jobs/schedule/ticks.ts`
 * calculates when they come next. Called by `schedule-rule.ts`.
 *
 * A day matches when either of its two fields does, if neither is `*`: as in every cron since 1979.
 */
import { type CronField, cut, fieldRules, monthNames, readField } from './cron-field.ts';
import { MillraceError } from './errors.ts';

export interface Cron {
  /** Six fields in numbers. */
  readonly text: string;
  readonly second: CronField;
  readonly minute: CronField;
  readonly hour: CronField;
  readonly dayOfMonth: CronField;
  readonly month: CronField;
  readonly dayOfWeek: CronField;
  /**
   * It names times of day: second, minute and hour have neither `*` nor a step. When the clocks
   * change, a fixed time fires once on every day; a rule that is not fixed follows the clock.
   */
  readonly fixed: boolean;
}

const aliases: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

const charsMax = 256;
/** How long each month can be. */
const daysOf = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * @param path how messages call the value.
 * @throws MillraceError SCHEDULE_INVALID naming the field, with a right expression.
 */
export function parseCron(value: string, path = 'cron'): Cron {
  const parts = splitFields(value.trim(), path);
  const fields = fieldRules.map((rule, i) => readField(parts[i] as string, rule, path));
  const [second, minute, hour, dayOfMonth, month, dayOfWeek] = fields as [
    CronField,
    CronField,
    CronField,
    CronField,
    CronField,
    CronField,
  ];
  const text = fields.map((field) => field.text).join(' ');
  const fixed = !(second.wild || minute.wild || hour.wild);
  const cron = { text, second, minute, hour, dayOfMonth, month, dayOfWeek, fixed };
  checkDate(cron, path);
  return Object.freeze(cron);
}

/** Six fields: a second that was left out is 0. */
function splitFields(text: string, path: string): string[] {
  if (text.startsWith('@')) {
    const meant = aliases[text.toLowerCase()];
    if (meant !== undefined) return ['0', ...meant.split(' ')];
    const fix = /^@every\b/i.test(text)
      ? 'Use everyMs for intervals, such as everyMs: 300_000.'
      : `Use one of ${Object.keys(aliases).join(', ')}, or fields such as 0 2 * * *.`;
    throw invalid(path, `'${cut(text)}' is no alias`, fix);
  }
  const fix = 'Write minute, hour, day of month, month, day of week: 0 2 * * * is 02:00 every day.';
  if (text.length > charsMax) {
    throw invalid(path, `it has ${text.length} characters; ${charsMax} are allowed`, fix);
  }
  const parts = text === '' ? [] : text.split(/\s+/);
  if (parts.length === 5) return ['0', ...parts];
  if (parts.length === 6) return parts;
  throw invalid(path, `'${cut(text)}' has ${parts.length} fields, not 5 or 6`, fix);
}

/** A date that no year has would never fire, and nobody would be told. */
function checkDate({ dayOfMonth, month, dayOfWeek }: Omit<Cron, 'text'>, path: string): void {
  if (dayOfMonth.any || dayOfMonth.last || !dayOfWeek.any) return;
  const first = dayOfMonth.values[0] as number;
  if (month.values.some((one) => first <= (daysOf[one - 1] as number))) return;
  const months = month.values.map((one) => monthNames[one - 1]).join(' or ');
  const fix = 'Correct the day or the month; L is the last day of a month, as in 0 2 L FEB *.';
  throw invalid(path, `it never comes, ${months} has no day ${first}`, fix);
}

function invalid(path: string, problem: string, fix: string): MillraceError {
  return new MillraceError('SCHEDULE_INVALID', `${path}: ${problem}.`, { fix, details: { path } });
}

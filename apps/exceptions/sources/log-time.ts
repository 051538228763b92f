/**
 * The times of log lines as ISO 8601 UTC. A time without a zone is taken as UTC; one without a year
 * gets the latest year in which it does not lie after the reference (the file's last change).
 */

const months: Readonly<Record<string, number>> = {
  Jan: 1,
  Feb: 2,
  Mar: 3,
  Apr: 4,
  May: 5,
  Jun: 6,
  Jul: 7,
  Aug: 8,
  Sep: 9,
  Oct: 10,
  Nov: 11,
  Dec: 12,
};

/** Hours east of UTC; other letters count as UTC, since they name several zones. */
const zones: Readonly<Record<string, number>> = {
  EST: -5,
  EDT: -4,
  CST: -6,
  CDT: -5,
  MST: -7,
  MDT: -6,
  PST: -8,
  PDT: -7,
  CET: 1,
  CEST: 2,
  BST: 1,
  EET: 2,
  EEST: 3,
  MSK: 3,
  IST: 5.5,
  JST: 9,
  KST: 9,
  AEST: 10,
  AEDT: 11,
};

const clock = '(\\d{1,2})[:.](\\d{1,2})[:.](\\d{1,2})(?:[.,:](\\d{1,9}))?';
const zone = '(?: ?(Z|[+-]\\d\\d(?::?\\d\\d)?|[A-Z]{3,4}))?';

type Reading = (match: RegExpExecArray, referenceMs: number) => number;

/** From the commonest to the rarest; the first that fits the whole text decides. */
const shapes: readonly (readonly [RegExp, Reading])[] = [
  // 2024-01-02T03:04:05.678Z  2024/01/02 03:04:05  2024-01-02-03.04.05.678901  …,678 CET
  [
    new RegExp(`^(\\d{4})[-/.](\\d\\d)[-/.](\\d\\d)(?:[T _-]|, )${clock}${zone}$`),
    (m) => at(num(m[1]), num(m[2]), num(m[3]), m, 4, m[8]),
  ],
  // Jan  2 03:04:05  Tue Jan 02 03:04:05.678 2024
  [
    new RegExp(`^(?:[A-Z][a-z]{2},? )?([A-Z][a-z]{2}) +(\\d{1,2}) ${clock}(?: (\\d{4}))?$`),
    (m, reference) => {
      const month = months[m[1] as string] ?? Number.NaN;
      const read = (year: number) => at(year, month, num(m[2]), m, 3);
      return m[7] === undefined ? latestBefore(read, reference) : read(num(m[7]));
    },
  ],
  // 081109 203615
  [
    /^(\d\d)(\d\d)(\d\d) (\d\d)(\d\d)(\d\d)$/,
    (m) => at(2000 + num(m[1]), num(m[2]), num(m[3]), m, 4),
  ],
  // 24/01/02 03:04:05
  [
    new RegExp(`^(\\d\\d)/(\\d\\d)/(\\d\\d) ${clock}$`),
    (m) => at(2000 + num(m[1]), num(m[2]), num(m[3]), m, 4),
  ],
  // 01-02 03:04:05.678  01.02 03:04:05  0102 03:04:05.678
  [
    new RegExp(`^(\\d\\d)[-.]?(\\d\\d) ${clock}$`),
    (m, reference) => latestBefore((year) => at(year, num(m[1]), num(m[2]), m, 3), reference),
  ],
  // 02/Jan/2024:03:04:05 +0100  02-Jan-2024 03:04:05.678  02 Jan 2024 03:04:05.678
  [
    new RegExp(`^(\\d{1,2})[/ -]([A-Z][a-z]{2})[/ -](\\d{4})[: ]${clock}${zone}$`),
    (m) => at(num(m[3]), months[m[2] as string] ?? Number.NaN, num(m[1]), m, 4, m[8]),
  ],
  // 20240102-3:04:05:678  20240102 03:04:05.678
  [
    new RegExp(`^(\\d{4})(\\d\\d)(\\d\\d)[- T]${clock}$`),
    (m) => at(num(m[1]), num(m[2]), num(m[3]), m, 4),
  ],
  // 1/2/2024 3:04:05 PM, month first; day first where the month cannot be one
  [
    new RegExp(`^(\\d{1,2})/(\\d{1,2})/(\\d{4}),? ${clock}(?: (AM|PM))?$`),
    (m) => {
      const dayFirst = num(m[1]) > 12;
      const hours = m[8] === undefined ? undefined : (num(m[4]) % 12) + (m[8] === 'PM' ? 12 : 0);
      const [month, day] = dayFirst ? [num(m[2]), num(m[1])] : [num(m[1]), num(m[2])];
      return at(num(m[3]), month, day, m, 4, undefined, hours);
    },
  ],
  // seconds, milliseconds, microseconds or nanoseconds since 1970
  [/^(\d{9,10})(\.\d+)?$/, (m) => Math.floor(Number(m[0]) * 1000)],
  [/^(\d{13})(?:\d{3}|\d{6})?$/, (m) => num(m[1])],
];

function num(text: string | undefined): number {
  return Number(text);
}

/** Groups `first` and on are hours, minutes, seconds and the fraction. NaN when out of range. */
function at(
  year: number,
  month: number,
  day: number,
  match: RegExpExecArray,
  first: number,
  zoneText?: string,
  hours = num(match[first]),
): number {
  const minutes = num(match[first + 1]);
  const seconds = num(match[first + 2]);
  const ms = Math.floor(Number(`0.${match[first + 3] ?? '0'}`) * 1000);
  // 60 is a leap second; it counts as the next minute.
  if (hours > 23 || minutes > 59 || seconds > 60) return Number.NaN;
  const midnight = Date.UTC(year, month - 1, day);
  const date = new Date(midnight);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return Number.NaN;
  return midnight + ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms - offsetMs(zoneText);
}

function offsetMs(text: string | undefined): number {
  if (text === undefined || text === 'Z') return 0;
  const signed = /^([+-])(\d\d):?(\d\d)?$/.exec(text);
  if (signed === null) return (zones[text] ?? 0) * 3_600_000;
  const minutes = num(signed[2]) * 60 + num(signed[3] ?? '0');
  return (signed[1] === '-' ? -minutes : minutes) * 60_000;
}

/** Eight years back cover 29 February. */
function latestBefore(read: (year: number) => number, referenceMs: number): number {
  const year = new Date(referenceMs).getUTCFullYear();
  for (let back = 0; back <= 8; back += 1) {
    const ms = read(year - back);
    if (ms <= referenceMs) return ms;
  }
  return Number.NaN;
}

/**
 * ISO 8601 UTC with milliseconds, or undefined when the text is no time. 1 µs, for faults only.
 * @example toIsoTime('Feb 29 23:59:58', Date.parse('2026-01-01')) // '2024-02-29T23:59:58.000Z'
 */
export function toIsoTime(text: string, referenceMs: number): string | undefined {
  for (const [pattern, read] of shapes) {
    const match = pattern.exec(text);
    if (match === null) continue;
    const ms = read(match, referenceMs);
    return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : undefined;
  }
  return undefined;
}

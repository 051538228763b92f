/**
 * Personal data recognised by its form inside text: e-mail addresses, telephone numbers, bank
 * accounts, cards, national ids, IPv4 addresses. Check digits are verified where there are any, so
 * order numbers and times in milliseconds are left alone. Every look is bounded: linear time.
 */
import { isAlphanumeric, isDigit, isLetter, type Span } from './secrets.ts';

export const personalKinds = ['email', 'phone', 'iban', 'card', 'national-id', 'ipv4'] as const;
export type PersonalKind = (typeof personalKinds)[number];

const localMax = 64;
const domainMax = 253;

function isLocalUnit(c: number): boolean {
  if (isAlphanumeric(c) || c >= 0x80) return true;
  // ! # $ % & ' * + - / = ? ^ _ ` { | } ~ . of RFC 5322, less those that are quotes around it.
  return c === 0x2e || c === 0x5f || c === 0x2d || c === 0x2b || c === 0x25 || c === 0x7e;
}

function isDomainUnit(c: number): boolean {
  return isAlphanumeric(c) || c === 0x2d || c === 0x2e || c >= 0x80;
}

/** Around the @ at `at`; nothing before `from` belongs to it. */
export function emailAt(text: string, at: number, from: number): Span | null {
  let start = at;
  const first = Math.max(from, at - localMax);
  while (start > first && isLocalUnit(text.charCodeAt(start - 1))) start -= 1;
  while (start < at && text.charCodeAt(start) === 0x2e) start += 1;
  if (start === at) return null;
  const last = Math.min(text.length, at + 1 + domainMax);
  let end = at + 1;
  while (end < last && isDomainUnit(text.charCodeAt(end))) end += 1;
  while (end > at && (text.charCodeAt(end - 1) === 0x2e || text.charCodeAt(end - 1) === 0x2d)) {
    end -= 1;
  }
  let dot = end - 1;
  while (dot > at && text.charCodeAt(dot) !== 0x2e) dot -= 1;
  if (dot <= at + 1 || end - dot < 3) return null;
  const top = text.charCodeAt(dot + 1);
  return isLetter(top) || top >= 0x80 ? { start, end } : null;
}

/** E.164 with a plus: 8 to 15 digits, with single blanks, dots, dashes or brackets between. */
export function phoneAt(text: string, at: number): Span | null {
  let digits = 0;
  let end = at + 1;
  let gap = 0;
  for (let i = at + 1; i < text.length && digits <= 15; i += 1) {
    const c = text.charCodeAt(i);
    if (isDigit(c)) {
      digits += 1;
      gap = 0;
      end = i + 1;
    } else {
      const separates = c === 0x20 || c === 0x2d || c === 0x2e || c === 0x2f;
      if (!separates && c !== 0x28 && c !== 0x29 && c !== 0xa0) break;
      gap += 1;
      if (gap > 2) break;
    }
  }
  return digits >= 8 && digits <= 15 ? { start: at, end } : null;
}

/** Length by country, of the IBAN registry. */
const ibanLengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 ' +
    'DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 ' +
    'IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 ' +
    'MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 ' +
    'SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as const),
);

/** With single blanks or dashes between groups, as people write it. */
export function ibanAt(text: string, at: number): Span | null {
  if (!isLetter(text.charCodeAt(at + 1))) return null;
  if (!isDigit(text.charCodeAt(at + 2)) || !isDigit(text.charCodeAt(at + 3))) return null;
  const length = ibanLengths.get(text.slice(at, at + 2).toUpperCase());
  if (length === undefined) return null;
  let account = '';
  let end = at;
  for (let i = at; i < text.length && account.length < length; i += 1) {
    const c = text.charCodeAt(i);
    if (isAlphanumeric(c)) {
      account += text[i];
      end = i + 1;
    } else if ((c !== 0x20 && c !== 0x2d && c !== 0xa0) || end !== i) break;
  }
  if (account.length < length || isAlphanumeric(text.charCodeAt(end))) return null;
  return isIban(account.toUpperCase()) ? { start: at, end } : null;
}

/** ISO 7064, modulo 97. */
function isIban(account: string): boolean {
  let rest = 0;
  for (let i = 0; i < account.length; i += 1) {
    const c = account.charCodeAt((i + 4) % account.length);
    rest = isDigit(c) ? (rest * 10 + c - 0x30) % 97 : (rest * 100 + c - 0x37) % 97;
  }
  return rest === 1;
}

/** First digits of the card networks by length: a time in milliseconds is no card. */
function isIssuer(digits: string): boolean {
  const two = Number(digits.slice(0, 2));
  const four = Number(digits.slice(0, 4));
  switch (digits.length) {
    case 13:
      return digits.startsWith('4');
    case 14:
      return two === 36 || two === 38 || two === 39 || (four >= 3000 && four <= 3059);
    case 15:
      return two === 34 || two === 37 || four === 1800 || four === 2131;
    case 16:
      return (
        digits.startsWith('4') ||
        (two >= 50 && two <= 69) ||
        two === 35 ||
        two === 81 ||
        (four >= 2200 && four <= 2720)
      );
    default:
      return digits.startsWith('4') || (two >= 50 && two <= 69);
  }
}

export function isCard(digits: string): boolean {
  if (digits.length < 13 || digits.length > 19 || !isIssuer(digits)) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    let digit = digits.charCodeAt(digits.length - 1 - i) - 0x30;
    if (i % 2 === 1) digit = digit > 4 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return sum % 10 === 0;
}

interface DigitGroup extends Span {
  readonly digits: string;
}

export interface NumberFind extends Span {
  readonly kind: 'card' | 'national-id';
}

/**
 * Cards and national ids in a run of digit groups, each apart from the next by one sign. `end` is
 * where the run ends; `count` its digits, known to the caller.
 */
export function numbersIn(
  text: string,
  at: number,
  end: number,
  kinds: { readonly card: boolean; readonly nationalId: boolean },
): NumberFind[] {
  const groups: DigitGroup[] = [];
  for (let i = at; i < end; ) {
    let last = i;
    while (last < end && isDigit(text.charCodeAt(last))) last += 1;
    groups.push({ start: i, end: last, digits: text.slice(i, last) });
    i = last + 1;
  }
  const found: NumberFind[] = [];
  for (let g = 0; g < groups.length; ) {
    const card = kinds.card ? cardFrom(text, groups, g) : 0;
    const id = card === 0 && kinds.nationalId && isNationalId(text, groups, g) ? 3 : 0;
    const taken = card || id;
    if (taken > 0) {
      const { start } = groups[g] as DigitGroup;
      const { end: last } = groups[g + taken - 1] as DigitGroup;
      found.push({ start, end: last, kind: card > 0 ? 'card' : 'national-id' });
    }
    g += taken || 1;
  }
  return found;
}

/**
 * How many groups from this one on are a card number; the longest. 0 for none. Its groups have two
 * digits at least and the same sign between them: numbers that merely stand in a row are none.
 */
function cardFrom(text: string, groups: readonly DigitGroup[], from: number): number {
  let digits = '';
  let taken = 0;
  for (let g = from; g < groups.length; g += 1) {
    const { digits: group, start } = groups[g] as DigitGroup;
    if (digits.length + group.length > 19 || group.length < 2) break;
    if (g > from + 1 && text[start - 1] !== text[(groups[from + 1] as DigitGroup).start - 1]) break;
    digits += group;
    if (isCard(digits)) taken = g - from + 1;
  }
  return taken;
}

/** US SSN: 123-45-6789 or 123 45 6789, without the numbers that are never given. */
function isNationalId(text: string, groups: readonly DigitGroup[], from: number): boolean {
  const [area, group, serial] = groups.slice(from, from + 3);
  if (area?.digits.length !== 3 || group?.digits.length !== 2) return false;
  if (serial?.digits.length !== 4) return false;
  if (text[area.end] !== text[group.end]) return false;
  const { digits } = area;
  if (digits === '000' || digits === '666' || digits.startsWith('9')) return false;
  return group.digits !== '00' && serial.digits !== '0000';
}

/** UK national insurance number: two letters, six digits, a letter A to D; blanks allowed. */
export function ninoAt(text: string, at: number): Span | null {
  const second = text.charCodeAt(at + 1);
  if (second < 0x41 || second > 0x5a) return null;
  const third = text.charCodeAt(at + 2);
  if (!isDigit(third) && third !== 0x20) return null;
  const found = /^(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(?:\d\d ?){3}[A-D]/;
  const match = found.exec(text.slice(at, at + 13));
  if (match === null) return null;
  const end = at + match[0].length;
  return isAlphanumeric(text.charCodeAt(end)) ? null : { start: at, end };
}

/** Dotted decimal, each 0 to 255. */
export function ipv4At(text: string, at: number): Span | null {
  let parts = 0;
  let i = at;
  for (;;) {
    let value = 0;
    const from = i;
    while (i < text.length && i - from < 3 && isDigit(text.charCodeAt(i))) {
      value = value * 10 + text.charCodeAt(i) - 0x30;
      i += 1;
    }
    if (i === from || value > 255) return null;
    parts += 1;
    if (parts === 4) break;
    if (text.charCodeAt(i) !== 0x2e) return null;
    i += 1;
  }
  const next = text.charCodeAt(i);
  const goesOn = isAlphanumeric(next) || (next === 0x2e && isDigit(text.charCodeAt(i + 1)));
  return goesOn ? null : { start: at, end: i };
}

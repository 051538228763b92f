/**
 * One pass over a text that finds secrets and personal data in it. Looks closer only where a sign
 * or the beginning of a word gives reason to; text without either costs some 1.5 ns a character.
 *
 * Invariant: spans come in order and do not overlap; markers of an earlier redaction are passed
 * over, so that redacting twice changes nothing.
 */
import {
  emailAt,
  ibanAt,
  ipv4At,
  ninoAt,
  numbersIn,
  type PersonalKind,
  phoneAt,
} from './personal-values.ts';
import {
  assignedSecretAt,
  isDigit,
  pemAt,
  type Span,
  secretWordAt,
  type TokenReach,
  urlCredentialsAt,
} from './secrets.ts';

const markerStart = '[redacted:';
const markerPattern = /^\[redacted:[a-z4-]{1,16}(?::(?=[0-9]*[a-f])[0-9a-f]{16})?\]/;
const markerCharsMax = 46;

/** Where the marker that begins at `i` ends; -1 when it is none. Only what looks just like ours. */
export function markerEnd(text: string, i: number): number {
  if (!text.startsWith(markerStart, i)) return -1;
  const match = markerPattern.exec(text.slice(i, i + markerCharsMax));
  return match === null ? -1 : i + match[0].length;
}

export interface SensitiveSpan extends Span {
  readonly kind: PersonalKind | 'secret';
}

/** What to look for. */
export interface Lookout {
  readonly secret: boolean;
  readonly email: boolean;
  readonly phone: boolean;
  readonly iban: boolean;
  readonly card: boolean;
  readonly nationalId: boolean;
  readonly ipv4: boolean;
}

const [other, letter, digit, at, plus, colon, equals, dash, bracket] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const kinds = new Uint8Array(128);
for (let c = 0; c < 26; c += 1) {
  kinds[0x41 + c] = letter;
  kinds[0x61 + c] = letter;
}
kinds.fill(digit, 0x30, 0x3a);
for (const [sign, kind] of [
  ['@', at],
  ['+', plus],
  [':', colon],
  ['=', equals],
  ['-', dash],
  ['[', bracket],
] as const) {
  kinds[sign.charCodeAt(0)] = kind;
}

/** Null when there is nothing. */
export function findSensitive(text: string, look: Lookout): SensitiveSpan[] | null {
  const search: Search = { text, look, from: 0, reach: { end: 0 }, spans: null };
  let inWord = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    const kind = c < 128 ? (kinds[c] as number) : other;
    if (kind === letter || kind === digit) {
      if (inWord) continue;
      inWord = true;
      const next = kind === digit ? lookAtNumber(search, i) : lookAtWord(search, i, c);
      if (next === i) continue;
      i = next - 1;
      inWord = !isNumberEnd(text, next);
    } else {
      const next = kind === other ? i : lookAtSign(search, i, kind, inWord);
      inWord = false;
      if (next > i) i = next - 1;
    }
  }
  return search.spans;
}

interface Search {
  readonly text: string;
  readonly look: Lookout;
  /** Where the last span ends. */
  from: number;
  readonly reach: TokenReach;
  spans: SensitiveSpan[] | null;
}

/** Behind a span or a run of digits a new word may begin, unless letters follow directly. */
function isNumberEnd(text: string, next: number): boolean {
  const c = text.charCodeAt(next);
  return !(c < 128 && (kinds[c] === letter || kinds[c] === digit));
}

function add(search: Search, span: Span, kind: SensitiveSpan['kind']): number {
  // A value that is a marker was redacted before.
  const passed = markerEnd(search.text, span.start);
  if (passed >= span.end - 1 && passed > 0) {
    search.from = Math.max(passed, span.end);
    return search.from;
  }
  search.spans ??= [];
  search.spans.push({ start: span.start, end: span.end, kind });
  search.from = span.end;
  return span.end;
}

/** Returns where to go on; `i` when there was nothing. */
function lookAtWord(search: Search, i: number, c: number): number {
  const { text, look } = search;
  if (look.secret) {
    const secret = secretWordAt(text, i, c, search.reach);
    if (secret) return add(search, secret, 'secret');
  }
  if (look.iban) {
    const iban = ibanAt(text, i);
    if (iban) return add(search, iban, 'iban');
  }
  if (look.nationalId) {
    const nino = ninoAt(text, i);
    if (nino) return add(search, nino, 'national-id');
  }
  return i;
}

function lookAtNumber(search: Search, i: number): number {
  const { text, look } = search;
  const goesOn = text.charCodeAt(i - 1) === 0x2e && isDigit(text.charCodeAt(i - 2));
  if (look.ipv4 && !goesOn) {
    const address = ipv4At(text, i);
    if (address) return add(search, address, 'ipv4');
  }
  let end = i + 1;
  let digits = 1;
  for (let j = i + 1; j < text.length; j += 1) {
    const c = text.charCodeAt(j);
    if (isDigit(c)) {
      digits += 1;
      end = j + 1;
    } else if ((c !== 0x20 && c !== 0x2d) || end !== j) break;
  }
  if (digits < 9) return i;
  if (!isNumberEnd(text, end)) {
    // `12 34 56ab`: the last group is the beginning of a word.
    while (end > i && isDigit(text.charCodeAt(end - 1))) end -= 1;
    end -= 1;
    if (end <= i) return i;
  }
  for (const found of numbersIn(text, i, end, look)) add(search, found, found.kind);
  // The run may go on with the local part of an address: only what was found is passed over.
  return search.from > i ? search.from : end;
}

function lookAtSign(search: Search, i: number, kind: number, afterWord: boolean): number {
  const { text, look, from } = search;
  if (kind === at) {
    const email = look.email ? emailAt(text, i, from) : null;
    return email ? add(search, email, 'email') : i;
  }
  if (kind === plus) {
    const phone = look.phone && !afterWord ? phoneAt(text, i) : null;
    return phone ? add(search, phone, 'phone') : i;
  }
  if (kind === bracket) {
    const passed = markerEnd(text, i);
    if (passed === -1) return i;
    search.from = passed;
    return passed;
  }
  if (!look.secret) return i;
  const secret = secretAtSign(text, i, kind);
  return secret ? add(search, secret, 'secret') : i;
}

function secretAtSign(text: string, i: number, kind: number): Span | null {
  if (kind === dash) return text.charCodeAt(i + 1) === 0x2d ? pemAt(text, i) : null;
  if (kind === colon && text.startsWith('//', i + 1)) return urlCredentialsAt(text, i);
  return assignedSecretAt(text, i);
}

/**
 * What a secret looks like: names of members whose values are secrets, and shapes of secrets inside
 * longer text (keys of clouds, tokens, PEM blocks, credentials in URLs, `password=…`). No regular
 * expression runs over the text: every look is bounded, so hostile text costs linear time.
 */

/** Half-open: text.slice(start, end) is the secret. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const secretWords = new Set([
  'password',
  'passwd',
  'passwort',
  'pwd',
  'passphrase',
  'passcode',
  'secret',
  'token',
  'authorization',
  'cookie',
  'credential',
  'credentials',
  'otp',
  'jwt',
]);
/** Names of several words, folded; what comes before them does not matter (`stripeApiKey`). */
const secretEndings = [
  'apikey',
  'privatekey',
  'secretkey',
  'accesskey',
  'accountkey',
  'signingkey',
  'encryptionkey',
  'masterkey',
  'secretvalue',
] as const;
/** Places in a list, not keys to anything. */
const harmless = new Set([
  'pagetoken',
  'nextpagetoken',
  'previouspagetoken',
  'nexttoken',
  'continuationtoken',
  'synctoken',
  'fencetoken',
]);
/** In text their values reach to the end of the line. */
const headers = new Set(['authorization', 'proxyauthorization', 'cookie', 'setcookie']);

/** `apiKey`, `api_key` and `API-KEY` are one name. */
export function foldName(name: string): string {
  return name.replace(/[\s_.-]/g, '').toLowerCase();
}

/**
 * Whether the values of members with this name are secrets. Compares whole words, from the end:
 * `dbPassword` and `DB_PASSWORD` are, `passwordResetAt` and `tokenCount` are not.
 */
export function isSecretName(name: string): boolean {
  const folded = foldName(name);
  if (harmless.has(folded)) return false;
  if (secretWords.has(folded) || headers.has(folded)) return true;
  if (secretEndings.some((ending) => folded.endsWith(ending))) return true;
  return secretWords.has(foldName(lastWord(name)));
}

/** Of `camelCase`, `snake_case`, `kebab-case` and `dotted.names`. */
function lastWord(name: string): string {
  for (let i = name.length - 1; i > 0; i -= 1) {
    const c = name.charCodeAt(i);
    if (c === 0x5f || c === 0x2d || c === 0x2e || c === 0x20) return name.slice(i + 1);
    const before = name.charCodeAt(i - 1);
    if (c >= 0x41 && c <= 0x5a && before >= 0x61 && before <= 0x7a) return name.slice(i);
  }
  return name;
}

const secretNamesMax = 1_024;
const nameCharsMax = 48;
const knownNames = new Map<string, boolean>();

/** The same for words met in text, which repeat. */
function isKnownSecretName(name: string): boolean {
  let secret = knownNames.get(name);
  if (secret === undefined) {
    secret = isSecretName(name);
    if (knownNames.size >= secretNamesMax) knownNames.clear();
    knownNames.set(name, secret);
  }
  return secret;
}

export function isLetter(c: number): boolean {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a);
}

export function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}

export function isAlphanumeric(c: number): boolean {
  return isLetter(c) || isDigit(c);
}

/** Base64url and its padding's friends: what tokens are made of. */
function isTokenUnit(c: number): boolean {
  return isAlphanumeric(c) || c === 0x5f || c === 0x2d;
}

function isBearerUnit(c: number): boolean {
  return isTokenUnit(c) || c === 0x2e || c === 0x7e || c === 0x2b || c === 0x2f || c === 0x3d;
}

function runEnd(text: string, from: number, belongs: (c: number) => boolean): number {
  let i = from;
  while (i < text.length && belongs(text.charCodeAt(i))) i += 1;
  return i;
}

/** Prefix, and how many units of a token must follow it. */
const tokenShapes: readonly (readonly [prefix: string, least: number])[] = [
  ['AKIA', 16],
  ['ASIA', 16],
  ['AIza', 30],
  ['ghp_', 30],
  ['gho_', 30],
  ['ghu_', 30],
  ['ghs_', 30],
  ['ghr_', 30],
  ['github_pat_', 22],
  ['glpat-', 16],
  ['npm_', 30],
  ['xoxb-', 10],
  ['xoxp-', 10],
  ['xoxa-', 10],
  ['xoxs-', 10],
  ['xapp-', 10],
  ['sk_live_', 10],
  ['sk_test_', 10],
  ['rk_live_', 10],
  ['whsec_', 10],
  ['sk-', 20],
];
const shapesByUnit = new Map<number, (typeof tokenShapes)[number][]>();
for (const shape of tokenShapes) {
  const unit = shape[0].charCodeAt(0);
  shapesByUnit.set(unit, [...(shapesByUnit.get(unit) ?? []), shape]);
}

/** First units of words that may begin a secret; others need no look. */
const firstUnits = new Uint8Array(128);
for (const unit of [...shapesByUnit.keys(), 0x65 /* eyJ */, 0x42, 0x62 /* Bearer */]) {
  firstUnits[unit] = 1;
}

/** How far the token reaches that was last looked at: `eyJ-eyJ-…` is read once, not n times. */
export interface TokenReach {
  end: number;
}

/** A secret that begins with this word; the word begins at `at`. */
export function secretWordAt(text: string, at: number, c: number, reach: TokenReach): Span | null {
  if (firstUnits[c] === 0) return null;
  for (const [prefix, least] of shapesByUnit.get(c) ?? []) {
    if (!text.startsWith(prefix, at)) continue;
    const end = runEnd(text, at + prefix.length, isTokenUnit);
    if (end - at - prefix.length >= least) return { start: at, end };
  }
  if (c === 0x65) return jwtAt(text, at, reach);
  if (c === 0x42 || c === 0x62) return bearerAt(text, at);
  return null;
}

/** Three parts of base64url; the first is an object, so it begins with `{"`, which is eyJ. */
function jwtAt(text: string, at: number, reach: TokenReach): Span | null {
  if (!text.startsWith('eyJ', at)) return null;
  if (at >= reach.end) reach.end = runEnd(text, at, isTokenUnit);
  const first = reach.end;
  if (first - at < 10 || text.charCodeAt(first) !== 0x2e) return null;
  const second = runEnd(text, first + 1, isTokenUnit);
  if (second - first < 3 || text.charCodeAt(second) !== 0x2e) return { start: at, end: second };
  return { start: at, end: runEnd(text, second + 1, isTokenUnit) };
}

function bearerAt(text: string, at: number): Span | null {
  if (text.charCodeAt(at + 6) !== 0x20) return null;
  if (text.slice(at, at + 6).toLowerCase() !== 'bearer') return null;
  const start = at + 7;
  const end = runEnd(text, start, isBearerUnit);
  return end - start >= 16 ? { start, end } : null;
}

/** `-----BEGIN … -----END …-----`; certificates and public keys are no secrets. */
export function pemAt(text: string, at: number): Span | null {
  const begin = '-----BEGIN ';
  if (!text.startsWith(begin, at)) return null;
  const label = text.slice(at + begin.length, at + begin.length + 64);
  if (/^[A-Z0-9 ]*(?:CERTIFICATE|PUBLIC KEY)/.test(label)) return null;
  const ending = text.indexOf('-----END ', at);
  if (ending === -1) return { start: at, end: text.length };
  const end = text.indexOf('-----', ending + 9);
  return { start: at, end: end === -1 ? text.length : end + 5 };
}

const authorityMax = 1_024;
const slashedMax = 96;

/** `scheme://user:secret@host`: what stands before the last @ of the host. `at` is the colon. */
export function urlCredentialsAt(text: string, at: number): Span | null {
  const start = at + 3;
  let last = Math.min(text.length, start + authorityMax);
  let found = -1;
  let colon = -1;
  // A password may hold a slash that nobody escaped; a port never does.
  let inPath = false;
  for (let i = start; i < last; i += 1) {
    const c = text.charCodeAt(i);
    if (c <= 0x20 || c === 0x22 || c === 0x27 || c === 0x3c || c === 0x3e || c === 0x60) break;
    if (c === 0x40 && (!inPath || found === -1)) found = i;
    else if (c === 0x3a && colon === -1 && !inPath) colon = i;
    else if (c === 0x2f || c === 0x3f || c === 0x23) {
      const port = colon === -1 || isDigit(text.charCodeAt(colon + 1)) || colon + 1 === i;
      if (found !== -1 || port) break;
      if (!inPath) last = Math.min(last, i + slashedMax);
      inPath = true;
    }
  }
  return found > start ? { start, end: found } : null;
}

function isNameUnit(c: number): boolean {
  return isAlphanumeric(c) || c === 0x5f || c === 0x2d;
}

/** `password=…`, `"api_key": "…"`, `Authorization: …`: the value, where `at` is the = or colon. */
export function assignedSecretAt(text: string, at: number): Span | null {
  let end = at;
  if (text.charCodeAt(end - 1) === 0x20) end -= 1;
  const quote = text.charCodeAt(end - 1);
  if (quote === 0x22 || quote === 0x27) end -= 1;
  if (text.charCodeAt(end - 1) === 0x5c) end -= 1;
  if (!isLetter(text.charCodeAt(end - 1))) return null;
  let start = end;
  while (start > 0 && end - start < nameCharsMax && isNameUnit(text.charCodeAt(start - 1))) {
    start -= 1;
  }
  const name = text.slice(start, end);
  if (!isKnownSecretName(name)) return null;
  return valueSpan(text, at + 1, headers.has(foldName(name)));
}

function valueSpan(text: string, from: number, wholeLine: boolean): Span | null {
  let start = from;
  while (text.charCodeAt(start) === 0x20 && start - from < 8) start += 1;
  const escaped = text.charCodeAt(start) === 0x5c;
  if (escaped) start += 1;
  const quote = text.charCodeAt(start);
  if (quote === 0x22 || quote === 0x27) {
    start += 1;
    const closing = text.indexOf(String.fromCharCode(quote), start);
    const end = closing === -1 ? text.length : closing - (escaped ? 1 : 0);
    return end > start ? { start, end } : null;
  }
  let end = start;
  while (end < text.length && !endsValue(text.charCodeAt(end), wholeLine)) end += 1;
  const literal = end - start < 6 && literals.has(text.slice(start, end));
  return end > start && !literal ? { start, end } : null;
}

const literals = new Set(['null', 'true', 'false', '{', '[', '*', '***']);

function endsValue(c: number, wholeLine: boolean): boolean {
  if (c === 0x0a || c === 0x0d) return true;
  if (wholeLine) return c === 0x22 || c === 0x27;
  // Blank, and ; & , " ' ) } ] which end a value in connection strings, queries and JSON.
  return c <= 0x20 || endings.has(c);
}

const endings = new Set([...';&,"\')}]'].map((sign) => sign.charCodeAt(0)));

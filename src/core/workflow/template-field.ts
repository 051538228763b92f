/**
 * A small language that says what a template may hold. One description of a field is the source of
 * its check, of its default, of the JSON Schema for editors and of the table in the docs.
 *
 * Invariant: `readField` never throws; what it answers fits the field, with wrong parts left out.
 */
import { describeKind } from '../describe.ts';
import { isMillraceError } from '../errors.ts';
import { freezeJson, type JsonValue } from '../json.ts';
import { formatPath } from '../json-rules.ts';
import { nearestName, suggestName } from '../nearest-name.ts';
import type { TemplateProblem } from './graph.ts';

interface Described {
  /** One sentence, for editors and the docs. */
  readonly about: string;
  readonly required?: true;
  /** What counts when it is absent or empty. */
  readonly fallback?: JsonValue;
  /** The same field under another name. */
  readonly alias?: string;
  readonly example?: JsonValue;
}

export type Field = Described &
  (
    | {
        readonly kind: 'text';
        readonly pattern?: RegExp;
        readonly rule?: string;
        readonly max?: number;
      }
    | { readonly kind: 'whole' | 'number'; readonly from: number; readonly to: number }
    | { readonly kind: 'flag' }
    | {
        readonly kind: 'word';
        readonly words: readonly string[];
        /** Other spellings that mean one of the words. */
        readonly synonyms?: Readonly<Record<string, string>>;
        /** Spellings of guides and other systems → what to write here. */
        readonly wrong?: Readonly<Record<string, string>>;
      }
    | {
        readonly kind: 'list';
        readonly item: Field;
        readonly least?: number;
        readonly most?: number;
      }
    | ObjectField
    /** Overrides by any name: what is absent in them has no default. */
    | { readonly kind: 'map'; readonly value: Field }
    /** `object`: members only, no list or scalar. */
    | { readonly kind: 'json'; readonly object: boolean }
    /** A JSON Schema, checked by whoever is given to `compileTemplate`. */
    | { readonly kind: 'schema' }
  );

export type ObjectField = Described & {
  readonly kind: 'object';
  readonly fields: Readonly<Record<string, Field>>;
  /** Names that start so are left alone: a place for YAML anchors. */
  readonly free?: string;
  /** Names of guides and other systems → what to write here. */
  readonly wrong?: Readonly<Record<string, string>>;
};

export type Place = readonly (string | number)[];

export interface Reading {
  readonly problems: TemplateProblem[];
  /** False within overrides: what is absent there stays as it is. */
  readonly fallbacks: boolean;
  /** Told of every JSON Schema. */
  readonly onSchema: (schema: JsonValue, path: Place) => void;
}

/** Absent: not there, or wrong and reported. */
export function readField(
  field: Field,
  value: unknown,
  path: Place,
  reading: Reading,
): JsonValue | undefined {
  if (value === undefined || value === null) return readAbsent(field, path, reading);
  const refuse = (message: string, hint: string | null = null) => {
    reading.problems.push({ path, message, hint });
    return undefined;
  };
  switch (field.kind) {
    case 'text':
      return readText(field, value, refuse);
    case 'whole':
    case 'number':
      return readNumber(field, value, refuse);
    case 'flag':
      if (typeof value === 'boolean') return value;
      return refuse(`is ${show(value)}, not true or false`, flagHint(value));
    case 'word':
      return readWord(field, value, refuse);
    case 'list':
      return readList(field, value, path, reading, refuse);
    case 'object':
      return readObject(field, value, path, reading, refuse);
    case 'map':
      return readMap(field, value, path, reading, refuse);
    case 'json':
    case 'schema':
      return readJson(field, value, path, reading, refuse);
  }
}

type Refuse = (message: string, hint?: string | null) => undefined;
type Kind<K extends Field['kind']> = Extract<Field, { kind: K }>;

function readAbsent(field: Field, path: Place, reading: Reading): JsonValue | undefined {
  if (field.required) {
    const hint = field.example === undefined ? null : `For example: ${show(field.example)}`;
    reading.problems.push({ path, message: 'is required', hint });
    return undefined;
  }
  if (!reading.fallbacks || field.fallback === undefined) return undefined;
  // An object's default is what its fields say.
  if (field.kind === 'object') return readField(field, field.fallback, path, reading);
  return field.fallback;
}

function readText(field: Kind<'text'>, value: unknown, refuse: Refuse): JsonValue | undefined {
  if (typeof value !== 'string') {
    const quotable = typeof value === 'number' || typeof value === 'boolean';
    return refuse(`is ${show(value)}, not text`, quotable ? 'Put it into quotes.' : null);
  }
  const { max = 10_000, pattern, rule } = field;
  if (value.trim() === '') return refuse('is empty');
  if (value.length > max) return refuse(`has ${value.length} characters, ${max} are allowed`);
  if (pattern !== undefined && !pattern.test(value)) {
    return refuse(`is ${show(value)}, which is not allowed here`, rule ?? null);
  }
  if (value.includes('\0') || !value.isWellFormed()) return refuse('is not Unicode text');
  return value;
}

function readNumber(
  field: Kind<'whole' | 'number'>,
  value: unknown,
  refuse: Refuse,
): JsonValue | undefined {
  const { kind, from, to } = field;
  const wanted = kind === 'whole' ? 'a whole number' : 'a number';
  if (typeof value !== 'number' || Number.isNaN(value)) {
    const unquoted = typeof value === 'string' && /^\d+$/.test(value);
    return refuse(`is ${show(value)}, not ${wanted}`, unquoted ? 'Remove the quotes.' : null);
  }
  if (kind === 'whole' && !Number.isInteger(value)) {
    return refuse(`is ${value}, not ${wanted}`);
  }
  if (value < from || value > to) return refuse(`is ${value}, not from ${from} to ${to}`);
  return value;
}

function flagHint(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  if (/^(yes|on|true)$/i.test(value)) return 'Write true.';
  return /^(no|off|false)$/i.test(value) ? 'Write false.' : null;
}

function readWord(field: Kind<'word'>, value: unknown, refuse: Refuse): JsonValue | undefined {
  const { words, synonyms = {}, wrong = {} } = field;
  const word = typeof value === 'string' ? value : '';
  if (words.includes(word)) return word;
  if (Object.hasOwn(synonyms, word)) return synonyms[word];
  const near = nearestName(word, words);
  const hint = Object.hasOwn(wrong, word)
    ? (wrong[word] as string)
    : near === undefined
      ? null
      : `Did you mean '${near}'?`;
  return refuse(`is ${show(value)}, not one of ${words.join(', ')}`, hint);
}

function readList(
  field: Kind<'list'>,
  value: unknown,
  path: Place,
  reading: Reading,
  refuse: Refuse,
): JsonValue | undefined {
  const { item, least = 0, most = 10_000 } = field;
  if (!Array.isArray(value)) {
    const scalar = typeof value === 'string' && item.kind === 'text';
    return refuse(`is ${show(value)}, not a list`, scalar ? `Write [${value}].` : null);
  }
  if (value.length < least) return refuse(`has ${value.length} entries, it needs ${least}`);
  if (value.length > most) return refuse(`has ${value.length} entries, ${most} are allowed`);
  const entries = Array.from(value, (entry, at) => {
    const place = [...path, at];
    if (entry !== null && entry !== undefined) return readField(item, entry, place, reading);
    reading.problems.push({ path: place, message: 'is empty', hint: null });
    return undefined;
  });
  // Places are kept for later complaints: what is wrong becomes null.
  return entries.map((entry) => entry ?? null);
}

function membersOf(value: unknown, refuse: Refuse): [string, unknown][] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !isPlain(value)) {
    return refuse(`is ${show(value)}, not an object`);
  }
  return Object.entries(value);
}

/** Of any realm. Members of a Map or of a class instance are not what it says. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function readObject(
  field: ObjectField,
  value: unknown,
  path: Place,
  reading: Reading,
  refuse: Refuse,
): JsonValue | undefined {
  const { fields, wrong = {}, free } = field;
  const callable = fields.callable?.kind === 'text' && typeof value === 'string';
  if (callable) return refuse(`is ${show(value)}, not an object`, `Write { callable: ${value} }.`);
  const members = membersOf(value, refuse);
  if (members === undefined) return undefined;
  const canonical = new Map<string, string>();
  for (const [name, { alias }] of Object.entries(fields)) {
    canonical.set(name, name);
    if (alias !== undefined) canonical.set(alias, name);
  }
  const given = new Map<string, { readonly written: string; readonly member: unknown }>();
  for (const [written, member] of members) {
    const name = canonical.get(written);
    const place = [...path, written];
    if (name === undefined) {
      if (free !== undefined && written.startsWith(free)) continue;
      const hint = Object.hasOwn(wrong, written)
        ? (wrong[written] as string)
        : suggestName(written, Object.keys(fields));
      reading.problems.push({ path: place, message: 'is not a known field', hint, at: 'name' });
      continue;
    }
    const before = given.get(name);
    if (before === undefined) given.set(name, { written, member });
    else if (show(before.member) !== show(member)) {
      const message = `means the same as ${before.written} and has another value`;
      reading.problems.push({ path: place, message, hint: `Keep ${name} only.`, at: 'name' });
    }
  }
  const object: Record<string, JsonValue> = {};
  for (const [name, one] of Object.entries(fields)) {
    const { written, member } = given.get(name) ?? { written: name, member: undefined };
    const read = readField(one, member, [...path, written], reading);
    if (read !== undefined) object[name] = read;
  }
  return object;
}

function readMap(
  field: Kind<'map'>,
  value: unknown,
  path: Place,
  reading: Reading,
  refuse: Refuse,
): JsonValue | undefined {
  const members = membersOf(value, refuse);
  if (members === undefined) return undefined;
  const read: [string, JsonValue][] = [];
  const overrides = { ...reading, fallbacks: false };
  for (const [name, member] of members) {
    const one = readField(field.value, member ?? {}, [...path, name], overrides);
    if (one !== undefined) read.push([name, one]);
  }
  return Object.fromEntries(read);
}

function readJson(
  field: Kind<'json' | 'schema'>,
  value: unknown,
  path: Place,
  reading: Reading,
  refuse: Refuse,
): JsonValue | undefined {
  const object = field.kind === 'schema' || field.object;
  if (object && (typeof value !== 'object' || Array.isArray(value))) {
    return refuse(`is ${show(value)}, not an object`);
  }
  try {
    const frozen = freezeJson(value, { root: formatPath('', path).replace(/^\./, '') });
    if (field.kind === 'schema') reading.onSchema(frozen, path);
    return frozen;
  } catch (error) {
    if (isMillraceError(error)) return refuse(error.message, error.fix);
    throw error;
  }
}

const shownMax = 40;

/** A short value as it would be written, a long one by its kind. */
function show(value: unknown): string {
  if (typeof value === 'object' && value !== null && !isShort(value)) return describeKind(value);
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol') {
    return describeKind(value);
  }
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= shownMax ? text : `${text.slice(0, shownMax - 2)}…"`;
}

function isShort(value: object): boolean {
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) return false;
  try {
    return (JSON.stringify(value)?.length ?? shownMax) < shownMax;
  } catch {
    return false;
  }
}

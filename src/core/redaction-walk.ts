/**
 * Goes through a value member by member and masks what the plan says; copies only what changes.
 * Called by the Redactor for each event.
 */
import { MillraceError } from './errors.ts';
import { formatPath, jsonLimits, type PathStep } from './json-rules.ts';
import { isCard, type PersonalKind } from './personal-values.ts';
import type { FieldRule } from './redacted-fields.ts';
import { decide, type RedactionPlan } from './redaction-plan.ts';
import { findSensitive, markerEnd } from './sensitive-text.ts';

export type MaskedKind = PersonalKind | 'secret' | 'field';

/** The marker for a value. */
export type Mask = (kind: MaskedKind, value: string) => string;

/** What was masked, where and why; without any of the values. */
export interface RedactionNote {
  /** `customer.phone`, `lines[2].text`; member names that were masked are so here too. */
  readonly path: string;
  /** `email`, `secret`, …, or `field customer.*.phone`. */
  readonly rule: string;
  readonly count: number;
  /** Steps of the path in the masked value. */
  readonly steps: readonly PathStep[];
}

export interface Redacted<T> {
  readonly value: T;
  /** At least one, and at most 1,000. */
  readonly notes: readonly RedactionNote[];
  /** Of everything that was masked. */
  readonly count: number;
}

interface Walk {
  readonly plan: RedactionPlan;
  readonly mask: Mask;
  readonly type: string;
  readonly root: string;
  /** In the value as given, for the rules. */
  readonly path: PathStep[];
  /** In the masked value, for the notes. */
  readonly shown: PathStep[];
  notes: RedactionNote[] | null;
  /** Of all, also of those that have no note any more. */
  count: number;
  left: number;
}

/** Why everything below is masked, or that it is left alone; null: look at it. */
type Mode = Reason | 'keep' | 'free' | null;
type Reason = 'secret' | FieldRule;
type Looked = Exclude<Mode, 'free'>;

/** As many values as an event may have, and then some. */
const valuesMax = 2 * (jsonLimits.keysMax + jsonLimits.itemsMax);
const notesMax = 1_000;
const depthMax = 2 * jsonLimits.depthMax;

/**
 * @throws MillraceError EVENT_INVALID for a value too large or too deep to look through: what was
 * not looked at must not be stored.
 */
export function redactValue<T>(
  plan: RedactionPlan,
  value: T,
  mask: Mask,
  type: string,
  root: string,
): Redacted<T> | null {
  const walk: Walk = {
    plan,
    mask,
    type,
    root,
    path: [],
    shown: [],
    notes: null,
    count: 0,
    left: valuesMax,
  };
  const masked = visit(walk, value, null);
  const { notes, count } = walk;
  return notes === null ? null : { value: masked as T, notes, count };
}

function visit(walk: Walk, value: unknown, mode: Mode): unknown {
  walk.left -= 1;
  if (walk.left < 0 || walk.path.length > depthMax) throw beyond(walk.type);
  if (mode === 'free') return value; // and everything below it
  if (typeof value === 'string') return visitText(walk, value, mode);
  if (typeof value === 'number') return visitNumber(walk, value, mode);
  if (typeof value === 'bigint') return visitNumber(walk, value, mode);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return visitArray(walk, value, mode);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && 'toJSON' in value) {
    // A Date has no data of its own to hide; by its name it may.
    return mode === null || mode === 'keep' ? value : maskWhole(walk, String(value), mode);
  }
  return visitObject(walk, value as Readonly<Record<string, unknown>>, mode);
}

function visitArray(walk: Walk, value: readonly unknown[], mode: Looked): unknown {
  let copy: unknown[] | null = null;
  const at = walk.path.length;
  for (let i = 0; i < value.length; i += 1) {
    walk.path[at] = i;
    walk.shown[at] = i;
    const before = value[i];
    const after = visit(walk, before, mode);
    if (after !== before) {
      copy ??= value.slice();
      copy[i] = after;
    }
  }
  walk.path.length = at;
  walk.shown.length = at;
  return copy ?? value;
}

function visitObject(walk: Walk, value: Readonly<Record<string, unknown>>, mode: Looked): unknown {
  let copy: Record<string, unknown> | null = null;
  let renamed: Map<string, string> | null = null;
  const at = walk.path.length;
  for (const name in value) {
    const before = value[name];
    const verdict = walk.plan.verdictOn(name);
    walk.path[at] = name;
    walk.shown[at] = name;
    if (verdict.name && mode !== 'keep') {
      renamed ??= new Map();
      const shown = freshName(maskText(walk.plan, name, walk.mask, null), value, renamed);
      renamed.set(name, shown);
      walk.shown[at] = shown;
      note(walk, 'name', 1);
    }
    const after = visit(walk, before, stricter(mode, decide(verdict, walk.path)));
    if (after !== before) {
      copy ??= { ...value };
      copy[name] = after;
    }
  }
  walk.path.length = at;
  walk.shown.length = at;
  if (renamed === null) return copy ?? value;
  const names = renamed;
  const entries = Object.entries(copy ?? value);
  return Object.fromEntries(entries.map(([name, member]) => [names.get(name) ?? name, member]));
}

/** Members below a masked one are masked too, but for what a definition sets free. */
function stricter(outer: Mode, own: Mode): Mode {
  if (outer === null || own === 'free' || own === 'secret') return own ?? outer;
  return outer;
}

/** Two names may have one marker: the second is `…#2`. */
function freshName(
  shown: string,
  value: Readonly<Record<string, unknown>>,
  renamed: ReadonlyMap<string, string>,
): string {
  const taken = new Set(renamed.values());
  let name = shown;
  for (let n = 2; taken.has(name) || name in value; n += 1) name = `${shown}#${n}`;
  return name;
}

function visitText(walk: Walk, text: string, mode: Looked): unknown {
  if (mode === 'keep') {
    return maskText({ look: secretsOnly }, text, walk.mask, walk);
  }
  if (mode !== null) return maskWhole(walk, text, mode);
  return maskText(walk.plan, text, walk.mask, walk);
}

const secretsOnly = {
  secret: true,
  email: false,
  phone: false,
  iban: false,
  card: false,
  nationalId: false,
  ipv4: false,
} as const;

function visitNumber(walk: Walk, value: number | bigint, mode: Looked): unknown {
  if (mode === 'keep') return value;
  if (mode !== null) return maskWhole(walk, String(value), mode);
  if (!walk.plan.look.card || value < 1e12) return value;
  const digits = String(value);
  if (!/^\d+$/.test(digits) || !isCard(digits)) return value;
  note(walk, 'card', 1);
  return walk.mask('card', digits);
}

function maskWhole(walk: Walk, text: string, mode: Reason): string {
  if (text === '' || markerEnd(text, 0) === text.length) return text;
  note(walk, mode === 'secret' ? 'secret' : `field ${mode.text}`, 1);
  return walk.mask(mode === 'secret' ? 'secret' : 'field', text);
}

/** Masks inside the text, and notes it where there is a walk. */
export function maskText(
  plan: Pick<RedactionPlan, 'look'>,
  text: string,
  mask: Mask,
  walk: Walk | null,
): string {
  const spans = findSensitive(text, plan.look);
  if (spans === null) return text;
  let masked = '';
  let from = 0;
  const counts = new Map<string, number>();
  for (const { start, end, kind } of spans) {
    masked += text.slice(from, start) + mask(kind, text.slice(start, end));
    from = end;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  if (walk !== null) for (const [kind, count] of counts) note(walk, kind, count);
  return masked + text.slice(from);
}

function note(walk: Walk, rule: string, count: number): void {
  walk.notes ??= [];
  walk.count += count;
  if (walk.notes.length >= notesMax) return;
  const steps = walk.shown.slice();
  const path = formatPath(walk.root, steps).replace(/^\./, '');
  walk.notes.push({ path, rule, count, steps });
}

function beyond(type: string): MillraceError {
  return new MillraceError(
    'EVENT_INVALID',
    `${type}: the payload is too large or too deep to be looked through for personal data.`,
    { fix: 'Send less in one event, without references back; see the limits of payloads.' },
  );
}

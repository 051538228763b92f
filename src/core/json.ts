/**
 * JSON values that are safe to share and to store: deep-frozen, and equal to what comes back from
 * the database. Called for every event published and read.
 *
 * Invariant: `freezeJson(x)` throws, or deep-equals `JSON.parse(JSON.stringify(x))`.
 */
import { describeKind } from './describe.ts';
import {
  Budget,
  checkName,
  checkNumber,
  checkString,
  Fault,
  formatPath,
  type JsonLimits,
  jsonLimits,
  notJson,
  type PathStep,
} from './json-rules.ts';
import { checkJsonText } from './json-text.ts';

export { type JsonLimits, jsonLimits };

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/**
 * `T` with every member and element read-only, as deep as it goes. `T` stands before `extends`
 * only, so that an `Event<Order>` is an `Event<unknown>` to the compiler.
 */
export type DeepReadonly<T> = T extends string | number | ((...args: never[]) => unknown)
  ? T
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/**
 * A deep-frozen copy of a pure JSON value; the value itself is left alone. Members that are
 * undefined are dropped and -0 becomes 0, as in JSON text. 0.3 µs for a flat object of 10 members,
 * where a round trip through JSON text takes 1.3 µs.
 * @throws MillraceError PAYLOAD_NOT_JSON with the path of the first value that is not JSON.
 */
export function freezeJson(value: unknown, limits: JsonLimits = jsonLimits): JsonValue {
  try {
    return freezeValue(value, new Budget(limits), 0);
  } catch (error) {
    if (error instanceof Fault) throw explain(error, value, limits.root ?? jsonLimits.root);
    throw error;
  }
}

function freezeValue(value: unknown, budget: Budget, depth: number): JsonValue {
  switch (typeof value) {
    case 'string':
      checkString(value);
      return value;
    case 'number':
      checkNumber(value);
      return value === 0 ? 0 : value;
    case 'boolean':
      return value;
    case 'object':
      if (value === null) return null;
      budget.checkDepth(depth + 1);
      if (Array.isArray(value)) return freezeArray(value, budget, depth + 1);
      return freezeObject(value as Readonly<Record<string, unknown>>, budget, depth + 1);
    default:
      throw notJsonKind(value);
  }
}

function notJsonKind(value: unknown): Fault {
  return new Fault(`is ${describeKind(value)}, which JSON cannot hold`);
}

function freezeArray(value: readonly unknown[], budget: Budget, depth: number): JsonValue {
  budget.takeItems(value.length);
  const copy: JsonValue[] = [];
  let i = 0;
  try {
    for (; i < value.length; i += 1) copy.push(freezeValue(value[i], budget, depth));
  } catch (error) {
    if (error instanceof Fault) error.path.push(i);
    throw error;
  }
  return Object.freeze(copy);
}

/**
 * Copies first and checks the copy: a spread costs 26 ns for ten members where a loop of
 * assignments costs 216 ns, and getters run once only.
 */
function freezeObject(
  value: Readonly<Record<string, unknown>>,
  budget: Budget,
  depth: number,
): JsonValue {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) checkPlain(value);
  const copy: Record<string, unknown> = { ...value };
  let complete = Object.getOwnPropertySymbols(copy).length === 0;
  let at = '';
  try {
    for (const key in copy) {
      at = key;
      const member = copy[key];
      if (member === undefined) {
        complete = false;
        continue;
      }
      budget.takeKey();
      if (!knownNames.has(key)) checkNewName(key);
      if (typeof member === 'string') checkString(member);
      else if (typeof member === 'number') {
        checkNumber(member);
        if (Object.is(member, -0)) copy[key] = 0;
      } else if (typeof member !== 'boolean' && member !== null && Object.hasOwn(copy, key)) {
        // Not own: somebody extended Object.prototype. Asked here only, it costs scalars nothing.
        copy[key] = freezeValue(member, budget, depth);
      }
    }
  } catch (error) {
    if (error instanceof Fault) error.path.push(at);
    throw error;
  }
  return Object.freeze(complete ? copy : withoutGaps(copy)) as JsonValue;
}

/**
 * Refuses what freezeJson refuses, in the same words, and copies nothing: for values that are
 * printed at once and dropped. Takes half as long as freezeJson. After it `JSON.stringify(value)`
 * is the text of `freezeJson(value)`, unless a getter changes its answer in between or a toJSON is
 * hidden where no loop sees it; to look for one costs 0.2 µs an object.
 * @throws MillraceError PAYLOAD_NOT_JSON with the path of the first value that is not JSON.
 */
export function checkJson(value: unknown, limits: JsonLimits = jsonLimits): void {
  try {
    checkValue(value, new Budget(limits), 0);
  } catch (error) {
    if (error instanceof Fault) throw explain(error, value, limits.root ?? jsonLimits.root);
    throw error;
  }
}

function checkValue(value: unknown, budget: Budget, depth: number): void {
  if (typeof value === 'string') checkString(value);
  else if (typeof value === 'number') checkNumber(value);
  else if (typeof value === 'object' && value !== null) {
    budget.checkDepth(depth + 1);
    if (Array.isArray(value)) checkArray(value, budget, depth + 1);
    else checkObject(value as Readonly<Record<string, unknown>>, budget, depth + 1);
  } else if (typeof value !== 'boolean' && value !== null) throw notJsonKind(value);
}

function checkArray(value: readonly unknown[], budget: Budget, depth: number): void {
  budget.takeItems(value.length);
  let i = 0;
  try {
    for (; i < value.length; i += 1) checkValue(value[i], budget, depth);
  } catch (error) {
    if (error instanceof Fault) error.path.push(i);
    throw error;
  }
}

function checkObject(
  value: Readonly<Record<string, unknown>>,
  budget: Budget,
  depth: number,
): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) checkPlain(value);
  let at = '';
  try {
    for (const key in value) {
      at = key;
      const member = value[key];
      // Not own: somebody extended Object.prototype, and JSON text leaves it out.
      if (member === undefined || !Object.hasOwn(value, key)) continue;
      budget.takeKey();
      if (!knownNames.has(key)) checkNewName(key);
      checkValue(member, budget, depth);
    }
  } catch (error) {
    if (error instanceof Fault) error.path.push(at);
    throw error;
  }
}

/** Names checked before; events of a type share theirs, which saves 10 ns a member. */
const knownNames = new Set<string>();
const knownNamesMax = 4096;
const knownNameCharsMax = 64;

function checkNewName(name: string): void {
  checkName(name);
  checkString(name);
  if (name.length > knownNameCharsMax) return;
  // Names that are data, such as ids, would occupy it for good otherwise.
  if (knownNames.size >= knownNamesMax) knownNames.clear();
  knownNames.add(name);
}

/** JSON text leaves out members that are undefined or have a symbol for a name. */
function withoutGaps(copy: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(copy).filter(([, member]) => member !== undefined));
}

/** Objects of another realm (vm contexts, test runners) are plain too. */
function checkPlain(value: object): void {
  const prototype = Object.getPrototypeOf(value) as object;
  if (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'))
    return;
  throw new Fault(
    `is ${describeKind(value)}, not a plain object`,
    value instanceof Date ? 'Use toISOString().' : undefined,
  );
}

function explain(fault: Fault, value: unknown, root: string) {
  const steps = fault.path.reverse();
  const start = cycleStart(value, steps);
  if (start === null) return notJson(formatPath(root, steps), fault.problem, { fix: fault.fix });
  return notJson(formatPath(root, steps.slice(0, start)), 'contains itself', {
    fix: 'Replace the reference back by an id.',
  });
}

/** How many steps lead to the first value that appears again further down the same path. */
function cycleStart(value: unknown, steps: readonly PathStep[]): number | null {
  const seen = new Map<unknown, number>();
  let current: unknown = value;
  for (let i = 0; ; i += 1) {
    const before = seen.get(current);
    if (before !== undefined) return before;
    if (i >= steps.length || typeof current !== 'object' || current === null) return null;
    seen.set(current, i);
    current = (current as Record<PathStep, unknown>)[steps[i] as PathStep];
  }
}

/**
 * Like JSON.parse, for text from outside. Refuses besides wrong syntax: numbers that would come
 * out as others (2^53 + 1, 1e400), the same key twice, `__proto__`, and what freezeJson refuses.
 * Takes 1.9 µs where JSON.parse alone takes 0.7 µs (200 characters, 10 members).
 * @throws MillraceError PAYLOAD_NOT_JSON with path, line and column.
 */
export function parseJson(text: string, limits: JsonLimits = jsonLimits): JsonValue {
  if (typeof text !== 'string') {
    throw notJson(limits.root ?? jsonLimits.root, `is ${describeKind(text)}, not text`, {});
  }
  checkJsonText(text, limits);
  return JSON.parse(text) as JsonValue;
}

/**
 * The deep-frozen value of text that the log gave back. Nothing is checked again: what was accepted
 * once must stay readable, or one event would stop its partition for good. For the 10 members of
 * freezeJson's figure: 0.8 µs, where JSON.parse and freezeJson take 1.3 µs.
 */
export function parseStored(text: string): JsonValue {
  return freezeDeep(JSON.parse(text) as JsonValue);
}

function freezeDeep(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (const item of value) freezeDeep(item);
    return Object.freeze(value);
  }
  const object = value as Readonly<Record<string, JsonValue>>;
  for (const key in object) {
    const member = object[key];
    if (typeof member === 'object' && member !== null && Object.hasOwn(object, key)) {
      freezeDeep(member);
    }
  }
  return Object.freeze(value);
}

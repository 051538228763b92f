/**
 * Reading query parameters and members of a body, each with an error that names it and says what it
 * may be. Routes call these; nothing is converted in silence.
 */
import { isUuid } from '../core/ids.ts';
import type { JsonValue } from '../core/json.ts';
import { requestInvalid } from './route.ts';

type Texts = Readonly<Record<string, string>>;
type Members = Readonly<Record<string, JsonValue>>;

/** A whole number in a range, or the fallback when it is not given. */
export function integerOf(query: Texts, name: string, range: readonly [number, number]) {
  const text = query[name];
  if (text === undefined) return undefined;
  return checkInteger(/^\d{1,15}$/.test(text) ? Number(text) : text, name, range);
}

function checkInteger(value: unknown, name: string, [least, most]: readonly [number, number]) {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
    return value;
  }
  throw requestInvalid(`${name} is ${show(value)}, not a whole number from ${least} to ${most}.`);
}

export function choiceOf<T extends string>(
  given: unknown,
  name: string,
  choices: readonly T[],
): T | undefined {
  if (given === undefined) return undefined;
  const found = choices.find((choice) => choice === given);
  if (found !== undefined) return found;
  throw requestInvalid(`${name} is ${show(given)}; it can be ${choices.join(', ')}.`);
}

export function booleanOf(query: Texts, name: string): boolean | undefined {
  const choice = choiceOf(query[name], name, ['true', 'false']);
  return choice === undefined ? undefined : choice === 'true';
}

/** `a,b` as a list; empty items are dropped. */
export function listOf(query: Texts, name: string): readonly string[] | undefined {
  const items = query[name]?.split(',').flatMap((item) => item.trim() || []);
  return items === undefined || items.length === 0 ? undefined : items;
}

/** An id of the path. A malformed one is not looked up: no event can have it. */
export function uuidOf(params: Texts, name: string): string {
  const value = params[name];
  if (isUuid(value)) return value.toLowerCase();
  throw requestInvalid(`${name} is ${show(value)}, not a UUID.`);
}

/** The body as an object with no members but these. */
export function membersOf(body: JsonValue | undefined, allowed: readonly string[]): Members {
  if (body === undefined) return {};
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw requestInvalid(
      'The body is not a JSON object.',
      `Send an object with ${allowed.join(', ')}.`,
    );
  }
  const unknown = Object.keys(body).find((name) => !allowed.includes(name));
  if (unknown === undefined) return body as Members;
  throw requestInvalid(
    `The body has a member ${show(unknown)} that is not known here.`,
    `Its members can be ${allowed.join(', ')}.`,
  );
}

export function textOf(body: Members, name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value !== '') return value;
  throw requestInvalid(`${name} is ${show(value)}, not a text.`, `Send { "${name}": "…" }.`);
}

export function flagOf(body: Members, name: string): boolean | undefined {
  const value = body[name];
  if (value === undefined || typeof value === 'boolean') return value;
  throw requestInvalid(`${name} is ${show(value)}, not true or false.`);
}

export function numberOf(body: Members, name: string, range: readonly [number, number]) {
  const value = body[name];
  return value === undefined ? undefined : checkInteger(value, name, range);
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

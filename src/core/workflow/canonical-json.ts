/**
 * One text for one JSON value: members sorted by name, nothing between them. Equal values have one
 * text, so hashes of it can be compared. For identities of runs and for stored templates.
 */
import type { JsonValue } from '../json.ts';

/**
 * Expects what JSON.parse or freezeJson gave. Members are sorted by UTF-16 code units, numbers and
 * strings are printed as JSON.stringify does, as in RFC 8785. 1 and 1.0 are the same, -0 is 0.
 */
export function canonicalJson(value: JsonValue | undefined): string {
  if (value === undefined) return 'null';
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  const object = value as Readonly<Record<string, JsonValue | undefined>>;
  const members = Object.keys(object)
    .filter((name) => object[name] !== undefined)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonicalJson(object[name])}`);
  return `{${members.join(',')}}`;
}

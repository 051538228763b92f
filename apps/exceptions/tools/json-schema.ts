/**
 * Compiles the subset of JSON Schema that packs may use into a check. The check answers null, or
 * one sentence naming the path, as `payload.amount is "12", not a number`.
 */
import type { JsonSchema } from '../packs/schema.ts';

export type SchemaCheck = (value: unknown, path: string) => string | null;

export function compileJsonSchema(schema: JsonSchema): SchemaCheck {
  const checks: SchemaCheck[] = [];
  if (schema.type !== undefined) checks.push(checkType(schema.type));
  if (schema.enum !== undefined) checks.push(checkEnum(schema.enum));
  const bounds = checkBounds(schema);
  if (bounds !== null) checks.push(bounds);
  if (schema.required !== undefined || schema.properties !== undefined) {
    checks.push(checkMembers(schema));
  }
  if (schema.items !== undefined) checks.push(checkItems(compileJsonSchema(schema.items)));
  return (value, path) => {
    for (const check of checks) {
      const problem = check(value, path);
      if (problem !== null) return problem;
    }
    return null;
  };
}

const show = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? 'missing';

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}

function checkType(type: NonNullable<JsonSchema['type']>): SchemaCheck {
  return (value, path) => {
    const fits = type === 'integer' ? Number.isInteger(value) : typeOf(value) === type;
    return fits ? null : `${path} is ${show(value)}, not a value of type ${type}`;
  };
}

function checkEnum(values: NonNullable<JsonSchema['enum']>): SchemaCheck {
  return (value, path) =>
    values.includes(value as string)
      ? null
      : `${path} is ${show(value)}, not one of ${values.map(show).join(', ')}`;
}

function checkBounds(schema: JsonSchema): SchemaCheck | null {
  const { minimum, maximum, minLength, maxLength } = schema;
  if ([minimum, maximum, minLength, maxLength].every((bound) => bound === undefined)) return null;
  return (value, path) => {
    if (typeof value === 'number') {
      if (minimum !== undefined && value < minimum) return `${path} is ${value}, below ${minimum}`;
      if (maximum !== undefined && value > maximum) return `${path} is ${value}, above ${maximum}`;
    } else if (typeof value === 'string') {
      if (minLength !== undefined && value.length < minLength) {
        return `${path} has ${value.length} characters, fewer than ${minLength}`;
      }
      if (maxLength !== undefined && value.length > maxLength) {
        return `${path} has ${value.length} characters, more than ${maxLength}`;
      }
    }
    return null;
  };
}

function checkMembers(schema: JsonSchema): SchemaCheck {
  const members = Object.entries(schema.properties ?? {}).map(
    ([name, member]) => [name, compileJsonSchema(member)] as const,
  );
  const known = new Set(members.map(([name]) => name));
  const required = schema.required ?? [];
  const closed = schema.additionalProperties === false;
  return (value, path) => {
    if (typeOf(value) !== 'object') return null;
    const object = value as Record<string, unknown>;
    for (const name of required) {
      if (object[name] === undefined) return `${path}.${name} is required`;
    }
    for (const [name, check] of members) {
      const member = object[name];
      const problem = member === undefined ? null : check(member, `${path}.${name}`);
      if (problem !== null) return problem;
    }
    if (closed) {
      for (const name in object) if (!known.has(name)) return `${path}.${name} is not expected`;
    }
    return null;
  };
}

function checkItems(item: SchemaCheck): SchemaCheck {
  return (value, path) => {
    if (!Array.isArray(value)) return null;
    for (let index = 0; index < value.length; index++) {
      const problem = item(value[index], `${path}[${index}]`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

/**
 * JSON Schema → TypeScript types, as text. What types can say is said; what only a validator can
 * check (patterns, ranges, `not`, conditions) is left out, never said wrongly. Our own, because the
 * libraries for it bring a code formatter along, ten megabytes for these few rules.
 *
 * Invariant: the same schema gives the same text; whatever is not understood becomes `unknown`.
 */

type Schema = Readonly<Record<string, unknown>>;

const identifier = /^[A-Za-z_$][\w$]*$/;

export class SchemaPrinter {
  readonly #root: unknown;
  readonly #name: string;
  /** JSON pointer → name of the type that it became. */
  readonly #named = new Map<string, string>();
  readonly #taken: Set<string>;

  /**
   * @param name of the type of the whole schema.
   * @param taken names of the file so far; those that are made here are added.
   */
  constructor(root: unknown, name: string, taken: Set<string>) {
    this.#root = root;
    this.#name = name;
    this.#taken = taken;
  }

  /** The declaration of the type, and of those that it refers to. */
  print(): string[] {
    const types = [declare(this.#name, this.#type(this.#root, 0), descriptionOf(this.#root))];
    const printed = new Set<string>();
    // Types refer to further types, which are named on the way.
    while (printed.size < this.#named.size) {
      for (const [pointer, name] of [...this.#named]) {
        if (printed.has(pointer)) continue;
        printed.add(pointer);
        const target = resolve(this.#root, pointer);
        types.push(declare(name, this.#type(target, 0), descriptionOf(target)));
      }
    }
    return types;
  }

  #type(schema: unknown, depth: number): string {
    if (schema === true) return 'unknown';
    if (schema === false) return 'never';
    if (!isSchema(schema)) return 'unknown';
    const parts = [
      ...this.#ownParts(schema, depth),
      ...list(schema.allOf).map((part) => this.#type(part, depth)),
      ...[schema.anyOf, schema.oneOf]
        .filter((members) => list(members).length > 0)
        .map((members) => union(list(members).map((member) => this.#type(member, depth)))),
    ].filter((part) => part !== 'unknown');
    const type = intersection(parts);
    return schema.nullable === true ? union([type, 'null']) : type;
  }

  #ownParts(schema: Schema, depth: number): string[] {
    if (typeof schema.$ref === 'string') return [this.#reference(schema.$ref)];
    if ('const' in schema) return [literal(schema.const)];
    if (Array.isArray(schema.enum)) return [union(schema.enum.map(literal))];
    const { type } = schema;
    const kinds = Array.isArray(type) ? (type as unknown[]) : type === undefined ? [] : [type];
    if (kinds.length > 0) return [union(kinds.map((kind) => this.#kind(kind, schema, depth)))];
    if ('properties' in schema || 'additionalProperties' in schema || 'required' in schema) {
      return [this.#object(schema, depth)];
    }
    if ('items' in schema || 'prefixItems' in schema) return [this.#array(schema, depth)];
    return [];
  }

  #kind(kind: unknown, schema: Schema, depth: number): string {
    switch (kind) {
      case 'string':
      case 'boolean':
      case 'null':
      case 'number':
        return kind;
      case 'integer':
        return 'number';
      case 'object':
        return this.#object(schema, depth);
      case 'array':
        return this.#array(schema, depth);
      default:
        return 'unknown';
    }
  }

  #object(schema: Schema, depth: number): string {
    const properties = isSchema(schema.properties) ? schema.properties : {};
    const required = new Set(list(schema.required).filter((name) => typeof name === 'string'));
    const names = [...new Set([...Object.keys(properties), ...required])] as string[];
    const pad = '  '.repeat(depth + 1);
    const lines = names.map((name) => {
      const member = Object.hasOwn(properties, name) ? properties[name] : true;
      const mark = required.has(name) ? '' : '?';
      // undefined is as good as absent: it does not reach the JSON text.
      const type = this.#type(member, depth + 1);
      const optional = mark && type !== 'unknown' ? union([type, 'undefined']) : type;
      const comment = printComment(descriptionOf(member), pad);
      return `${comment}${pad}readonly ${printName(name)}${mark}: ${optional};`;
    });
    const more = this.#more(schema, names.length > 0, depth);
    if (more !== null) lines.push(`${pad}readonly [name: string]: ${more};`);
    if (lines.length === 0) {
      return schema.additionalProperties === false
        ? '{ readonly [name: string]: never }'
        : '{ readonly [name: string]: unknown }';
    }
    return `{\n${lines.join('\n')}\n${'  '.repeat(depth)}}`;
  }

  /** Members beyond the named ones; null: none are spoken of. */
  #more(schema: Schema, hasNames: boolean, depth: number): string | null {
    const { additionalProperties: more, patternProperties } = schema;
    const others = [
      ...(more === undefined || more === false ? [] : [more]),
      ...(isSchema(patternProperties) ? Object.values(patternProperties) : []),
    ];
    if (others.length === 0) return null;
    // An index signature counts for the named members as well.
    return hasNames ? 'unknown' : union(others.map((other) => this.#type(other, depth + 1)));
  }

  #array(schema: Schema, depth: number): string {
    const { items, prefixItems, additionalItems } = schema;
    const places = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : null;
    const rest = places === items ? additionalItems : items;
    if (places === null) return `readonly ${inArray(this.#type(items ?? true, depth))}[]`;
    const least = typeof schema.minItems === 'number' ? schema.minItems : 0;
    const elements = places.map((place: unknown, i) => {
      const type = this.#type(place, depth);
      return i < least ? type : `${inArray(type)}?`;
    });
    if (rest !== false) elements.push(`...${inArray(this.#type(rest ?? true, depth))}[]`);
    return `readonly [${elements.join(', ')}]`;
  }

  #reference(ref: string): string {
    if (ref === '#') return this.#name;
    // Other documents are not at hand.
    if (!ref.startsWith('#/') || resolve(this.#root, ref) === undefined) return 'unknown';
    const known = this.#named.get(ref);
    if (known !== undefined) return known;
    const name = freeName(`${this.#name}${pascalCase(ref.split('/').at(-1) ?? '')}`, this.#taken);
    this.#named.set(ref, name);
    return name;
  }
}

/** `payment.charged` → `PaymentCharged` */
export function pascalCase(text: string): string {
  const words = text.split(/[^A-Za-z0-9]+/).filter(Boolean);
  const joined = words.map((word) => `${word.charAt(0).toUpperCase()}${word.slice(1)}`).join('');
  return /^[A-Za-z]/.test(joined) ? joined : `Event${joined}`;
}

/** The name, or the name with the first number that makes it new. */
export function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let n = 2; taken.has(free); n += 1) free = `${name}${n}`;
  taken.add(free);
  return free;
}

export function printName(name: string): string {
  return identifier.test(name) ? name : literal(name);
}

export function printComment(text: string | null, pad: string): string {
  if (text === null) return '';
  const lines = text.trim().replaceAll('*/', '*\\/').split(/\r?\n/);
  if (lines.length === 1) return `${pad}/** ${lines[0]} */\n`;
  return `${pad}/**\n${lines.map((line) => `${pad} * ${line}`.trimEnd()).join('\n')}\n${pad} */\n`;
}

function declare(name: string, type: string, description: string | null): string {
  return `${printComment(description, '')}export type ${name} = ${type};\n`;
}

function literal(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'");
    return `'${text}'`;
  }
  if (Array.isArray(value)) return `readonly [${value.map(literal).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value);
    const printed = members.map(([name, one]) => `readonly ${printName(name)}: ${literal(one)}`);
    return `{ ${printed.join('; ')} }`;
  }
  return String(value);
}

function union(types: readonly string[]): string {
  const distinct = [...new Set(types)];
  if (distinct.length === 0) return 'never';
  if (distinct.includes('unknown')) return 'unknown';
  return distinct.length === 1 ? (distinct[0] as string) : distinct.map(inUnion).join(' | ');
}

function intersection(types: readonly string[]): string {
  const distinct = [...new Set(types)];
  if (distinct.length === 0) return 'unknown';
  if (distinct.length === 1) return distinct[0] as string;
  return distinct.map(inIntersection).join(' & ');
}

/** True when the operator stands outside of all brackets and texts. */
function hasTop(type: string, operator: string): boolean {
  let depth = 0;
  const bare = type.replace(/\/\*.*?\*\//gs, '').replace(/'(?:[^'\\]|\\.)*'/g, "''");
  for (const sign of bare) {
    if ('{[('.includes(sign)) depth += 1;
    else if ('}])'.includes(sign)) depth -= 1;
    else if (sign === operator && depth === 0) return true;
  }
  return false;
}

const inUnion = (type: string) => (hasTop(type, '&') ? `(${type})` : type);
const inIntersection = (type: string) => (hasTop(type, '|') ? `(${type})` : type);
const inArray = (type: string) =>
  hasTop(type, '|') || hasTop(type, '&') || type.startsWith('readonly ') ? `(${type})` : type;

function resolve(root: unknown, pointer: string): unknown {
  let here = root;
  for (const part of pointer.split('/').slice(1)) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, name)) return undefined;
    here = (here as Record<string, unknown>)[name];
  }
  return here;
}

function descriptionOf(schema: unknown): string | null {
  const text = isSchema(schema) ? schema.description : null;
  return typeof text === 'string' && text.trim() !== '' ? text : null;
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

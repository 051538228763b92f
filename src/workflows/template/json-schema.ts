/**
 * JSON Schemas of inputs, results and payloads, compiled once and asked often. Faults name the
 * field and never show a value: values may hold personal data.
 */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import { formatPath } from '../../core/json-rules.ts';
import { suggestName } from '../../core/nearest-name.ts';
import type { FieldProblem } from '../../core/schema.ts';
import { canonicalJson } from '../../core/workflow/canonical-json.ts';
import type { SchemaProblem } from '../../core/workflow/compile-template.ts';
import type { JsonObject } from '../../core/workflow/template.ts';

export interface JsonSchemaValidator {
  /** Nothing when the value fits; at most ten problems, with paths such as `payload.items[0]`. */
  check(value: unknown): readonly FieldProblem[];
}

type Steps = readonly (string | number)[];

const options: Options = {
  allErrors: true,
  // For the members that there are, and the kind of what was given instead.
  verbose: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowUnionTypes: true,
  logger: false,
};

type Checker = Ajv | Ajv2020;

function prepare<T extends Checker>(ajv: T): T {
  // Under Node's rules the default export of this CommonJS module is the module.
  (addFormats as unknown as (ajv: Checker) => void)(ajv);
  ajv.addKeyword('example');
  return ajv;
}

let current: Ajv2020 | null = null;
let older: Ajv | null = null;

/** draft-07 and older where `$schema` says so, 2020-12 otherwise. Made when first needed. */
function checkerOf(schema: JsonObject): Checker {
  const { $schema } = schema;
  if (typeof $schema === 'string' && /draft-0[4-7]/.test($schema)) {
    older ??= prepare(new Ajv(options));
    return older;
  }
  current ??= prepare(new Ajv2020(options));
  return current;
}

/** What is wrong with the schema itself, with paths within it. */
export function checkSchema(schema: JsonObject): readonly SchemaProblem[] {
  return compile(schema).problems;
}

const compiled = new Map<string, ValidateFunction>();
const compiledMax = 5_000;

function compile(schema: JsonObject): {
  readonly validate: ValidateFunction | null;
  readonly problems: readonly SchemaProblem[];
} {
  const text = canonicalJson(schema);
  const known = compiled.get(text);
  if (known !== undefined) return { validate: known, problems: [] };
  const checker = checkerOf(schema);
  allowExtensions(checker, text);
  try {
    if (checker.validateSchema(schema) !== true) {
      return { validate: null, problems: describeErrors(checker.errors ?? [], schema) };
    }
    const validate = checker.compile(schema);
    if (compiled.size >= compiledMax) compiled.clear();
    compiled.set(text, validate);
    return { validate, problems: [] };
  } catch (error) {
    return { validate: null, problems: [explain(error as Error, schema, checker)] };
  } finally {
    // Forgotten by the checker: two templates may use one $id, and its cache has no limit.
    checker.removeSchema(schema);
    if (typeof schema.$id === 'string') checker.removeSchema(schema.$id);
  }
}

/** Names that begin with x- are for other programs. */
function allowExtensions(checker: Checker, text: string): void {
  for (const [, name = ''] of text.matchAll(/"(x-[A-Za-z0-9_-]+)":/g)) {
    if (checker.getKeyword(name) === false) checker.addKeyword(name);
  }
}

/** What the meta-schema says: the first complaint about a place, the others follow from it. */
function describeErrors(errors: readonly ErrorObject[], schema: JsonObject): SchemaProblem[] {
  const problems = new Map<string, SchemaProblem>();
  for (const { instancePath, message = 'it breaks the rules of its draft', data } of errors) {
    if (problems.has(instancePath)) continue;
    const path = stepsOf(instancePath, schema);
    const last = path.at(-1);
    let problem: SchemaProblem = { path, message: `is not JSON Schema: ${message}`, hint: null };
    if (last === 'type' && typeof data === 'string') {
      const message = `is '${data}', which is no type of JSON`;
      problem = { path, message, hint: suggestName(data, jsonTypes) };
    } else if (last === 'items' && Array.isArray(data)) {
      const hint = 'Write prefixItems, or set $schema to that of draft-07.';
      problem = { path, message: 'is a list, which only older drafts allow', hint };
    }
    problems.set(instancePath, problem);
  }
  return [...problems.values()];
}

const jsonTypes = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'];

/** What the compiler throws. */
function explain(error: Error, schema: JsonObject, checker: Checker): SchemaProblem {
  const keyword = /unknown keyword: "(.+)"/.exec(error.message)?.[1];
  if (keyword !== undefined) {
    const hint = suggestName(keyword, Object.keys(checker.RULES.keywords));
    const path = findKey(schema, keyword) ?? [];
    return { path, message: 'is no keyword of JSON Schema', hint, at: 'name' };
  }
  const format = /unknown format "(.+?)"/.exec(error.message)?.[1];
  if (format !== undefined) {
    const hint = suggestName(format, Object.keys(checker.formats));
    const path = findKey(schema, 'format', format) ?? [];
    return { path, message: `is '${format}', which is no known format`, hint };
  }
  const message = error.message.replace(/^strict mode: /, '').replaceAll('\n', ' ');
  return { path: [], message: `is not a schema that can be used: ${message}`, hint: null };
}

/** Where the first member of that name is, with that value if one is given. */
function findKey(value: unknown, key: string, wanted?: string, path: Steps = []): Steps | null {
  if (typeof value !== 'object' || value === null) return null;
  const own = Array.isArray(value) ? undefined : Object.getOwnPropertyDescriptor(value, key);
  if (own !== undefined && (wanted === undefined || own.value === wanted)) return [...path, key];
  for (const [name, member] of Object.entries(value)) {
    const step = Array.isArray(value) ? Number(name) : name;
    const found = findKey(member, key, wanted, [...path, step]);
    if (found !== null) return found;
  }
  return null;
}

const problemsMax = 10;

/**
 * A validator for a JSON Schema. Equal schemas share one.
 * @param where what paths in problems begin with: 'input', 'result', 'payload'.
 * @throws MillraceError DEFINITION_INVALID when the schema is not one.
 * @example compileSchema(schema, 'payload').check({ amount: 'x' })
 *   // [{ path: 'payload.amount', message: 'must be number, is a string' }]
 */
export function compileSchema(
  schema: Readonly<Record<string, unknown>>,
  where: string,
): JsonSchemaValidator {
  const { validate, problems } = compile(schema as JsonObject);
  if (validate === null) {
    const [first] = problems;
    const place = formatPath(`The schema of ${where}`, first?.path ?? []);
    throw new MillraceError('DEFINITION_INVALID', `${place} ${first?.message}.`, {
      fix: first?.hint ?? undefined,
      details: { problems },
    });
  }
  return {
    check(value) {
      if (validate(value)) return [];
      const faults = validate.errors ?? [];
      return faults.slice(0, problemsMax).map((fault) => describeFault(fault, value, where));
    },
  };
}

function describeFault(fault: ErrorObject, value: unknown, where: string): FieldProblem {
  const steps = stepsOf(fault.instancePath, value);
  const { keyword, params, message = 'does not fit' } = fault;
  if (keyword === 'required' || keyword === 'dependentRequired') {
    const path = formatPath(where, [...steps, String(params.missingProperty)]);
    return { path, message: 'is required' };
  }
  if (keyword === 'additionalProperties' || keyword === 'unevaluatedProperties') {
    const name = String(params.additionalProperty ?? params.unevaluatedProperty);
    const known = Object.keys((fault.parentSchema?.properties as object | undefined) ?? {});
    const near = suggestName(name, known);
    const path = formatPath(where, [...steps, name]);
    return { path, message: `is not allowed${near === null ? '' : `: ${near}`}` };
  }
  const kind = keyword === 'type' ? `, is ${describeKind(fault.data)}` : '';
  const allowed =
    keyword === 'enum' ? `: ${(params.allowedValues as unknown[]).map(String).join(', ')}` : '';
  return { path: formatPath(where, steps), message: `${message}${kind}${allowed}` };
}

/** A JSON pointer as steps; what looks like a number is an index in arrays only. */
function stepsOf(pointer: string, value: unknown): (string | number)[] {
  const steps: (string | number)[] = [];
  let here = value;
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    const step = Array.isArray(here) ? Number(name) : name;
    steps.push(step);
    here = (here as Record<string | number, unknown> | null | undefined)?.[step];
  }
  return steps;
}

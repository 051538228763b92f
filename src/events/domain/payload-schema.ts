/**
 * JSON Schemas of payloads as the events layer uses them. It imports no package: whoever assembles
 * the platform hands in the validator.
 */
import { MillraceError } from '../../core/errors.ts';
import type { FieldProblem, StandardSchemaV1 } from '../../core/schema.ts';

/**
 * Makes a validator of a JSON Schema; paths of problems begin with `where`.
 * @throws when the schema itself is wrong.
 */
export type CompileSchema = (
  schema: Readonly<Record<string, unknown>>,
  where: string,
) => { check(value: unknown): readonly FieldProblem[] };

const anything: StandardSchemaV1<unknown, unknown> = {
  '~standard': { version: 1, vendor: 'millrace', validate: (value) => ({ value }) },
};

/** @throws MillraceError DEFINITION_INVALID when it is no JSON Schema. */
export function payloadSchema(
  name: string,
  schema: Readonly<Record<string, unknown>> | undefined,
  compile: CompileSchema,
): StandardSchemaV1<unknown, unknown> {
  if (schema === undefined) return anything;
  try {
    return asStandardSchema(compile(schema, 'payload'), schema);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError('DEFINITION_INVALID', `${name}: ${problem}`, {
      cause,
      fix: 'Correct the schema where the message says; editors check it with json-schema.org.',
    });
  }
}

/** The same text for schemas that differ in the order of their members only. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

function asStandardSchema(
  validator: ReturnType<CompileSchema>,
  schema: Readonly<Record<string, unknown>>,
): StandardSchemaV1 {
  // As Standard JSON Schema has it, for those who describe events to others.
  const jsonSchema = { input: () => schema, output: () => schema };
  return {
    '~standard': {
      ...{ jsonSchema },
      version: 1,
      vendor: 'json-schema',
      validate(value) {
        const problems = validator.check(value);
        if (problems.length === 0) return { value };
        return { issues: problems.map(({ path, message }) => ({ message, path: stepsOf(path) })) };
      },
    },
  };
}

/** The steps of a path as `formatPath` writes it, without its root: `payload.items[0]["a b"]`. */
export function stepsOf(path: string): (string | number)[] {
  const steps = path.matchAll(/\.([A-Za-z_$][\w$]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g);
  return [...steps].map(([, name, index, quoted]) => {
    if (name !== undefined) return name;
    return index === undefined ? (JSON.parse(quoted as string) as string) : Number(index);
  });
}

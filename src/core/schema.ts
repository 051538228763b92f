/**
 * Validation by any schema library that speaks Standard Schema (standardschema.dev, version 1):
 * zod, valibot, arktype and others. Only what we call is declared here, so none is a dependency.
 */
import { MillraceError } from './errors.ts';
import { formatPath } from './json-rules.ts';

/** A schema that takes `Input` and gives `Output`. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Exists for the compiler only. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema gives for valid input. */
export type Infer<Schema extends StandardSchemaV1> = NonNullable<
  Schema['~standard']['types']
>['output'];

/**
 * Validates at once.
 * @throws MillraceError DEFINITION_INVALID when the schema answers with a promise: publishing must
 * not wait for anything but the database.
 */
export function validateWith<Output>(
  schema: StandardSchemaV1<unknown, Output>,
  value: unknown,
): SchemaResult<Output> {
  const result = schema['~standard'].validate(value);
  if (!('then' in result)) return result;
  // Nobody will wait for it, and an unhandled rejection would end the process.
  result.then(undefined, () => {});
  throw new MillraceError(
    'DEFINITION_INVALID',
    `The ${schema['~standard'].vendor} schema validates asynchronously, or a check in it throws.`,
    { fix: 'Remove async checks and transforms from the schema; check such things in a handler.' },
  );
}

/** An issue as messages and API answers show it. */
export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

const problemsMax = 10;

/** At most ten issues, each with its path: `payload.items[0].amount`. */
export function fieldProblems(issues: readonly SchemaIssue[], root: string): FieldProblem[] {
  return issues.slice(0, problemsMax).map(({ message, path = [] }) => {
    const steps = path.map((step) => {
      const key = typeof step === 'object' ? step.key : step;
      return typeof key === 'number' ? key : String(key);
    });
    return { path: formatPath(root, steps), message };
  });
}

/** `payload.items[0].amount: Invalid input; payload.name: …` */
export function describeIssues(issues: readonly SchemaIssue[], root: string): string {
  const lines = fieldProblems(issues, root).map(({ path, message }) => `${path}: ${message}`);
  if (issues.length > problemsMax) lines.push(`and ${issues.length - problemsMax} more`);
  return lines.join('; ');
}

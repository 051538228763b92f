/**
 * The rules of an event's definition, checked once where it is written: a mistake in it shows at
 * the start of the process, not at the first event. Called by defineEvent.
 */
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';
import type { StandardSchemaV1 } from './schema.ts';

/** Turns a payload of one version into the next one's shape. Must not change its argument. */
export type Upcaster = (payload: never) => unknown;

/** Stored as a 32-bit integer. */
const versionMax = 2_147_483_647;
const typePattern = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;

/** @throws MillraceError DEFINITION_INVALID saying what to change. */
export function checkDefinition(
  type: string,
  version: number,
  schema: StandardSchemaV1,
  upcasters: Readonly<Record<number, Upcaster>>,
): void {
  if (typeof type !== 'string' || !typePattern.test(type)) {
    throw invalidDefinition(
      `The event type '${type}' is not a name.`,
      'Use 1 to 128 letters, digits, _ . or -, beginning with a letter.',
    );
  }
  if (typeof schema?.['~standard']?.validate !== 'function') {
    throw invalidDefinition(
      `${type}: schema is ${describeKind(schema)}, which does not implement Standard Schema.`,
      'Give a schema of zod 4, valibot or another library listed on standardschema.dev.',
    );
  }
  checkVersions(type, 'events', version, upcasters);
}

/**
 * Every version from 1 up can be reached, and no further.
 * @param stored what may be stored in old versions: `events`.
 */
export function checkVersions(
  name: string,
  stored: string,
  version: number,
  upcasters: Readonly<Record<number, Upcaster>>,
): void {
  if (!Number.isSafeInteger(version) || version < 1 || version > versionMax) {
    throw invalidDefinition(`${name}: version is ${version}, not a whole number from 1.`);
  }
  for (let from = 1; from < version; from += 1) {
    if (typeof upcasters[from] === 'function') continue;
    throw invalidDefinition(
      `${name}: version is ${version}, but there is no upcaster from version ${from}.`,
      `Add upcasters: { ${from}: (payload) => … }; ${stored} of version ${from} may be stored.`,
    );
  }
  const beyond = Object.keys(upcasters).find(
    (from) => !(Number(from) >= 1 && Number(from) < version),
  );
  if (beyond === undefined) return;
  throw invalidDefinition(
    `${name}: there is an upcaster from version ${beyond}, but version is ${version}.`,
    'Raise version, or remove the upcaster.',
  );
}

function invalidDefinition(message: string, fix?: string): MillraceError {
  return new MillraceError('DEFINITION_INVALID', message, { fix });
}

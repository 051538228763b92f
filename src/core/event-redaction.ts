/**
 * What a publisher gave, without personal data and secrets: payload and metadata masked, notes of
 * it under `redaction` in the metadata, and the key that the payload had before. Called by
 * prepareEvent when there is a redactor; the payload is validated after this.
 */
import { MillraceError } from './errors.ts';
import type { EventDefinition, EventInput } from './event.ts';
import type { JsonValue } from './json.ts';
import type { PathStep } from './json-rules.ts';
import { type RedactionNote, type Redactor, redactionVersion } from './redaction.ts';
import { fieldProblems, type SchemaIssue, validateWith } from './schema.ts';

type Metadata = Readonly<Record<string, JsonValue>>;

const notesStoredMax = 32;
const pathCharsMax = 200;

/** The very input where nothing was found. */
export function redactInput<P>(
  definition: EventDefinition<P>,
  input: EventInput<P>,
  redactor: Redactor,
): EventInput<P> {
  const { tenantId, payload } = input;
  const found = redactor.redact(definition, tenantId, payload as unknown);
  const about = redactMetadata(definition, input, redactor);
  const key = keyBefore(definition, input, found !== null);
  const inKey = key == null ? null : kindInKey(definition, input, key, redactor, found?.notes);
  if (inKey !== null) redactor.warnOfKey(definition.type, inKey);
  if (found === null && about === null && inKey === null) return input;
  const notes = [...(found?.notes ?? []), ...(about?.notes ?? [])];
  const count = (found?.count ?? 0) + (about?.count ?? 0);
  const metadata = isMetadata(input.metadata)
    ? { ...(about?.value ?? input.metadata), redaction: describe(notes, count, inKey) }
    : input.metadata; // prepareEvent says what it is
  if (found === null) return { ...input, metadata };
  const masked = fit(definition, payload, found.value, found.notes) as P;
  return { ...input, payload: masked, metadata, ...(key !== undefined && { key }) };
}

function isMetadata(value: unknown): boolean {
  if (value === undefined) return true;
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What belongs to tracing, and notes of an earlier redaction, stay as they are. */
function redactMetadata<P>(
  definition: EventDefinition<P>,
  { tenantId, metadata }: EventInput<P>,
  redactor: Redactor,
) {
  if (metadata === undefined || !isMetadata(metadata)) return null;
  const { traceparent, tracestate, redaction, ...rest } = metadata;
  const found = redactor.redact(definition, tenantId, rest as Metadata, 'metadata');
  if (found === null) return null;
  const kept = {
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
  };
  return { ...found, value: { ...found.value, ...kept } as Metadata };
}

/** Undefined where the definition is to find it in the payload, masked or not, as always. */
function keyBefore<P>(
  definition: EventDefinition<P>,
  { key, payload }: EventInput<P>,
  masked: boolean,
): string | null | undefined {
  if (key !== undefined || !masked) return key;
  try {
    const result = validateWith(definition.schema, payload);
    return result.issues === undefined ? definition.key(result.value) : undefined;
  } catch {
    return undefined; // prepareEvent meets the same error and says so
  }
}

function kindInKey<P>(
  definition: EventDefinition<P>,
  { tenantId, payload }: EventInput<P>,
  key: string,
  redactor: Redactor,
  notes: readonly RedactionNote[] = [],
): string | null {
  if (typeof key !== 'string') return null;
  const kind = redactor.findInKey(definition, tenantId, key);
  return kind ?? notes.find(({ steps }) => valueAt(payload, steps) === key)?.rule ?? null;
}

function describe(notes: readonly RedactionNote[], count: number, inKey: string | null): JsonValue {
  return {
    version: redactionVersion,
    count,
    fields: notes.slice(0, notesStoredMax).map((note) => ({
      path: note.path.slice(0, pathCharsMax).toWellFormed(),
      rule: note.rule,
      count: note.count,
    })),
    ...(notes.length > notesStoredMax && { more: notes.length - notesStoredMax }),
    ...(inKey !== null && { key: inKey }),
  };
}

const textsThatFit = [
  'redacted@redacted.invalid',
  '1970-01-01T00:00:00.000Z',
  '1970-01-01',
  '00000000-0000-0000-0000-000000000000',
  'https://redacted.invalid/',
  '+10000000000',
  '0.0.0.0',
  'redacted',
] as const;
const numbersThatFit = [0, 1, -1] as const;
const fittedMax = 20;

/**
 * Where the schema refuses a marker, a value of a fitting kind that says nothing: 0 for a number, a
 * date of 1970 for a date. The rest of its issues are prepareEvent's to tell.
 * @throws MillraceError EVENT_INVALID when there is none.
 */
function fit<P>(
  definition: EventDefinition<P>,
  original: unknown,
  masked: unknown,
  notes: readonly RedactionNote[],
): unknown {
  let value = masked;
  let issues = issuesOf(definition, value);
  const tried = new Set<RedactionNote>();
  while (tried.size < fittedMax) {
    const note = notes.find((one) => !tried.has(one) && issues.some((i) => concerns(i, one)));
    if (note === undefined) break;
    tried.add(note);
    const fitted = candidates(valueAt(original, note.steps))
      .map((candidate) => replaceAt(value, note.steps, candidate))
      .map((next) => ({ next, left: issuesOf(definition, next) }))
      .find(({ left }) => left.length < issues.length || !left.some((i) => concerns(i, note)));
    if (fitted === undefined) throw unfit(definition.type, issues, note);
    value = fitted.next;
    issues = fitted.left;
  }
  return value;
}

function issuesOf<P>(definition: EventDefinition<P>, value: unknown): readonly SchemaIssue[] {
  return validateWith(definition.schema, value).issues ?? [];
}

/** An issue of the value itself, or of what holds it, such as a union. */
function concerns({ path = [] }: SchemaIssue, { steps }: RedactionNote): boolean {
  if (path.length === 0 || path.length > steps.length) return false;
  return path.every((step, i) => {
    const key = typeof step === 'object' ? step.key : step;
    return String(key) === String(steps[i]);
  });
}

function candidates(original: unknown): readonly (string | number)[] {
  if (typeof original === 'number') return numbersThatFit;
  if (typeof original !== 'string') return textsThatFit;
  return [...textsThatFit, original.replace(/\p{L}/gu, 'x').replace(/\d/g, '0'), ''];
}

function valueAt(value: unknown, steps: readonly PathStep[]): unknown {
  let current = value;
  for (const step of steps) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Readonly<Record<PathStep, unknown>>)[step];
  }
  return current;
}

function replaceAt(value: unknown, steps: readonly PathStep[], by: unknown): unknown {
  const [step, ...rest] = steps;
  if (step === undefined) return by;
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value) ? value.slice() : { ...value };
  const members = copy as Record<PathStep, unknown>;
  members[step] = replaceAt(members[step], rest, by);
  return copy;
}

function unfit(type: string, issues: readonly SchemaIssue[], note: RedactionNote): MillraceError {
  const about = issues.filter((issue) => concerns(issue, note));
  const [problem] = fieldProblems(about, 'payload');
  return new MillraceError(
    'EVENT_INVALID',
    `${type}: payload.${note.path} was redacted (${note.rule}), and no masked value fits the ` +
      `schema: ${problem?.message ?? 'it is refused'}.`,
    {
      fix: 'Let the schema take "[redacted:…]" there, or name the member in redaction.keep.',
      details: { eventType: type, path: note.path, rule: note.rule },
    },
  );
}

/**
 * Taking exceptions in: from the API's items or a source's records to ExceptionIngested, durable
 * before anybody is told so.
 *
 * An item that brings its own id can be sent twice: its event id is derived from tenant and
 * exception id, so the second one is found to be there already and changes nothing.
 */
import { type Millrace, MillraceError, newEventId } from 'millrace';
import { z } from 'zod';
import { derivedId } from './commands.ts';
import { ExceptionIngested } from './events.ts';
import { identifier, isPlainObject, severities } from './vocabulary.ts';

/** What a caller may say of an exception; everything else goes into rawPayload as it is. */
export interface IncomingException {
  /** A UUID that makes sending it twice harmless; derived from the exception id by default. */
  readonly eventId?: string | undefined;
  readonly exceptionId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly source?: string | undefined;
  readonly domain?: string | undefined;
  readonly exceptionType?: string | undefined;
  readonly severity?: (typeof severities)[number] | undefined;
  readonly occurredAt?: string | undefined;
  readonly ingestionMethod?: string | undefined;
  readonly rawPayload: Readonly<Record<string, unknown>>;
}

export interface Accepted {
  readonly exceptionId: string;
  readonly eventId: string;
  /** True when the same exception was there already. */
  readonly duplicate: boolean;
}

const text = z.string().optional();
/** The record form of the API (camelCase, or the snake_case of older callers). */
const itemSchema = z.strictObject({
  eventId: z.uuid().optional(),
  exceptionId: identifier.optional(),
  tenantId: text,
  source: text,
  sourceSystem: text,
  source_system: text,
  domain: text,
  exceptionType: text,
  exception_type: text,
  severity: z
    .string()
    .transform((value) => value.toUpperCase())
    .pipe(z.enum(severities))
    .optional(),
  timestamp: text,
  occurredAt: text,
  ingestionMethod: text,
  rawPayload: z.custom<Readonly<Record<string, unknown>>>(isPlainObject, 'must be an object'),
});

/**
 * Reads one item. With rawPayload the members beside it are the envelope and must be known ones;
 * without, the whole item is the payload, and intake reads type, severity and time out of it.
 */
export function readItem(item: unknown, path: string): IncomingException {
  if (!isPlainObject(item)) throw invalid(`${path} is not an object.`);
  if (item.rawPayload === undefined) {
    const { exceptionId, domain } = item;
    return {
      ...(typeof exceptionId === 'string' && exceptionId !== '' && { exceptionId }),
      ...(typeof domain === 'string' && { domain }),
      rawPayload: item,
    };
  }
  const parsed = itemSchema.safeParse(item);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = [path, ...(issue?.path ?? [])].join('.');
    throw invalid(`${where}: ${issue?.message ?? 'is not an exception'}.`);
  }
  const { sourceSystem, source_system, exception_type, timestamp, ...known } = parsed.data;
  return {
    ...known,
    source: known.source ?? sourceSystem ?? source_system,
    exceptionType: known.exceptionType ?? exception_type,
    occurredAt: known.occurredAt ?? timestamp,
  };
}

/** Publishes them in order; resolves after the durable commit of all. An invalid one stops all. */
export async function acceptExceptions(
  mill: Millrace,
  tenantId: string,
  items: readonly IncomingException[],
): Promise<readonly Accepted[]> {
  const inputs = items.map(({ eventId, ...item }) => {
    const payload = { ...item, exceptionId: item.exceptionId ?? newEventId() };
    const known = item.exceptionId === undefined ? undefined : ingestEventId(tenantId, payload);
    const id = eventId ?? known;
    return [
      ExceptionIngested,
      { tenantId, payload, ...(id !== undefined && { eventId: id }) },
    ] as const;
  });
  const published = await mill.publishMany(inputs);
  return published.map(({ eventId, duplicate }, i) => ({
    exceptionId: (inputs[i] as (typeof inputs)[number])[1].payload.exceptionId,
    eventId,
    duplicate,
  }));
}

/** 48 bits of time first, where it is known: neighbours in time are neighbours in the index. */
function ingestEventId(
  tenantId: string,
  { exceptionId, occurredAt }: { exceptionId: string; occurredAt?: string | undefined },
): string {
  const id = derivedId('ingest', tenantId, exceptionId);
  const ms = occurredAt === undefined ? Number.NaN : Date.parse(occurredAt);
  if (!(ms >= 0)) return id;
  const time = ms.toString(16).padStart(12, '0').slice(0, 12);
  return `${time.slice(0, 8)}-${time.slice(8)}${id.slice(13)}`;
}

export function invalid(message: string, fix?: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message, { fix });
}

/**
 * Intake: brings whatever came in into the common form (P9-6). It picks type, time, amount and
 * entity out of the payload and keeps just the payload fields that rules and templates of the
 * tenant's pack read; everything else stays in ExceptionIngested.
 *
 * Confidence: 1.0 with a type that the pack knows, 0.8 without a type, 0.5 with an unknown one.
 */
import { permanentFailure } from 'millrace';
import { ExceptionIngested, ExceptionNormalized, ManualExceptionCreated } from '../events.ts';
import type { RetainedField, Scope } from '../packs/compiled.ts';
import type { Packs } from '../packs/load.ts';
import type { Scalar } from '../vocabulary.ts';
import {
  type EventWith,
  laterBy,
  type PayloadOf,
  type Stage,
  type StageContext,
  scopeOf,
} from './stage.ts';

type Ingested = PayloadOf<typeof ExceptionIngested>;
type Raw = Readonly<Record<string, unknown>>;

/** Where sources put the time of the exception, in the order in which they are believed. */
const timeFields = ['timestamp', 'occurredAt', 'eventTime', 'createdAt', 'detectedAt', 'time'];
const typeFields = ['exceptionType', 'exception_type', 'type'];
const hintFields = ['error', 'errorCode', 'error_code', 'failure', 'failureReason'];
const summaryFields = ['message', 'summary', 'description', 'reason', 'error'];
/** Kept texts ride on five events of each exception. */
const contextTextMax = 200;

export function createIntake(packs: Packs): Stage {
  return {
    group: 'intake',
    events: [ExceptionIngested, ManualExceptionCreated],
    handle(event, context) {
      normalize(packs, event as EventWith<Ingested>, context);
    },
  };
}

function normalize(packs: Packs, event: EventWith<Ingested>, context: StageContext): void {
  const payload = event.payload;
  const raw = payload.rawPayload as Raw;
  checkTenant(event, payload, raw);
  const domain = payload.domain ?? textField(raw, 'domain') ?? soleDomain(packs);
  const scope = scopeOf(packs, event, domain);
  const reportedType = normalizeType(payload.exceptionType ?? firstText(raw, typeFields));
  const known = reportedType !== null && scope.types.has(reportedType);
  const reportedDeadline = deadlineOf(raw);
  const source =
    payload.source ?? textField(raw, 'sourceSystem') ?? textField(raw, 'source') ?? 'UNKNOWN';
  context.publish(ExceptionNormalized, {
    payload: {
      exceptionId: payload.exceptionId,
      exception: {
        exceptionId: payload.exceptionId,
        source,
        domain,
        type: reportedType ?? 'UNKNOWN',
        severity: payload.severity ?? 'MEDIUM',
        occurredAt: occurredAt(payload, raw, event.timestamp),
        ingestedAt: event.timestamp,
        slaDeadline:
          reportedDeadline ?? laterBy(event.timestamp, scope.pack.slaMinutes.MEDIUM * 60_000),
        amount: amountOf(scope, raw),
        entity: entityOf(scope, raw),
        context: retain(scope.retained, raw),
      },
      reportedSeverity: payload.severity ?? reportedSeverity(raw),
      reportedType,
      reportedDeadline,
      hint: firstText(raw, hintFields)?.slice(0, 200) ?? null,
      summary: firstText(raw, summaryFields)?.slice(0, 160) ?? null,
      pipelineId: event.correlationId,
      normalizedAt: event.timestamp,
      decision: 'NORMALIZED',
      confidence: reportedType === null ? 0.8 : known ? 1 : 0.5,
      evidence: known
        ? knownEvidence
        : [
            reportedType === null
              ? 'the source names no type'
              : `type ${reportedType} is not in pack ${domain}`,
          ],
      nextStep: 'triage',
    },
  });
}

const knownEvidence = ['type is in the pack'];

/** A payload that says it belongs to another tenant is never processed (P9-23). */
function checkTenant(event: EventWith<Ingested>, payload: Ingested, raw: Raw): void {
  const claimed = payload.tenantId ?? textField(raw, 'tenantId');
  if (claimed === undefined || claimed === event.tenantId) return;
  throw permanentFailure(
    `the payload belongs to tenant '${claimed}', but the event to '${event.tenantId}'`,
  );
}

/** With one domain pack there is no question which one is meant. */
function soleDomain(packs: Packs): string {
  const [only, another] = packs.domains;
  if (only !== undefined && another === undefined) return only;
  throw permanentFailure(
    `the exception names no domain; give one of ${packs.domains.join(', ')} as 'domain'`,
  );
}

/** Leading colons go, and all-lower names become upper-case: `:fail_code` is FAIL_CODE. */
export function normalizeType(type: string | undefined): string | null {
  if (type === undefined) return null;
  const bare = type.replace(/^[:\s]+/, '').trimEnd();
  if (bare === '') return null;
  return bare === bare.toLowerCase() ? bare.toUpperCase() : bare;
}

function occurredAt(payload: Ingested, raw: Raw, fallback: string): string {
  const given = payload.occurredAt ?? firstOf(raw, timeFields);
  if (given === undefined || given === null || given === '') return fallback;
  const milliseconds = toMilliseconds(given);
  if (Number.isNaN(milliseconds)) {
    throw permanentFailure(`the timestamp ${JSON.stringify(given)} is not a date`);
  }
  return new Date(milliseconds).toISOString();
}

/** ISO text, or Unix time in seconds or milliseconds (above 1e11, which is 1973 in those). */
function toMilliseconds(value: unknown): number {
  if (typeof value === 'number') {
    const milliseconds = value > 1e11 ? value : value * 1_000;
    return Math.abs(milliseconds) <= 8.64e15 ? milliseconds : Number.NaN;
  }
  if (typeof value !== 'string') return Number.NaN;
  // A date without a zone is UTC here; JavaScript alone would take the zone of the machine.
  const bare = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?$/.test(value);
  return Date.parse(bare ? `${value.replace(' ', 'T').replace(',', '.')}Z` : value);
}

/** A deadline that came with the exception; one that is no date is left out. */
function deadlineOf(raw: Raw): string | null {
  const given = firstOf(raw, ['slaDeadline', 'sla_deadline']);
  if (typeof given !== 'string') return null;
  const milliseconds = toMilliseconds(given);
  return Number.isNaN(milliseconds) ? null : new Date(milliseconds).toISOString();
}

function amountOf(scope: Scope, raw: Raw): number | null {
  for (const field of scope.pack.amountFields) {
    const value = raw[field];
    if (value === undefined || value === null || value === '') continue;
    const amount = toNumber(value);
    if (amount !== null) return amount;
    throw permanentFailure(`${field} is ${JSON.stringify(value)}, which is not an amount`);
  }
  return null;
}

/** Numbers, and texts that are one, with or without thousands separators: "1,250.75". */
function toNumber(value: unknown): number | null {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string') return null;
  const text = value.trim();
  if (!/^[-+]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?$/.test(text)) return null;
  return Number(text.replaceAll(',', ''));
}

function entityOf(scope: Scope, raw: Raw): string | null {
  for (const field of scope.pack.entityFields) {
    const value = raw[field];
    if (typeof value === 'string' && value !== '') return value.slice(0, 200);
    if (typeof value === 'number') return String(value);
  }
  return null;
}

/** The payload fields that later stages read, in the types that the pack declares. */
function retain(fields: readonly RetainedField[], raw: Raw): Record<string, Scalar> {
  const context: Record<string, Scalar> = {};
  for (const { name, type } of fields) {
    const value = raw[name];
    if (value === undefined) continue;
    context[name] = toScalar(value, type);
  }
  return context;
}

function toScalar(value: unknown, type: RetainedField['type']): Scalar {
  if (typeof value === 'string') {
    if (type === 'number' || type === 'integer') return toNumber(value) ?? value;
    if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
    return value.length > contextTextMax ? value.slice(0, contextTextMax) : value;
  }
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  return JSON.stringify(value).slice(0, contextTextMax);
}

function reportedSeverity(raw: Raw): 'LOW' | 'MEDIUM' | 'HIGH' | 'CRITICAL' | null {
  const value = raw.severity;
  if (typeof value !== 'string') return null;
  const upper = value.toUpperCase();
  return upper === 'LOW' || upper === 'MEDIUM' || upper === 'HIGH' || upper === 'CRITICAL'
    ? upper
    : null;
}

function textField(raw: Raw, name: string): string | undefined {
  const value = raw[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function firstText(raw: Raw, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = raw[name];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

function firstOf(raw: Raw, names: readonly string[]): unknown {
  for (const name of names) {
    const value = raw[name];
    if (value !== undefined) return value;
  }
  return undefined;
}

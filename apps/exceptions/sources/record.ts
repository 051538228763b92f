/**
 * What reading gives: one outcome per record, and for an exception the input of an
 * ExceptionIngested event. Ids come from the content, so that reading a file again, or a longer
 * version of it, publishes what the log has already and nothing is stored twice.
 */
import { hash } from 'node:crypto';
import { newEventId } from 'millrace';
import type { ExceptionIngested } from '../events.ts';
import type { PayloadOf } from '../stages/stage.ts';

export type IngestedPayload = PayloadOf<typeof ExceptionIngested>;

/** Fits `publish(ExceptionIngested, { tenantId, ...input })`. */
export interface IngestInput {
  /** Undefined with `stableIds: false`: the publisher makes one. */
  readonly eventId: string | undefined;
  /** The exceptionId. */
  readonly key: string;
  /** When it was read, ISO 8601 UTC; when it happened is `payload.occurredAt`. */
  readonly timestamp: string;
  readonly payload: IngestedPayload;
}

export type ReadRecord =
  | {
      /** 1-based line on which the record begins. */
      readonly line: number;
      readonly outcome: 'exception';
      readonly input: IngestInput;
      readonly reason?: undefined;
    }
  | {
      readonly line: number;
      readonly outcome: 'informational';
      readonly input?: undefined;
      readonly reason?: undefined;
    }
  | {
      readonly line: number;
      readonly outcome: 'rejected';
      readonly input?: undefined;
      readonly reason: string;
    };

/** What is the same for all records of one reading. */
export interface ReadContext {
  readonly tenant: string;
  /** Recorded as the exception's source; part of stable ids. */
  readonly source: string;
  readonly domain: string | undefined;
  readonly file: string | undefined;
  readonly stableIds: boolean;
  /** Times without a year lie at or before this; epoch milliseconds. */
  readonly referenceMs: number;
  /** When the reading began, ISO 8601 UTC. */
  readonly readAt: string;
}

/** A kind of source: lines go in, records come out. */
export interface RecordReader {
  /** `text` is null for a line beyond the limit. Records come out when they are complete. */
  push(text: string | null, line: number, out: ReadRecord[]): void;
  finish(out: ReadRecord[]): void;
}

export function informational(line: number): ReadRecord {
  return { line, outcome: 'informational' };
}

export function rejected(line: number, reason: string): ReadRecord {
  return { line, outcome: 'rejected', reason };
}

/** `text` is the record as it was read; with the line it makes the stable ids. */
export function exception(
  context: ReadContext,
  line: number,
  text: string,
  payload: Omit<IngestedPayload, 'exceptionId'>,
  ownId?: string,
): ReadRecord {
  const ids = context.stableIds ? stableIds(context, line, text) : undefined;
  const exceptionId = ownId ?? ids?.exceptionId ?? newEventId();
  return {
    line,
    outcome: 'exception',
    input: {
      eventId: ids?.eventId,
      key: exceptionId,
      timestamp: context.readAt,
      payload: { exceptionId, ...payload },
    },
  };
}

/**
 * Two UUIDs of version 8 (RFC 9562 §5.8) out of one SHA-256: 1.3 µs for 200 characters. The file's
 * name is left out, so that a rotated or copied file is still the same; the line number is in, so
 * that two equal lines of one file are two exceptions.
 */
export function stableIds(
  context: Pick<ReadContext, 'tenant' | 'source'>,
  line: number,
  text: string,
): { readonly exceptionId: string; readonly eventId: string } {
  const digest = hash('sha256', `${context.tenant}\0${context.source}\0${line}\0${text}`, 'hex');
  return { exceptionId: uuidOf(digest, 0), eventId: uuidOf(digest, 32) };
}

const variants = '89ab';

function uuidOf(hex: string, at: number): string {
  const variant = variants[Number.parseInt(hex[at + 16] as string, 16) & 3];
  return (
    `${hex.slice(at, at + 8)}-${hex.slice(at + 8, at + 12)}-8${hex.slice(at + 13, at + 16)}-` +
    `${variant}${hex.slice(at + 17, at + 20)}-${hex.slice(at + 20, at + 32)}`
  );
}

/** Up to `max` characters of untrusted text, on one line, for a reason. */
export function excerpt(text: string, max = 60): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const plain = text.replace(/[\x00-\x1f\x7f]+/g, ' ').trim();
  return JSON.stringify(plain.length > max ? `${plain.slice(0, max)}…` : plain);
}

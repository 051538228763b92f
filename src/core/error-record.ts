/**
 * What a handler threw, as text that any store takes: code, message, stack and a fingerprint. Used
 * for failed events and failed jobs.
 *
 * Invariant: nothing here throws, whatever was thrown: a getter, a proxy or a cycle in it must not
 * keep its job from being settled.
 */

/** What is kept of the error a job failed with. */
export interface JobErrorRecord {
  readonly code: string | null;
  /** At most 4,096 characters. */
  readonly message: string;
  /** With the stacks of its causes; at most 8,192 characters. */
  readonly stack: string | null;
  /** Same for errors of the same kind: numbers and ids left out. */
  readonly fingerprint: string;
}

const recordLimits: TextLimits = { messageMax: 4_096, stackMax: 8_192 };

export function errorRecord(thrown: unknown): JobErrorRecord {
  const { code, message, stack } = describeThrown(thrown, recordLimits);
  return { code, message, stack, fingerprint: `${code ?? '-'}: ${kindOf(message)}` };
}

const ids = /[0-9a-f]{8}-[0-9a-f-]{27}|\b(?=[a-f]*\d)[0-9a-f]{12,}\b/gi;

/** A message without what differs from case to case: ids, quoted text, numbers. 160 characters. */
export function kindOf(message: string): string {
  return message
    .slice(0, 1_000)
    .replace(ids, '<id>')
    .replace(/'[^']*'|"[^"]*"/g, '<text>')
    .replace(/\d+(?:\.\d+)?/g, '<n>')
    .slice(0, 160)
    .toWellFormed();
}

export interface TextLimits {
  readonly messageMax: number;
  readonly stackMax: number;
}

export interface ThrownDescription {
  /** The error's own code, else its name; null when it is no error. */
  readonly code: string | null;
  /** Never empty. */
  readonly message: string;
  readonly stack: string | null;
}

const causesMax = 5;
const codeMax = 100;

export function describeThrown(thrown: unknown, limits: TextLimits): ThrownDescription {
  const { messageMax, stackMax } = limits;
  if (!isError(thrown)) {
    return { code: null, message: storable(print(thrown), messageMax), stack: null };
  }
  const name = textIn(thrown, 'name') || 'Error';
  return {
    code: storable(textIn(thrown, 'code') || name, codeMax),
    message: storable(messageOf(thrown) || name, messageMax),
    stack: storable(stackOf(thrown, stackMax), stackMax),
  };
}

/** Errors of other realms and the plain objects that some clients throw are errors too. */
function isError(thrown: unknown): thrown is object {
  return (
    typeof thrown === 'object' && thrown !== null && typeof read(thrown, 'message') === 'string'
  );
}

/** What failed on several ways at once, such as a connection, often says nothing itself. */
function messageOf(error: object): string {
  const own = textIn(error, 'message');
  if (own !== '') return own;
  const errors = read(error, 'errors');
  if (!isArray(errors)) return '';
  const messages: string[] = [];
  for (let i = 0; i < causesMax; i += 1) {
    const part = read(errors, i);
    if (isError(part)) messages.push(textIn(part, 'message'));
  }
  return messages.filter((message) => message !== '').join('; ');
}

/** The stack with those of the causes, each once. */
function stackOf(error: object, charsMax: number): string {
  const seen = new Set<unknown>();
  let text = '';
  let current: unknown = error;
  while (seen.size <= causesMax && text.length < charsMax && !seen.has(current)) {
    seen.add(current);
    if (!isError(current)) break;
    const stack = textIn(current, 'stack') || textIn(current, 'message');
    text += text === '' ? stack : `\nCaused by: ${stack}`;
    current = read(current, 'cause');
  }
  return text;
}

function textIn(object: object, member: string): string {
  const value = read(object, member);
  return typeof value === 'string' ? value : '';
}

/** Getters may throw, and proxies whatever they like. */
function read(object: object, member: PropertyKey): unknown {
  try {
    return (object as Readonly<Record<PropertyKey, unknown>>)[member];
  } catch {
    return undefined;
  }
}

/** Throws for a revoked proxy otherwise. */
function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

function print(thrown: unknown): string {
  try {
    return typeof thrown === 'string' ? thrown : (JSON.stringify(thrown) ?? String(thrown));
  } catch {
    // Goes on below: BigInt, cycles, and toJSON() that throws.
  }
  try {
    return typeof thrown === 'object'
      ? 'a value that cannot be printed was thrown'
      : String(thrown);
  } catch {
    return 'a value that cannot be printed was thrown';
  }
}

/** Postgres text refuses NUL, and UTF-8 has no bytes for half a surrogate pair. */
function storable(text: string, charsMax: number): string {
  const kept = text
    .slice(0, charsMax + 1)
    .replaceAll('\0', '')
    .slice(0, charsMax)
    .toWellFormed();
  return kept === '' ? 'nothing was said' : kept;
}

/**
 * Errors on their way between threads. A structured clone would lose the class, the code and every
 * member of ours, so an error travels as data and is made again on the other side. Carrying never
 * throws, whatever was thrown: the sandbox and the heartbeat depend on that.
 */
import { types } from 'node:util';
import { type ErrorCode, errorCodes, isMillraceError, MillraceError } from '../core/errors.ts';

export interface CarriedError {
  /** False: something else was thrown, and `message` is its text. */
  readonly isError: boolean;
  /** It was a MillraceError, or of a class made from it. */
  readonly isOurs: boolean;
  readonly name: string;
  readonly message: string;
  readonly stack: string | null;
  /** Members beside the usual ones, as far as they are plain: code, fix, details, status, … */
  readonly members: Readonly<Record<string, unknown>>;
  readonly cause: CarriedError | null;
}

const textMax = 16_384;
const causesMax = 5;
const usual: ReadonlySet<string> = new Set(['name', 'message', 'stack', 'cause']);

export function carryError(thrown: unknown, causes = causesMax): CarriedError {
  const isError = isAnError(thrown);
  const cause = isError && causes > 0 ? read(thrown, 'cause') : undefined;
  return {
    isError,
    isOurs: isMillraceError(thrown),
    name: isError ? textOf(read(thrown, 'name'), 'Error') : typeof thrown,
    message: isError ? textOf(read(thrown, 'message'), '') : textOf(thrown, typeof thrown),
    stack: isError ? textOf(read(thrown, 'stack'), '') || null : null,
    members: isError ? plainMembers(thrown) : {},
    cause: cause === undefined || cause === null ? null : carryError(cause, causes - 1),
  };
}

/** What `carryError` was given, as like it as can be; what is no error, as its text. */
export function reviveError(carried: CarriedError): unknown {
  if (!carried.isError) return carried.message;
  const cause = carried.cause === null ? undefined : reviveError(carried.cause);
  const error = revive(carried, cause);
  const { stack } = carried;
  if (stack !== null) hide(error, 'stack', stack);
  return error;
}

function revive({ isOurs, name, message, members }: CarriedError, cause: unknown): Error {
  const { code, ...others } = members;
  // By name: a thread may have loaded this package from another place.
  const ours = isOurs || name === 'MillraceError';
  if (ours && typeof code === 'string' && Object.hasOwn(errorCodes, code)) {
    const error = new MillraceError(code as ErrorCode, message, { ...others, cause });
    if (name !== error.name) hide(error, 'name', name);
    return error;
  }
  const error = new Error(message, cause === undefined ? undefined : { cause });
  hide(error, 'name', name);
  return Object.assign(error, members);
}

function hide(error: Error, member: 'name' | 'stack', value: string): void {
  Object.defineProperty(error, member, { value, writable: true, configurable: true });
}

/** Of any realm. A proxy is none: asking it for its prototype may throw. */
function isAnError(thrown: unknown): thrown is Error {
  if (types.isProxy(thrown)) return false;
  return types.isNativeError(thrown) || thrown instanceof Error;
}

/** A getter may throw, and a proxy whatever it likes. */
function read(thrown: object, member: string): unknown {
  try {
    return (thrown as Record<string, unknown>)[member];
  } catch {
    return undefined;
  }
}

function textOf(value: unknown, fallback: string): string {
  try {
    return String(value ?? fallback).slice(0, textMax);
  } catch {
    return fallback;
  }
}

function plainMembers(error: object): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  let names: readonly string[] = [];
  try {
    names = Object.keys(error);
  } catch {
    return members;
  }
  for (const name of names) {
    if (usual.has(name)) continue;
    const value = read(error, name);
    const plain = plainOf(value);
    if (plain !== undefined) members[name] = plain;
  }
  return members;
}

/** The value itself when it is small and plain; undefined when it is not. */
function plainOf(value: unknown): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return value;
  if (typeof value === 'string') return value.slice(0, textMax);
  if (typeof value !== 'object') return undefined;
  try {
    const json = JSON.stringify(value);
    return json !== undefined && json.length <= textMax ? JSON.parse(json) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Event ids: UUIDv7 (RFC 9562 §5.7), so that ids sort by the time they were made.
 *
 * Layout: 48 bits of milliseconds, 26 bits of counter (rand_a and the first 14 bits of rand_b; RFC
 * 9562 §6.2 method 1), 48 fresh random bits. The counter starts each millisecond at a random 25-bit
 * value, which leaves room for 33 million ids: within one process ids strictly ascend.
 */
import { MillraceError } from './errors.ts';

const counterMax = 0x3ff_ffff;
const msMax = 0xffff_ffff_ffff;
/** A clock set back by less than this keeps ids ascending; by more, the new time is believed. */
const setBackMsMax = 10_000;

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const pool = new Uint8Array(6 * 1024);
let poolAt = pool.length;
let lastMs = -1;
let counter = 0;
/** What ids share while neither the millisecond nor the counter's upper 12 bits change. */
let prefix = '';

/**
 * A new UUIDv7 in lower case. 0.17 µs including the flat string; crypto.randomUUID takes 0.15 µs.
 * @param nowMs epoch milliseconds; the clock's when left out.
 */
export function newEventId(nowMs: number = Date.now()): string {
  if (poolAt === pool.length) {
    globalThis.crypto.getRandomValues(pool);
    poolAt = 0;
  }
  const ms = Math.floor(nowMs);
  if (ms <= lastMs && ms >= lastMs - setBackMsMax) countUp();
  else startMillisecond(ms);
  const at = poolAt;
  poolAt += 6;
  return (
    prefix +
    hex[((counter >>> 8) & 0x3f) | 0x80] +
    hex[counter & 0xff] +
    '-' +
    hex[pool[at] as number] +
    hex[pool[at + 1] as number] +
    hex[pool[at + 2] as number] +
    hex[pool[at + 3] as number] +
    hex[pool[at + 4] as number] +
    hex[pool[at + 5] as number]
  );
}

function countUp(): void {
  if (counter === counterMax) {
    startMillisecond(lastMs + 1);
    return;
  }
  counter += 1;
  if ((counter & 0x3fff) === 0) prefix = prefixOf(lastMs, counter);
}

function startMillisecond(ms: number): void {
  lastMs = checkMs(ms);
  counter = (globalThis.crypto.getRandomValues(new Uint32Array(1))[0] as number) >>> 7;
  prefix = prefixOf(lastMs, counter);
}

function prefixOf(ms: number, count: number): string {
  const time = ms.toString(16).padStart(12, '0');
  const high = (count >>> 14).toString(16).padStart(3, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${high}-`;
}

function checkMs(ms: number): number {
  const whole = Math.floor(ms);
  if (whole >= 0 && whole <= msMax) return whole;
  throw new MillraceError('EVENT_INVALID', `The time ${ms} does not fit into an event id.`, {
    fix: 'Give milliseconds since 1970, from 0 to 2^48 - 1.',
  });
}

/**
 * The epoch milliseconds inside a UUIDv7.
 * @throws MillraceError EVENT_INVALID for anything else, such as an id of the caller's own making.
 */
export function eventIdTime(id: string): number {
  if (!isUuid(id) || id[14] !== '7') {
    throw new MillraceError('EVENT_INVALID', 'The event id is not a UUIDv7: it holds no time.', {
      fix: 'Look the event up and use its timestamp.',
    });
  }
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The lowest UUIDv7 of that millisecond: `event_id >= uuidv7Floor(from)` is a range by time. */
export function uuidv7Floor(ms: number): string {
  return `${prefixOf(checkMs(ms), 0)}8000-000000000000`;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** True for the text form of a UUID of any version, in either case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && uuidPattern.test(value);
}

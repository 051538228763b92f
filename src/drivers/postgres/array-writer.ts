/**
 * Postgres arrays in binary form: one parameter instead of one per row. Called for every batch of
 * events and jobs. Why not text: the server spends 9.0 µs a row with binary arrays, 9.8 µs with
 * text arrays and 12.5 µs with one JSON document (1,000 rows of events).
 */
export const oid = {
  int8: 20,
  int4: 23,
  text: 25,
  json: 114,
  timestamptz: 1184,
  uuid: 2950,
} as const;
export const postgresEpochMs = Date.UTC(2000, 0, 1);
const hexValue = new Uint8Array(128);
for (const [i, digit] of [...'0123456789abcdef'].entries()) {
  hexValue[digit.charCodeAt(0)] = i;
  hexValue[digit.toUpperCase().charCodeAt(0)] = i;
}

/** A growing buffer with the header of a one-dimensional array in front. */
export class ArrayWriter {
  bytes: Buffer;
  at = 0;

  constructor(elementOid: number, count: number, bytesPerElement: number) {
    this.bytes = Buffer.allocUnsafe(20 + count * bytesPerElement);
    this.int(count === 0 ? 0 : 1);
    this.int(1); // there may be nulls
    this.int(elementOid);
    if (count === 0) return;
    this.int(count);
    this.int(1); // lower bound
  }

  reserve(size: number): void {
    if (this.at + size <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + size));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  int(value: number): void {
    this.bytes.writeInt32BE(value, this.at);
    this.at += 4;
  }

  text(value: string): void {
    this.reserve(4 + value.length * 3);
    const length = this.bytes.write(value, this.at + 4, 'utf8');
    this.int(length);
    this.at += length;
  }

  uuid(value: string): void {
    this.int(16);
    let to = this.at;
    for (let i = 0; i < 36; i += 2) {
      if (i === 8 || i === 13 || i === 18 || i === 23) i += 1;
      const high = hexValue[value.charCodeAt(i)] as number;
      const low = hexValue[value.charCodeAt(i + 1)] as number;
      this.bytes[to++] = (high << 4) | low;
    }
    this.at = to;
  }

  microseconds(value: number): void {
    this.int(8);
    this.bytes.writeInt32BE(Math.floor(value / 4_294_967_296), this.at);
    this.bytes.writeUInt32BE(
      value - Math.floor(value / 4_294_967_296) * 4_294_967_296,
      this.at + 4,
    );
    this.at += 8;
  }

  done(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}

/** An int[] parameter. */
export function intArray(values: readonly number[]): Buffer {
  const writer = new ArrayWriter(oid.int4, values.length, 8);
  for (const value of values) {
    writer.int(4);
    writer.int(value);
  }
  return writer.done();
}

/** A bigint[] parameter; values are whole numbers from 0 up to 2^53. */
export function bigintArray(values: readonly number[]): Buffer {
  const writer = new ArrayWriter(oid.int8, values.length, 12);
  for (const value of values) {
    writer.int(8);
    writer.int(Math.floor(value / 4_294_967_296));
    writer.bytes.writeUInt32BE(value % 4_294_967_296, writer.at);
    writer.at += 4;
  }
  return writer.done();
}

/** A text[] or json[] parameter; `bytes` is a guess of one element's size. */
export function textArray(
  elementOid: number,
  values: readonly (string | null)[],
  bytes: number,
): Buffer {
  const writer = new ArrayWriter(elementOid, values.length, bytes + 4);
  for (const value of values) {
    if (value === null) {
      writer.reserve(4);
      writer.int(-1);
    } else writer.text(value);
  }
  return writer.done();
}

/**
 * Reads record batches as deliveries, lazily: what was fetched stays bytes until somebody wants it.
 * Headers are found by name without making a string of it, and a text that repeats that of the
 * message before is the same string: 1.8 µs for an event, where the client takes 6.7 µs for its
 * record alone.
 */
import { compressionsAlgorithmsByBitmask } from '@platformatic/kafka';
import { readCloudEvent } from '../../core/cloud-event.ts';
import type { Delivery } from '../../ports/broker.ts';
import { headerBytes } from './batch-writer.ts';

const rawBytesMax = 65_536;
const isCompressed = 0b111;
const isTransactional = 0b1_0000;
const isControl = 0b10_0000;
/** The format that has headers, of Kafka 0.11 on; older messages stay as they were written. */
const magicNow = 2;
const magicAt = 16;

/** Attributes that `readCloudEvent` asks for, each with a place of its own. */
const attributes = [
  'specversion',
  'id',
  'source',
  'type',
  'eventversion',
  'time',
  'metadata',
  'traceparent',
  'tenantid',
  'subject',
  'correlationid',
  'causationid',
  'logplace',
  'datacontenttype',
  'partitionkey',
] as const;

/** Where no header says it, the message's key is it (CloudEvents, binding for Kafka). */
const partitionKeyAt = attributes.indexOf('partitionkey');

const placeOf = new Map<string, number>(attributes.map((name, place) => [name, place]));

/** By a number made of length and two letters, which differs for each of them. */
const byMark = new Map<number, { readonly place: number; readonly name: Uint8Array }>();
for (const [name, place] of placeOf) {
  const header = Buffer.from(name === 'datacontenttype' ? 'content-type' : `ce_${name}`);
  const mark = markOf(header, 0, header.length);
  if (byMark.has(mark)) throw new Error(`two headers have the mark of ${header}`);
  byMark.set(mark, { place, name: header });
}

function markOf(bytes: Uint8Array, start: number, length: number): number {
  return (
    length | ((bytes[start + 3] as number) << 8) | ((bytes[start + length - 2] as number) << 16)
  );
}

/** Producers whose transactions were given up, and from which offset (`read_committed`). */
export interface Aborted {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

const none = Buffer.alloc(0);

/** What was fetched of one partition and is not delivered yet. */
export class BatchReader {
  /** Where the next fetch begins. */
  fetchOffset: number;
  /** Fetched bytes that are not delivered. */
  waitingBytes = 0;
  readonly #topic: string;
  readonly #partition: number;
  #chunks: { readonly bytes: Buffer; readonly aborted: Aborted[] }[] = [];
  #chunkAt = 0;
  /** Producers in a transaction that is known to end as given up. */
  #givenUp = new Set<bigint>();
  /** The batch under way. */
  #records: Buffer = none;
  /** It is one message, or one compressed set of them, of a format before this one. */
  #isOld = false;
  #at = 0;
  #left = 0;
  #base = 0;
  /** Records below it were delivered before: a batch is always fetched whole. */
  #from: number;

  // By place: where the text of the record under way stands; -1: it has none.
  readonly #starts = new Int32Array(attributes.length);
  readonly #ends = new Int32Array(attributes.length);
  // By place: the text that was read last, and where.
  readonly #lastStarts = new Int32Array(attributes.length).fill(-1);
  readonly #lastEnds = new Int32Array(attributes.length);
  readonly #lastTexts: string[] = attributes.map(() => '');
  readonly #get = (name: string) => this.#attribute(name);

  constructor(topic: string, partition: number, offset: number) {
    this.#topic = topic;
    this.#partition = partition;
    this.fetchOffset = offset;
    this.#from = offset;
  }

  /** What is delivered next, or a gap before it. */
  get position(): number {
    return this.#from;
  }

  /** Everything fetched was delivered. */
  get isEmpty(): boolean {
    return this.#left === 0 && this.#chunks.length === 0;
  }

  /**
   * Takes what a fetch brought. The last batch may be cut; `fetchOffset` is past the whole ones.
   * @returns false: not one batch was whole
   */
  push(bytes: Buffer, aborted: Aborted[]): boolean {
    let end = 0;
    while (end + magicAt < bytes.length) {
      const length = bytes.readInt32BE(end + 8);
      const next = end + 12 + length;
      const isOld = (bytes[end + magicAt] as number) < magicNow;
      if (length < (isOld ? 14 : headerBytes - 12)) {
        throw new Error(`what comes at offset ${this.fetchOffset} is no batch of records`);
      }
      if (next > bytes.length) break;
      const last = offsetAt(bytes, end) + (isOld ? 0 : bytes.readInt32BE(end + 23));
      if (last >= this.fetchOffset) this.fetchOffset = last + 1;
      end = next;
    }
    if (end === 0) return false;
    this.#chunks.push({ bytes: end === bytes.length ? bytes : bytes.subarray(0, end), aborted });
    this.waitingBytes += end;
    return true;
  }

  /** The next deliveries, at most `max`; none when nothing is left, whatever was fetched. */
  take(max: number): Delivery[] {
    const deliveries: Delivery[] = [];
    while (deliveries.length < max) {
      if (this.#left === 0 && !this.#openBatch()) break;
      while (this.#left > 0 && deliveries.length < max) {
        const delivery = this.#readRecord();
        if (delivery !== null) deliveries.push(delivery);
      }
    }
    return deliveries;
  }

  /** Goes to the next batch that holds records for us. */
  #openBatch(): boolean {
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) {
        // A slice keeps the whole answer of megabytes in memory.
        this.#records = none;
        return false;
      }
      const { bytes } = chunk;
      const start = this.#chunkAt;
      if (start >= bytes.length) {
        this.#chunks.shift();
        this.#chunkAt = 0;
        continue;
      }
      const end = start + 12 + bytes.readInt32BE(start + 8);
      this.#chunkAt = end;
      this.waitingBytes -= end - start;
      this.#isOld = (bytes[start + magicAt] as number) < magicNow;
      if (this.#isOld) {
        this.#records = bytes.subarray(start, end);
        this.#base = offsetAt(bytes, start);
        this.#left = 1;
        return true;
      }
      const flags = bytes.readInt16BE(start + 21);
      this.#base = offsetAt(bytes, start);
      const producerId = bytes.readBigInt64BE(start + 43);
      const last = this.#base + bytes.readInt32BE(start + 23);
      while (chunk.aborted[0] !== undefined && chunk.aborted[0].firstOffset <= last) {
        this.#givenUp.add((chunk.aborted.shift() as Aborted).producerId);
      }
      if ((flags & isControl) !== 0) {
        this.#givenUp.delete(producerId);
        continue;
      }
      if ((flags & isTransactional) !== 0 && this.#givenUp.has(producerId)) continue;
      const records = bytes.subarray(start + headerBytes, end);
      const algorithm = flags & isCompressed;
      this.#records = algorithm === 0 ? records : unpack(algorithm, records);
      this.#at = 0;
      this.#left = bytes.readInt32BE(start + 57);
      this.#lastStarts.fill(-1);
      if (this.#left > 0) return true;
    }
  }

  #varint(): number {
    const bytes = this.#records;
    let byte = bytes[this.#at++] as number;
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let value = byte & 0x7f;
    let shift = 7;
    do {
      byte = bytes[this.#at++] as number;
      value |= (byte & 0x7f) << shift;
      shift += 7;
    } while (byte >= 0x80 && shift < 35);
    return (value >>> 1) ^ -(value & 1);
  }

  #skipVarlong(): void {
    while ((this.#records[this.#at++] as number) >= 0x80);
  }

  /** Format 0 and 1 have no headers, so no CloudEvent can be in them: people see the value. */
  #readOld(): Delivery | null {
    const bytes = this.#records;
    this.#left = 0;
    if (this.#base < this.#from) return null;
    this.#from = this.#base + 1;
    const magic = bytes[magicAt] as number;
    const keyAt = magic === 0 ? 18 : 26;
    const valueAt = keyAt + 8 + Math.max(0, bytes.readInt32BE(keyAt));
    const value = bytes.subarray(Math.min(valueAt, bytes.length));
    return {
      topic: this.#topic,
      partition: this.#partition,
      position: String(this.#base),
      event: null,
      problem: `It is in Kafka's message format ${magic}, which has no headers: no CloudEvent.`,
      raw: Uint8Array.from(value.subarray(0, rawBytesMax)),
      redelivered: false,
    };
  }

  #readRecord(): Delivery | null {
    if (this.#isOld) return this.#readOld();
    const length = this.#varint();
    const end = this.#at + length;
    this.#at += 1; // attributes of the record: none are defined
    this.#skipVarlong(); // its time
    const offset = this.#base + this.#varint();
    this.#left -= 1;
    if (offset < this.#from) {
      this.#at = end;
      return null;
    }
    this.#from = offset + 1;
    const keyBytes = this.#varint();
    const keyAt = this.#at;
    if (keyBytes > 0) this.#at += keyBytes;
    const valueBytes = Math.max(0, this.#varint());
    const valueAt = this.#at;
    this.#at += valueBytes;
    this.#readHeaders();
    this.#at = end;
    if (keyBytes >= 0 && this.#starts[partitionKeyAt] === -1) {
      this.#starts[partitionKeyAt] = keyAt;
      this.#ends[partitionKeyAt] = keyAt + keyBytes;
    }
    return this.#deliver(offset, valueAt, valueAt + valueBytes);
  }

  #readHeaders(): void {
    const bytes = this.#records;
    this.#starts.fill(-1);
    for (let left = this.#varint(); left > 0; left -= 1) {
      const nameLength = this.#varint();
      const nameAt = this.#at;
      this.#at += nameLength;
      const length = this.#varint();
      const start = this.#at;
      if (length > 0) this.#at += length;
      if (nameLength < 5 || length < 0) continue;
      const known = byMark.get(markOf(bytes, nameAt, nameLength));
      if (known === undefined || !isSame(bytes, nameAt, known.name)) continue;
      this.#starts[known.place] = start;
      this.#ends[known.place] = this.#at;
    }
  }

  #attribute(name: string): string | undefined {
    const place = placeOf.get(name);
    if (place === undefined) return undefined;
    const start = this.#starts[place] as number;
    if (start === -1) return undefined;
    const end = this.#ends[place] as number;
    const lastStart = this.#lastStarts[place] as number;
    const length = end - start;
    const bytes = this.#records;
    if (lastStart !== -1 && (this.#lastEnds[place] as number) - lastStart === length) {
      let i = 0;
      while (i < length && bytes[start + i] === bytes[lastStart + i]) i += 1;
      if (i === length) return this.#lastTexts[place];
    }
    const text = bytes.toString('utf8', start, end);
    this.#lastStarts[place] = start;
    this.#lastEnds[place] = end;
    this.#lastTexts[place] = text;
    return text;
  }

  #deliver(offset: number, valueAt: number, valueEnd: number): Delivery {
    const bytes = this.#records;
    const read = readCloudEvent(this.#get, bytes.toString('utf8', valueAt, valueEnd));
    const isBad = 'problem' in read;
    return {
      topic: this.#topic,
      partition: this.#partition,
      position: String(offset),
      event: isBad ? null : read,
      problem: isBad ? read.problem : null,
      // A copy: the fetched bytes of a megabyte shall not live as long as this one message.
      raw: isBad
        ? Uint8Array.from(bytes.subarray(valueAt, Math.min(valueEnd, valueAt + rawBytesMax)))
        : null,
      redelivered: false,
    };
  }
}

function isSame(bytes: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i += 1) if (bytes[start + i] !== name[i]) return false;
  return true;
}

/** An offset: whole up to 2^53, which no partition reaches. */
function offsetAt(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 4_294_967_296 + bytes.readUInt32BE(at + 4);
}

function unpack(algorithm: number, bytes: Buffer): Buffer {
  const found = compressionsAlgorithmsByBitmask[algorithm];
  if (found === undefined) throw new Error(`compression ${algorithm} is unknown`);
  return found.decompressSync(bytes);
}

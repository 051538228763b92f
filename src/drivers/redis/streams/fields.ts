/**
 * Events as fields of stream entries: CloudEvents attributes with the prefix `ce_`, and `data`.
 * Entries of one type mostly have the same names in the same order, a shape: Redis stores the names
 * of an entry only where they differ from those of the first in its node, and we send and look at
 * them once per shape.
 */
import { attributesOf, type ReceivedEvent, readCloudEvent } from '../../../core/cloud-event.ts';
import type { Delivery, OutgoingEvent, TopicPartition } from '../../../ports/broker.ts';

const prefix = 'ce_';
const dataField = 'data';
const rawBytesMax = 65_536;

export interface Fields {
  /** Names with a space between: none of ours has one. */
  readonly shape: string;
  readonly values: readonly string[];
}

export function fieldsOf(outgoing: OutgoingEvent, source: string): Fields {
  const { event, metadataJson, place, payloadJson } = outgoing;
  let shape = '';
  const values: string[] = [];
  for (const [name, text] of attributesOf(event, metadataJson, { source, place })) {
    shape += `${prefix}${name} `;
    values.push(text);
  }
  values.push(payloadJson);
  return { shape: shape + dataField, values };
}

/** As the server answers: its id, and names and values in turn; null when it was removed. */
export type Entry = readonly [id: string, fields: readonly string[] | null];

export interface EntryReader {
  toDelivery(partition: TopicPartition, entry: Entry, redelivered: boolean): Delivery;
}

export function createEntryReader(): EntryReader {
  let names: readonly string[] = [];
  let places: ReadonlyMap<string, number> = new Map();
  /** Where the value of each attribute stands; of the last entry again, if its names are. */
  const placesOf = (fields: readonly string[]): ReadonlyMap<string, number> => {
    if (!hasNames(fields, names)) {
      names = fields.filter((_, i) => i % 2 === 0);
      places = new Map(names.map((name, i) => [attributeOf(name), 2 * i + 1]));
    }
    return places;
  };
  return {
    toDelivery({ topic, partition }, [position, fields], redelivered) {
      const found: ReceivedEvent | { readonly problem: string } =
        fields === null
          ? { problem: 'it was removed from the stream before it was acknowledged' }
          : read(fields, placesOf(fields));
      if (!('problem' in found)) {
        return { topic, partition, position, event: found, problem: null, raw: null, redelivered };
      }
      const { problem } = found;
      const raw = fields === null ? null : rawOf(fields);
      return { topic, partition, position, event: null, problem, raw, redelivered };
    },
  };
}

function read(fields: readonly string[], places: ReadonlyMap<string, number>) {
  const get = (name: string): string | undefined => {
    const place = places.get(name);
    return place === undefined ? undefined : fields[place];
  };
  const data = places.get('');
  return readCloudEvent(get, data === undefined ? '' : (fields[data] as string));
}

function hasNames(fields: readonly string[], names: readonly string[]): boolean {
  if (fields.length !== 2 * names.length) return false;
  for (let i = 0; i < names.length; i += 1) if (fields[2 * i] !== names[i]) return false;
  return true;
}

/** '' is the data. What is no attribute is found under a name that no attribute has. */
function attributeOf(name: string): string {
  if (name === dataField) return '';
  return name.startsWith(prefix) ? name.slice(prefix.length) : `field ${name}`;
}

/** Any entry as a person would look at it: a JSON object of its fields. */
function rawOf(fields: readonly string[]): Uint8Array {
  const pairs: [string, string][] = [];
  for (let i = 0; i < fields.length; i += 2) {
    pairs.push([fields[i] as string, fields[i + 1] as string]);
  }
  return Buffer.from(JSON.stringify(Object.fromEntries(pairs))).subarray(0, rawBytesMax);
}

/** Characters, as a measure of bytes that costs nothing. */
export function sizeOf([, fields]: Entry): number {
  let size = 0;
  for (const text of fields ?? []) size += text.length;
  return size;
}

/**
 * One fetch: which partitions from where, and what comes back as bytes. The client's own parser
 * would make every record an object at once, wanted or not; here a batch stays bytes until it is
 * delivered. Versions 4 to 17 differ in a few fields (KIP-227, 392, 482, 516).
 */
import { type Connection, type Reader, Reader as ReaderClass } from '@platformatic/kafka';
import type { Aborted } from './batch-reader.ts';
import type { Cluster, TopicLayout } from './cluster.ts';

export interface FetchPart {
  readonly layout: TopicLayout;
  readonly partition: number;
  readonly offset: number;
  readonly bytesMax: number;
}

export interface FetchedPart {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly logStart: number;
  readonly aborted: Aborted[];
  readonly records: Buffer;
}

export interface FetchAnswer {
  readonly throttleTimeMs: number;
  readonly errorCode: number;
  readonly parts: readonly FetchedPart[];
}

export interface FetchOptions {
  /** How long the broker may wait for something to send. */
  readonly waitMs: number;
  readonly bytesMax: number;
}

const fetchKey = 1;
const readCommitted = 1;
/** Topics go by id from here on. */
const firstById = 13;
const firstFlexible = 12;

type FetchArguments = [
  maxWaitMs: number,
  minBytes: number,
  maxBytes: number,
  isolationLevel: number,
  sessionId: number,
  sessionEpoch: number,
  topics: readonly unknown[],
  forgotten: readonly unknown[],
  rackId: string,
];

export async function fetchRecords(
  cluster: Cluster,
  connection: Connection,
  parts: readonly FetchPart[],
  { waitMs, bytesMax }: FetchOptions,
): Promise<FetchAnswer> {
  const { api, createRequest } = await cluster.api(connection, 'Fetch');
  await cluster.unmuted(connection);
  const { version } = api;
  const layouts = new Map(parts.map(({ layout }) => [layout.name, layout]));
  const topics = [...Map.groupBy(parts, ({ layout }) => layout.name)].map(([name, those]) => ({
    topicId: version >= firstById ? (layouts.get(name) as TopicLayout).id : name,
    partitions: those.map(({ layout, partition, offset, bytesMax: partitionMaxBytes }) => ({
      partition,
      currentLeaderEpoch: layout.epochs[partition] ?? -1,
      fetchOffset: BigInt(offset),
      lastFetchedEpoch: -1,
      partitionMaxBytes,
    })),
  }));
  // No fetch sessions: a member has tens of partitions, and which of them it wants changes always.
  const args: FetchArguments = [waitMs, 1, bytesMax, readCommitted, 0, -1, topics, [], ''];
  const nameOf = new Map(
    [...layouts.values()].map(({ name, id }) => [version >= firstById ? id : name, name]),
  );
  return cluster.answer<FetchAnswer>(connection, waitMs + 10_000, (done) => {
    connection.send(
      fetchKey,
      version,
      () => (createRequest as unknown as (...all: FetchArguments) => never)(...args),
      (_id, _key, _version, reader) => parse(reader, version, nameOf),
      version >= firstFlexible,
      version >= firstFlexible,
      done,
    );
  });
}

function parse(given: Reader, version: number, nameOf: ReadonlyMap<string, string>): FetchAnswer {
  // One flat copy at most; then slices of it are free and numbers are read without a search.
  const bytes = given.buffer.buffer.subarray(given.position);
  const reader = ReaderClass.from(bytes);
  const isFlexible = version >= firstFlexible;
  const throttleTimeMs = reader.readInt32();
  const errorCode = version >= 7 ? reader.readInt16() : 0;
  if (version >= 7) reader.readInt32(); // the session: we have none
  const parts: FetchedPart[] = [];
  const topics = readLength(reader, isFlexible);
  for (let t = 0; t < topics; t += 1) {
    const id = version >= firstById ? reader.readUUID() : reader.readString(isFlexible);
    const topic = nameOf.get(id);
    const partitions = readLength(reader, isFlexible);
    for (let p = 0; p < partitions; p += 1) {
      const part = parsePart(reader, bytes, version, topic ?? '');
      if (topic !== undefined) parts.push(part);
    }
    if (isFlexible) reader.readTaggedFields();
  }
  return { throttleTimeMs, errorCode, parts };
}

function parsePart(reader: Reader, bytes: Buffer, version: number, topic: string): FetchedPart {
  const isFlexible = version >= firstFlexible;
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  reader.readInt64(); // high watermark
  reader.readInt64(); // last stable offset
  const logStart = version >= 5 ? Number(reader.readInt64()) : -1;
  const aborted: Aborted[] = [];
  for (let left = readLength(reader, isFlexible); left > 0; left -= 1) {
    const producerId = reader.readInt64();
    aborted.push({ producerId, firstOffset: Number(reader.readInt64()) });
    if (isFlexible) reader.readTaggedFields();
  }
  if (version >= 11) reader.readInt32(); // preferred read replica: we name no rack
  const length = Math.max(0, readLength(reader, isFlexible));
  const records = bytes.subarray(reader.position, reader.position + length);
  reader.skip(length);
  if (isFlexible) reader.readTaggedFields();
  aborted.sort((a, b) => a.firstOffset - b.firstOffset);
  return { topic, partition, errorCode, logStart, aborted, records };
}

/** Of an array or of bytes; -1 for null. */
function readLength(reader: Reader, isFlexible: boolean): number {
  return isFlexible ? reader.readUnsignedVarInt() - 1 : reader.readInt32();
}

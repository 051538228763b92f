/**
 * One produce request: batches that are bytes already, between the few fields that the protocol has
 * around them. The client would encode them from messages again.
 */
import { type Connection, type Reader, Writer } from '@platformatic/kafka';
import type { ProduceAnswer } from './answers.ts';
import type { Cluster } from './cluster.ts';

const produceKey = 0;
const acksOfAll = -1;
/** From here on lengths are varints and every structure ends with tagged fields (KIP-482). */
const firstFlexible = 9;

export interface ProducePart {
  readonly topic: string;
  readonly partition: number;
  readonly batch: Buffer;
}

export async function produce(
  cluster: Cluster,
  connection: Connection,
  parts: readonly ProducePart[],
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<ProduceAnswer> {
  const { api, parseResponse } = await cluster.api(connection, 'Produce');
  await cluster.unmuted(connection);
  const isFlexible = api.version >= firstFlexible;
  // The broker gives up before we do, so that its answer says which partitions are stored.
  const brokerTimeoutMs = Math.max(500, timeoutMs - 1000);
  return cluster.answer<ProduceAnswer>(connection, timeoutMs, (done) => {
    connection.send(
      produceKey,
      api.version,
      () => encode(parts, isFlexible, brokerTimeoutMs),
      parseResponse as (id: number, key: number, version: number, r: Reader) => unknown,
      isFlexible,
      isFlexible,
      done,
    );
  });
}

function encode(parts: readonly ProducePart[], isFlexible: boolean, timeoutMs: number): Writer {
  const byTopic = Map.groupBy(parts, ({ topic }) => topic);
  const writer = Writer.create()
    .appendString(null, isFlexible)
    .appendInt16(acksOfAll)
    .appendInt32(timeoutMs)
    .appendArray(
      [...byTopic],
      (w, [topic, those]) => {
        w.appendString(topic, isFlexible).appendArray(
          those,
          (inner, { partition, batch }) => {
            inner.appendInt32(partition);
            if (isFlexible) inner.appendUnsignedVarInt(batch.length + 1);
            else inner.appendInt32(batch.length);
            inner.append(batch);
          },
          isFlexible,
          isFlexible,
        );
      },
      isFlexible,
      isFlexible,
    );
  return isFlexible ? writer.appendTaggedFields() : writer;
}

/** Topics of a cluster: made when missing, listed, deleted; and how far a group is behind. */
import { MillraceError } from '../../core/errors.ts';
import type { PartitionLag, TopicInfo, TopicPartition, TopicSpec } from '../../ports/broker.ts';
import type { NamedResult, NamedResults, OffsetsAnswer } from './answers.ts';
import type { Cluster, Node, TopicLayout } from './cluster.ts';
import { code, isDenied, protocolError } from './codes.ts';
import { abortable, backoffMs } from './patience.ts';
import { committedOffsets } from './subscription.ts';

/** Until all nodes know of a topic that was made or deleted. */
const spreadMs = 15_000;
const adminTimeoutMs = 20_000;

/** @throws MillraceError BROKER_TOPIC_MISMATCH, BROKER_DENIED, BROKER_UNAVAILABLE */
export async function createTopics(cluster: Cluster, specs: readonly TopicSpec[]): Promise<void> {
  if (specs.length === 0) return;
  const names = specs.map(({ topic }) => topic);
  const existing = new Map((await cluster.metadata(names)).map((one) => [one.name, one]));
  for (const spec of specs) checkPartitions(spec, existing.get(spec.topic));
  const missing = specs.filter(({ topic }) => !existing.has(topic));
  if (missing.length === 0) return;
  const wanted = missing.map((spec) => ({
    name: spec.topic,
    numPartitions: spec.partitions,
    // -1: what the broker has as its default.
    replicationFactor: spec.replicas ?? cluster.settings.preset.replicas ?? -1,
    assignments: [],
    configs:
      spec.retentionMs === undefined
        ? []
        : [{ name: 'retention.ms', value: String(spec.retentionMs) }],
  }));
  await onController(cluster, 'CreateTopics', [wanted, 15_000, false], (result) => {
    if (result.errorCode === code.none || result.errorCode === code.topicAlreadyExists) return;
    throw topicError(cluster, result);
  });
  await spread(cluster, names, (found) => {
    for (const spec of specs) checkPartitions(spec, found.get(spec.topic));
    return specs.every(({ topic }) => found.get(topic)?.leaders.every((leader) => leader !== -1));
  });
  await leadersReady(cluster, missing);
}

/** A leader is named before it knows of it; the first events would be turned away. */
async function leadersReady(cluster: Cluster, specs: readonly TopicSpec[]): Promise<void> {
  const partitions = specs.flatMap(({ topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
  );
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const isReady = await offsetsOf(cluster, partitions, -1n).then(
      () => true,
      () => false,
    );
    if (isReady) return;
    await abortable(backoffMs(attempt), cluster.closed);
  }
}

function checkPartitions({ topic, partitions }: TopicSpec, found: TopicLayout | undefined): void {
  if (found === undefined || found.leaders.length === partitions) return;
  throw new MillraceError(
    'BROKER_TOPIC_MISMATCH',
    `Topic ${topic} has ${found.leaders.length} partitions, not ${partitions}.`,
    { details: { topic, partitions: found.leaders.length, wanted: partitions } },
  );
}

function topicError(cluster: Cluster, { name, errorCode, errorMessage }: NamedResult): Error {
  const error = protocolError(errorCode, errorMessage ?? null);
  if (isDenied(errorCode)) return error;
  const reason = cluster.settings.redact(errorMessage ?? error.message);
  return new MillraceError('CONFIG_INVALID', `Kafka does not make topic ${name}: ${reason}`, {
    cause: error,
    fix: 'Correct name, partitions, replicas or retention of the topic.',
  });
}

/** Any node passes such requests on to the controller, which may be changing just now. */
async function onController(
  cluster: Cluster,
  name: string,
  args: readonly unknown[],
  check: (result: NamedResult) => void,
): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const answer = await cluster.call<NamedResults>(name, null, args, {
      timeoutMs: adminTimeoutMs,
    });
    const results = answer.topics ?? answer.responses ?? [];
    if (results.some(({ errorCode }) => isPassing(errorCode)) && attempt < 6) {
      await abortable(backoffMs(attempt + 1), cluster.closed);
      continue;
    }
    for (const result of results) check(result);
    return;
  }
}

/** Timed out, not the controller, throttled by the quota of such requests. */
function isPassing(errorCode: number): boolean {
  return errorCode === 7 || errorCode === 41 || errorCode === 89;
}

/** Waits until every node that answers knows it; a node that is down will learn when it is back. */
async function spread(
  cluster: Cluster,
  names: readonly string[],
  isThere: (found: ReadonlyMap<string, TopicLayout>) => boolean,
): Promise<void> {
  const deadline = performance.now() + spreadMs;
  for (let attempt = 0; performance.now() < deadline; attempt += 1) {
    const answers = await Promise.all(
      cluster.nodes.map((node: Node) => cluster.metadata(names, node).catch(() => null)),
    );
    const heard = answers.filter((found) => found !== null);
    const isKnown = (found: readonly TopicLayout[]) =>
      isThere(new Map(found.map((one) => [one.name, one])));
    if (heard.length > 0 && heard.every(isKnown)) return;
    await abortable(backoffMs(Math.min(attempt, 3)), cluster.closed);
  }
}

export async function listTopics(
  cluster: Cluster,
  names?: readonly string[],
): Promise<readonly TopicInfo[]> {
  if (names?.length === 0) return [];
  const found = await cluster.metadata(names ?? null);
  return found.map(({ name, leaders }) => ({ topic: name, partitions: leaders.length }));
}

/** Those that are not there any more count as deleted. */
export async function deleteTopics(cluster: Cluster, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const wanted = names.map((name) => ({ name }));
  await onController(cluster, 'DeleteTopics', [wanted, 15_000], (result) => {
    const { errorCode } = result;
    if (errorCode === code.none || errorCode === code.unknownTopicOrPartition) return;
    throw protocolError(errorCode, result.errorMessage ?? null);
  });
  for (const name of names) cluster.forgetLayout(name);
  await spread(cluster, names, (found) => found.size === 0);
}

/** End minus committed; of a group that committed nothing, end minus start. */
export async function lagOf(
  cluster: Cluster,
  group: string,
  topics: readonly string[],
): Promise<PartitionLag[]> {
  const partitions: TopicPartition[] = [];
  for (const topic of topics) {
    const { leaders } = await cluster.layout(topic, true);
    leaders.forEach((_leader, partition) => {
      partitions.push({ topic, partition });
    });
  }
  if (partitions.length === 0) return [];
  const [committed, starts, ends] = await Promise.all([
    committedOffsets(cluster, group, partitions),
    offsetsOf(cluster, partitions, -2n),
    offsetsOf(cluster, partitions, -1n),
  ]);
  return partitions.map((one) => {
    const key = `${one.topic} ${one.partition}`;
    const start = starts.get(key) ?? 0;
    // Retention may have deleted what the group never saw: that is not waiting any more.
    const from = Math.max(committed.get(key) ?? start, start);
    return { ...one, lag: Math.max(0, (ends.get(key) ?? 0) - from) };
  });
}

async function offsetsOf(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  timestamp: bigint,
): Promise<Map<string, number>> {
  const offsets = new Map<string, number>();
  const byLeader = Map.groupBy(
    partitions,
    ({ topic, partition }) => cluster.knownLayout(topic)?.leaders[partition] ?? -1,
  );
  await Promise.all(
    [...byLeader].map(async ([leader, those]) => {
      const node = cluster.node(leader);
      if (node === undefined) throw new Error('a partition has no leader now');
      const wanted = [...Map.groupBy(those, ({ topic }) => topic)].map(([name, some]) => ({
        name,
        partitions: some.map(({ partition }) => ({
          partitionIndex: partition,
          currentLeaderEpoch: -1,
          timestamp,
        })),
      }));
      const answer = await cluster.call<OffsetsAnswer>('ListOffsets', node, [-1, 1, wanted]);
      for (const { name, partitions: some } of answer.topics) {
        for (const { partitionIndex, errorCode, offset } of some) {
          if (errorCode !== code.none) throw protocolError(errorCode);
          offsets.set(`${name} ${partitionIndex}`, Number(offset));
        }
      }
    }),
  );
  return offsets;
}

/**
 * One member of one group: membership, fetching and commits put together.
 *
 * Invariant: a partition is fetched only between its assignment and its return; before it is
 * returned its owner is asked, and what it acknowledged by then is committed.
 */
import type {
  BrokerSubscription,
  Delivery,
  SubscribeOptions,
  TopicPartition,
} from '../../ports/broker.ts';
import type { CommitAnswer, CommittedAnswer } from './answers.ts';
import { ClassicMember } from './classic-member.ts';
import type { Cluster } from './cluster.ts';
import { code, codeOf, isCoordinatorLost, isDenied, protocolError } from './codes.ts';
import { type CommitResult, Commits, type CommittedOffset } from './commits.ts';
import type { GroupProtocol } from './driver-options.ts';
import { Fetcher } from './fetcher.ts';
import { type Member, type MemberOptions, partitionKeyOf } from './membership.ts';
import { NextGenerationMember } from './next-generation-member.ts';
import { abortable, backoffMs, settledWithin } from './patience.ts';

export interface SubscriptionSettings {
  readonly cluster: Cluster;
  /** Null: the newest that the broker has. */
  readonly groupProtocol: GroupProtocol | null;
  readonly sessionTimeoutMs: number;
  readonly timeoutMs: number;
  onClosed(): void;
}

/** How long who loses a partition may take (ports/broker.ts). */
const revokedMs = 5000;
const commitEveryMs = 20;
const inFlightByDefault = 1000;

export class KafkaSubscription implements BrokerSubscription {
  readonly #cluster: Cluster;
  readonly #settings: SubscriptionSettings;
  readonly #options: SubscribeOptions;
  readonly #fetcher: Fetcher;
  readonly #commits: Commits;
  #member: Member;
  /** By partition: a mark of this very assignment. */
  readonly #owned = new Map<string, TopicPartition>();
  readonly #paused = new Set<string>();
  #closing: Promise<void> | null = null;

  constructor(settings: SubscriptionSettings, options: SubscribeOptions) {
    this.#settings = settings;
    this.#options = options;
    this.#cluster = settings.cluster;
    this.#fetcher = new Fetcher({
      cluster: this.#cluster,
      inFlightMax: Math.max(1, options.inFlightMax ?? inFlightByDefault),
      onDeliveries: (partition, deliveries: readonly Delivery[]) =>
        options.onDeliveries(partition, deliveries),
      onCut: ({ topic, partition }, offset) => this.#restart(topic, partition, offset),
      onError: (error, where) => this.#tell(error, where),
    });
    this.#commits = new Commits({
      send: (offsets) => this.#sendCommit(offsets),
      failure: (error) => this.#cluster.failure(error, 'take acknowledgements'),
      onError: (error, where) => this.#tell(error, where),
      everyMs: commitEveryMs,
      timeoutMs: settings.timeoutMs,
      wait: (ms) => abortable(Math.max(1, ms), this.#cluster.closed),
    });
    this.#member = this.#newMember(settings.groupProtocol ?? 'consumer');
  }

  #newMember(groupProtocol: GroupProtocol): Member {
    const options: MemberOptions = {
      group: this.#options.group,
      topics: this.#options.topics,
      instanceId: this.#options.memberId ?? null,
      sessionTimeoutMs: this.#settings.sessionTimeoutMs,
      events: {
        assign: (partitions) => this.#assign(partitions),
        revoke: (partitions, lost) => this.#revoke(partitions, lost),
        onError: (error, where) => this.#tell(error, where),
      },
    };
    return groupProtocol === 'classic'
      ? new ClassicMember(this.#cluster, options)
      : new NextGenerationMember(this.#cluster, options);
  }

  /** @throws what `cluster.failure` turns into ours */
  async join(): Promise<void> {
    for (const topic of this.#options.topics) await this.#cluster.layout(topic, true);
    const wanted = this.#settings.groupProtocol;
    if (wanted === null && !(await this.#hasNextGeneration())) await this.#useClassic();
    try {
      await this.#member.join();
    } catch (error) {
      // It knows the request, yet the protocol is switched off there.
      if (wanted !== null || codeOf(error) !== code.unsupportedVersion) throw error;
      await this.#useClassic();
      await this.#member.join();
    }
  }

  async #useClassic(): Promise<void> {
    if (this.#member instanceof ClassicMember) return;
    const other = this.#member;
    this.#member = this.#newMember('classic');
    await other.leave();
  }

  /** Version 1, where the member chooses its id; there is nothing older outside of early access. */
  async #hasNextGeneration(): Promise<boolean> {
    const connection = await this.#cluster.connection(this.#cluster.control, null);
    const versions = await this.#cluster.versions(connection);
    return (versions.get('ConsumerGroupHeartbeat')?.[1] ?? -1) >= 1;
  }

  get assigned(): readonly TopicPartition[] {
    return [...this.#owned.values()];
  }

  acknowledge(
    deliveries: readonly (TopicPartition & { readonly position: string })[],
  ): Promise<void> {
    const highest = new Map<string, TopicPartition & { offset: number }>();
    for (const { topic, partition, position } of deliveries) {
      const key = partitionKeyOf({ topic, partition });
      const offset = Number(position);
      const known = highest.get(key);
      if (known === undefined) highest.set(key, { topic, partition, offset });
      else if (offset > known.offset) known.offset = offset;
    }
    const commits: Promise<void>[] = [];
    for (const { topic, partition, offset } of highest.values()) {
      const fetched = this.#fetcher.get(topic, partition);
      if (fetched === undefined || !Number.isSafeInteger(offset)) continue;
      const next = fetched.acknowledge(offset);
      if (next === null) continue;
      this.#fetcher.turn(fetched);
      commits.push(this.#commits.commit({ topic, partition, offset: next }));
    }
    return Promise.all(commits).then(() => {});
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) {
      this.#paused.add(partitionKeyOf(one));
      const fetched = this.#fetcher.get(one.topic, one.partition);
      if (fetched !== undefined) fetched.isPaused = true;
    }
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) {
      this.#paused.delete(partitionKeyOf(one));
      const fetched = this.#fetcher.get(one.topic, one.partition);
      if (fetched === undefined) continue;
      fetched.isPaused = false;
      this.#fetcher.turn(fetched);
    }
  }

  async #assign(partitions: readonly TopicPartition[]): Promise<void> {
    const mine = partitions.map(({ topic, partition }) => ({ topic, partition }));
    for (const one of mine) this.#owned.set(partitionKeyOf(one), one);
    const isMine = (one: TopicPartition) => this.#owned.get(partitionKeyOf(one)) === one;
    let isTold = false;
    for (let attempt = 0; this.#closing === null; attempt += 1) {
      const open = mine.filter(isMine);
      if (open.length === 0) return;
      try {
        const positions = await this.#positions(open);
        const still = open.filter(isMine);
        if (still.length > 0) this.#tellAssigned(still);
        for (const one of still) this.#begin(one, positions);
        return;
      } catch (thrown) {
        const error = this.#cluster.failure(thrown, 'say where the group stands');
        if (!isTold) this.#tell(error, 'assign');
        isTold = true;
        this.#member.poke();
        await abortable(backoffMs(attempt), this.#cluster.closed);
      }
    }
  }

  #tellAssigned(partitions: readonly TopicPartition[]): void {
    try {
      this.#options.onAssigned(partitions);
    } catch (error) {
      this.#tell(error, 'onAssigned');
    }
  }

  #begin(one: TopicPartition, positions: ReadonlyMap<string, Position>): void {
    const { topic, partition } = one;
    const { offset, isCommitted } = positions.get(partitionKeyOf(one)) as Position;
    this.#commits.add(topic, partition, isCommitted ? offset : -1);
    this.#fetcher.add(topic, partition, offset);
    const fetched = this.#fetcher.get(topic, partition);
    if (fetched !== undefined) fetched.isPaused = this.#paused.has(partitionKeyOf(one));
    // "End" is now: whoever takes the partition over before the first acknowledgement begins here.
    if (!isCommitted && this.#options.from === 'end') this.#mark(topic, partition, offset);
  }

  /** The group's place is one of a log that is gone: it must go back, or it would skip the new. */
  #restart(topic: string, partition: number, offset: number): void {
    this.#commits.remove(topic, partition);
    this.#commits.add(topic, partition, -1);
    this.#mark(topic, partition, offset);
  }

  #mark(topic: string, partition: number, offset: number): void {
    this.#commits.commit({ topic, partition, offset }).catch((error: unknown) => {
      this.#tell(error, 'assign');
    });
  }

  async #positions(partitions: readonly TopicPartition[]): Promise<Map<string, Position>> {
    const committed = await committedOffsets(this.#cluster, this.#options.group, partitions);
    const positions = new Map<string, Position>();
    await Promise.all(
      partitions.map(async (one) => {
        const known = committed.get(partitionKeyOf(one));
        const offset = known ?? (await this.#fetcher.offsetOf(one, this.#options.from));
        positions.set(partitionKeyOf(one), { offset, isCommitted: known !== undefined });
      }),
    );
    return positions;
  }

  async #revoke(partitions: readonly TopicPartition[], lost: boolean): Promise<void> {
    const begun: TopicPartition[] = [];
    for (const { topic, partition } of partitions) {
      const fetched = this.#fetcher.get(topic, partition);
      // Closing may meet a revocation that is under way: each partition is told of once.
      const isOurs = this.#owned.delete(`${topic} ${partition}`);
      if (fetched === undefined || !isOurs) continue;
      fetched.isStopped = true;
      begun.push({ topic, partition });
    }
    if (begun.length > 0) {
      try {
        const told = Promise.resolve(this.#options.onRevoked(begun, lost));
        // Of lost ones nothing can be saved: whoever has them works already.
        if (lost) told.catch((error: unknown) => this.#tell(error, 'onRevoked'));
        else await this.#finish(told);
      } catch (error) {
        this.#tell(error, 'onRevoked');
      }
    }
    for (const { topic, partition } of partitions) {
      this.#commits.remove(topic, partition);
      this.#fetcher.remove(topic, partition);
      this.#paused.delete(`${topic} ${partition}`);
    }
  }

  async #finish(told: Promise<void>): Promise<void> {
    told.catch((error: unknown) => this.#tell(error, 'onRevoked'));
    const isInTime = await settledWithin(told, revokedMs);
    if (!isInTime) this.#tell(new Error(`onRevoked took more than ${revokedMs} ms`), 'onRevoked');
    await settledWithin(this.#commits.flush(), 3000);
  }

  async #sendCommit(offsets: readonly CommittedOffset[]): Promise<CommitResult[]> {
    const { group } = this.#options;
    const { memberId, epoch, instanceId } = this.#member.identity;
    const coordinator = await this.#cluster.coordinator(group);
    const topics = [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, those]) => ({
      name,
      partitions: those.map(({ partition, offset }) => ({
        partitionIndex: partition,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: -1,
        committedMetadata: '',
      })),
    }));
    const answer = await this.#cluster
      .call<CommitAnswer>('OffsetCommit', coordinator, [group, epoch, memberId, instanceId, topics])
      .catch((error: unknown) => {
        this.#cluster.forgetCoordinator(group);
        throw error;
      });
    const codes = new Map<string, number>();
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode } of partitions) {
        codes.set(`${name} ${partitionIndex}`, errorCode);
      }
    }
    return offsets.map((one) => this.#commitResult(codes.get(partitionKeyOf(one)) ?? code.none));
  }

  #commitResult(errorCode: number): CommitResult {
    if (errorCode === code.none) return 'stored';
    const isForGood = isDenied(errorCode) || errorCode === code.unknownTopicOrPartition;
    if (isForGood) {
      return { refused: this.#cluster.failure(protocolError(errorCode), 'take it') };
    }
    if (isCoordinatorLost(errorCode)) this.#cluster.forgetCoordinator(this.#options.group);
    // A new generation or epoch, or we are out: the next heartbeat tells which. Until the member
    // has lost the partition it is ours to try again.
    else this.#member.poke();
    return 'again';
  }

  #tell(error: unknown, where: string): void {
    try {
      this.#options.onError(error, where);
    } catch {
      // Whoever is told of errors and makes one more has nobody left to tell.
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await settledWithin(this.#member.leave(), 9000);
    const closed = this.#cluster.failure(new Error('the subscription was closed'), 'take it');
    this.#commits.abandon(closed);
    await this.#fetcher.close();
    this.#settings.onClosed();
  }
}

interface Position {
  readonly offset: number;
  readonly isCommitted: boolean;
}

/** By partition; those that the group never committed are left out. */
export async function committedOffsets(
  cluster: Cluster,
  group: string,
  partitions: readonly TopicPartition[],
): Promise<Map<string, number>> {
  const coordinator = await cluster.coordinator(group);
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, those]) => ({
    name,
    partitionIndexes: those.map(({ partition }) => partition),
  }));
  const asked = [{ groupId: group, memberId: null, memberEpoch: -1, topics }];
  const answer = await cluster
    .call<CommittedAnswer>('OffsetFetch', coordinator, [asked, false])
    .catch((error: unknown) => {
      cluster.forgetCoordinator(group);
      throw error;
    });
  const [found = { topics: answer.topics ?? [], errorCode: answer.errorCode ?? 0 }] =
    answer.groups ?? [];
  if (isCoordinatorLost(found.errorCode)) cluster.forgetCoordinator(group);
  // A group that nobody ever joined has committed nothing.
  const isUnknown = found.errorCode === code.groupIdNotFound;
  if (found.errorCode !== code.none && !isUnknown) throw protocolError(found.errorCode);
  const committed = new Map<string, number>();
  for (const { name, partitions: those } of isUnknown ? [] : found.topics) {
    for (const { partitionIndex, committedOffset, errorCode } of those) {
      if (errorCode !== code.none) throw protocolError(errorCode);
      if (committedOffset >= 0n)
        committed.set(`${name} ${partitionIndex}`, Number(committedOffset));
    }
  }
  return committed;
}

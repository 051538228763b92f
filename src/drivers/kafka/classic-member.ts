/**
 * A member in the classic group protocol, for brokers before Kafka 4, Event Hubs and MSK: all join
 * at a barrier, one of them assigns. Cooperative (KIP-429): everybody keeps what it has through a
 * rebalance and gives back only what moves, which takes a second round.
 *
 *   join ─▶ sync ─▶ stable ──"rebalance in progress"──▶ join
 *                     │ unknown member, old generation, fenced ─▶ all is lost ─▶ join
 */
import {
  type ConnectionPool,
  cooperativeStickyAssigner,
  decodeConsumerProtocolAssignment,
  decodeConsumerProtocolSubscription,
  encodeConsumerProtocolAssignment,
  encodeConsumerProtocolSubscription,
} from '@platformatic/kafka';
import { isMillraceError } from '../../core/errors.ts';
import type { TopicPartition } from '../../ports/broker.ts';
import type { HeartbeatAnswer, JoinAnswer, SyncAnswer } from './answers.ts';
import type { Cluster } from './cluster.ts';
import { code, codeOf, isCoordinatorLost, isDenied, protocolError } from './codes.ts';
import {
  Cadence,
  type Member,
  type MemberIdentity,
  type MemberOptions,
  rebalanceTimeoutMs,
  without,
} from './membership.ts';
import { abortable, backoffMs, settledWithin } from './patience.ts';

const protocol = 'cooperative-sticky';
const protocolVersion = 2;
/** Joining again takes the name from whoever has it: two with one name must not do so in turns. */
const fencedMs = 60_000;
/** How often the leader looks whether topics came, went or grew: nobody else tells the group. */
const lookMs = 10_000;

export class ClassicMember implements Member {
  readonly #cluster: Cluster;
  readonly #options: MemberOptions;
  readonly #pool: ConnectionPool;
  #memberId = '';
  #generation = -1;
  /** A round was begun and not finished: heartbeats are fine all the same, and tell us nothing. */
  #isMidRound = false;
  #owned: readonly TopicPartition[] = [];
  #isLeaving = false;
  #loop: Promise<void> = Promise.resolve();
  #nap = new AbortController();
  #lastAnswerAt = 0;
  readonly #cadence = new Cadence(1000);
  /** Of performance.now(): another process has our name. */
  #outUntil = 0;
  /** As leader: what the last round shared out, partitions by topic. */
  #counts: ReadonlyMap<string, number> = new Map();
  #lookAt = 0;
  #isLooking = false;
  /** The topics have other partitions than the leader gave away. */
  #isOutdated = false;

  constructor(cluster: Cluster, options: MemberOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#pool = cluster.openPool();
  }

  get identity(): MemberIdentity {
    const { instanceId } = this.#options;
    return { memberId: this.#memberId, epoch: this.#generation, instanceId };
  }

  async join(): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const errorCode = await this.#tryJoin();
      if (errorCode === code.none) break;
      if (isDenied(errorCode) || attempt >= 8) throw protocolError(errorCode);
      await abortable(backoffMs(attempt), this.#cluster.closed);
    }
    this.#loop = this.#run();
  }

  /** @returns an error code; a round that has to be repeated at once is none. */
  async #tryJoin(): Promise<number> {
    this.#isMidRound = true;
    try {
      for (;;) {
        const joined = await this.#joinOnce();
        if (joined.errorCode !== code.none) return joined.errorCode;
        const synced = await this.#call<SyncAnswer>('SyncGroup', [
          this.#options.group,
          this.#generation,
          this.#memberId,
          this.#options.instanceId,
          'consumer',
          joined.protocolName ?? protocol,
          await this.#assignments(joined),
        ]);
        if (synced.errorCode === code.rebalanceInProgress) continue;
        if (synced.errorCode !== code.none) return this.#notice(synced.errorCode);
        this.#lastAnswerAt = performance.now();
        if (await this.#reconcile(synced.assignment)) continue;
        this.#isMidRound = false;
        return code.none;
      }
    } catch (error) {
      this.#cluster.forgetCoordinator(this.#options.group);
      if (isCoordinatorLost(codeOf(error))) return codeOf(error);
      throw error;
    }
  }

  async #joinOnce(): Promise<JoinAnswer> {
    const { group, instanceId, sessionTimeoutMs, topics } = this.#options;
    for (;;) {
      const metadata = encodeConsumerProtocolSubscription({
        version: protocolVersion,
        topics: [...topics],
        ownedPartitions: byTopic(this.#owned),
        generationId: this.#generation,
      });
      const answer = await this.#call<JoinAnswer>('JoinGroup', [
        group,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        this.#memberId,
        instanceId,
        'consumer',
        [{ name: protocol, metadata }],
        null,
      ]);
      if (answer.errorCode === code.memberIdRequired) {
        this.#memberId = answer.memberId;
        continue;
      }
      if (answer.errorCode === code.none) {
        this.#memberId = answer.memberId;
        this.#generation = answer.generationId;
      } else {
        await this.#notice(answer.errorCode);
      }
      return answer;
    }
  }

  async #call<T>(name: string, args: readonly unknown[]): Promise<T> {
    const coordinator = await this.#cluster.coordinator(this.#options.group);
    // Joining waits for the slowest member of the group.
    const isJoin = name === 'JoinGroup' || name === 'SyncGroup';
    const timeoutMs = isJoin ? rebalanceTimeoutMs + 10_000 : 8000;
    return this.#cluster.call<T>(name, coordinator, args, { timeoutMs, pool: this.#pool });
  }

  /** The leader of the round decides for all; the others send nothing. */
  async #assignments({ leader, members, skipAssignment }: JoinAnswer) {
    this.#counts = new Map();
    this.#isOutdated = false;
    if (leader !== this.#memberId || members.length === 0) return [];
    const subscriptions = new Map(
      members.map(({ memberId, metadata }) => {
        const { version, topics, ownedPartitions, generationId } =
          decodeConsumerProtocolSubscription(metadata);
        return [memberId, { memberId, version, topics, ownedPartitions, generationId }];
      }),
    );
    const topics = new Set([...subscriptions.values()].flatMap((one) => one.topics));
    const counts = new Map<string, number>();
    // Another member may want a topic that was deleted: nobody gets it. Any other failure is one
    // of the round, or the topic would stay without members until the next one.
    for (const topic of topics) counts.set(topic, await this.#partitionsOf(topic, false));
    this.#counts = counts;
    this.#lookAt = performance.now() + lookMs;
    // A leader that came back under its static name keeps the assignment that there is.
    if (skipAssignment === true) return [];
    const there = [...counts].filter(([, partitionsCount]) => partitionsCount > 0);
    const shared = there.map(([topic, partitionsCount]) => [topic, { partitionsCount }] as const);
    const metadata = { topics: new Map(shared) } as never;
    return cooperativeStickyAssigner(this.#memberId, subscriptions, topics, metadata).map(
      ({ memberId, assignments }) => ({
        memberId,
        assignment: encodeConsumerProtocolAssignment({
          version: protocolVersion,
          assignedPartitions: [...assignments.values()],
        }),
      }),
    );
  }

  /** 0: there is no such topic. */
  async #partitionsOf(topic: string, fresh: boolean): Promise<number> {
    try {
      return (await this.#cluster.layout(topic, fresh)).leaders.length;
    } catch (error) {
      if (isMillraceError(error) && error.code === 'BROKER_TOPIC_UNKNOWN') return 0;
      throw error;
    }
  }

  /**
   * Partitions that were added, and topics made anew, are nobody's until another round. Looked for
   * beside the heartbeats: a node that is silent may keep metadata longer than a session lasts.
   */
  #look(): void {
    if (this.#isLooking || this.#counts.size === 0 || performance.now() < this.#lookAt) return;
    this.#lookAt = performance.now() + lookMs;
    this.#isLooking = true;
    const counts = this.#counts;
    this.#differ(counts)
      .then((differ) => {
        if (!differ || this.#counts !== counts) return;
        this.#isOutdated = true;
        this.poke();
      })
      .catch(() => {}) // the next look tells
      .finally(() => {
        this.#isLooking = false;
      });
  }

  async #differ(counts: ReadonlyMap<string, number>): Promise<boolean> {
    const found = await this.#cluster.metadata([...counts.keys()]);
    const now = new Map(found.map(({ name, leaders }) => [name, leaders.length]));
    for (const [topic, count] of counts) {
      if ((now.get(topic) ?? 0) === count) continue;
      // Asked again: a node that has just started may not know it yet.
      if ((await this.#partitionsOf(topic, true)) !== count) return true;
    }
    return false;
  }

  /** @returns true when something was given back: another round makes it somebody else's. */
  async #reconcile(assignment: Buffer): Promise<boolean> {
    const target = decodeConsumerProtocolAssignment(assignment).assignedPartitions.flatMap(
      ({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })),
    );
    const revoked = without(this.#owned, target);
    const added = without(target, this.#owned);
    this.#owned = [...without(this.#owned, revoked), ...added];
    this.#cadence.changed();
    if (added.length > 0) void this.#options.events.assign(added);
    if (revoked.length > 0) await this.#options.events.revoke(revoked, false);
    return revoked.length > 0 && !this.#isLeaving;
  }

  poke(): void {
    this.#nap.abort();
  }

  async #run(): Promise<void> {
    const everyMs = this.#options.sessionTimeoutMs / 3;
    for (let failures = 0; !this.#isLeaving; ) {
      this.#nap = new AbortController();
      const wait = failures > 0 ? backoffMs(failures) : this.#cadence.next(everyMs);
      await abortable(wait, AbortSignal.any([this.#nap.signal, this.#cluster.closed]));
      if (this.#isLeaving || this.#cluster.closed.aborted) return;
      try {
        const errorCode = await this.#beat();
        failures = errorCode === code.none ? 0 : failures + 1;
        if (errorCode === code.none) this.#lastAnswerAt = performance.now();
        else if (failures === 2) this.#tell(protocolError(errorCode));
      } catch (error) {
        failures += 1;
        if (failures === 1) this.#tell(error);
        this.#cluster.forgetCoordinator(this.#options.group);
        const silentMs = performance.now() - this.#lastAnswerAt;
        if (silentMs > this.#options.sessionTimeoutMs + 5000) await this.#loseAll();
      }
    }
  }

  async #beat(): Promise<number> {
    if (performance.now() < this.#outUntil) return code.none;
    this.#look();
    if (this.#generation < 0 || this.#isMidRound || this.#isOutdated) return this.#tryJoin();
    const { errorCode } = await this.#call<HeartbeatAnswer>('Heartbeat', [
      this.#options.group,
      this.#generation,
      this.#memberId,
      this.#options.instanceId,
    ]);
    if (errorCode === code.none) return errorCode;
    if (errorCode === code.rebalanceInProgress) return this.#tryJoin();
    await this.#notice(errorCode);
    const isWaiting = isCoordinatorLost(errorCode) || errorCode === code.fencedInstanceId;
    return isWaiting ? errorCode : this.#tryJoin();
  }

  /** Draws the consequences of a refusal. */
  async #notice(errorCode: number): Promise<number> {
    if (isCoordinatorLost(errorCode)) this.#cluster.forgetCoordinator(this.#options.group);
    const isOut = errorCode === code.unknownMemberId || errorCode === code.fencedInstanceId;
    if (isOut) this.#memberId = '';
    if (errorCode === code.fencedInstanceId) {
      this.#outUntil = performance.now() + fencedMs;
      this.#tell(protocolError(errorCode));
    }
    if (isOut || errorCode === code.illegalGeneration) await this.#loseAll();
    return errorCode;
  }

  async #loseAll(): Promise<void> {
    const lost = this.#owned;
    this.#owned = [];
    this.#generation = -1;
    if (lost.length > 0) await this.#options.events.revoke(lost, true);
  }

  #tell(error: unknown): void {
    const failure = this.#cluster.failure(error, 'keep us in the group');
    this.#options.events.onError(failure, 'heartbeat');
  }

  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#nap.abort();
    // A join that waits for others would hold us up; its answer is not needed any more.
    await settledWithin(this.#loop, 1000);
    const owned = this.#owned;
    this.#owned = [];
    if (owned.length > 0) await this.#options.events.revoke(owned, false);
    const { group, instanceId } = this.#options;
    if (this.#memberId !== '') {
      const members = [{ memberId: this.#memberId, groupInstanceId: instanceId, reason: 'closed' }];
      // Over another connection: on ours a join may be waiting, and nothing is answered before it.
      const left = this.#cluster
        .coordinator(group)
        .then((node) => this.#cluster.call('LeaveGroup', node, [group, members]));
      await settledWithin(left, 2000);
    }
    await this.#cluster.closePool(this.#pool);
  }
}

function byTopic(partitions: readonly TopicPartition[]) {
  return [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, those]) => ({
    topic,
    partitions: those.map(({ partition }) => partition),
  }));
}

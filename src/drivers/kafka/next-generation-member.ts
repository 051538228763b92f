/**
 * A member in the next-generation group protocol (KIP-848, Kafka 4): the broker assigns, members
 * only say by heartbeat what they own. Nobody stops for others: a partition that moves is given
 * back by one member, and only then offered to the other.
 *
 *   joining ──accepted──▶ member ──assignment──▶ revoke, own, heartbeat at once ──▶ member
 *      ▲                     │ fenced, unknown, out of session
 *      └──── all is lost ◀───┘
 *
 * A static member derives its id from its name, so that a process which was killed can be released
 * by the next one: the protocol would have it wait for the end of the session (45 s).
 */
import { createHash, randomUUID } from 'node:crypto';
import type { ConnectionPool } from '@platformatic/kafka';
import type { TopicPartition } from '../../ports/broker.ts';
import type { GroupHeartbeatAnswer } from './answers.ts';
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

type Assignment = NonNullable<GroupHeartbeatAnswer['assignment']>['topicPartitions'];

/** With the id of the very topic: one that was made anew has the same name and another id. */
interface Owned extends TopicPartition {
  readonly id: string;
}

const leaves = -1;
const leavesForAWhile = -2;
const heartbeatTimeoutMs = 8000;

export class NextGenerationMember implements Member {
  readonly #cluster: Cluster;
  readonly #options: MemberOptions;
  readonly #pool: ConnectionPool;
  readonly #memberId: string;
  #epoch = 0;
  #owned: readonly Owned[] = [];
  /** What the broker wants us to have; it says so once. Null: nothing new. */
  #target: Assignment | null = null;
  #intervalMs = 5000;
  #isLeaving = false;
  #loop: Promise<void> = Promise.resolve();
  /** Aborted to heartbeat now instead of later. */
  #nap = new AbortController();
  #lastAnswerAt = 0;
  readonly #cadence = new Cadence(1000);
  /** The refusal that was told last. */
  #told: number = code.none;

  constructor(cluster: Cluster, options: MemberOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#pool = cluster.openPool();
    const { group, instanceId } = options;
    this.#memberId =
      instanceId === null
        ? randomUUID()
        : createHash('sha256').update(`${group}\n${instanceId}`).digest('base64url').slice(0, 22);
  }

  get identity(): MemberIdentity {
    const { instanceId } = this.#options;
    return { memberId: this.#memberId, epoch: this.#epoch, instanceId };
  }

  async join(): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const errorCode = await this.#tryJoin();
      if (errorCode === code.none) break;
      const error = protocolError(errorCode);
      if (isDenied(errorCode) || attempt >= 8) throw error;
      if (attempt === 2) this.#options.events.onError(this.#failure(error), 'join');
      await abortable(backoffMs(attempt + 1), this.#cluster.closed);
    }
    this.#loop = this.#run();
  }

  async #tryJoin(): Promise<number> {
    const { group, instanceId } = this.#options;
    this.#epoch = 0;
    this.#owned = [];
    this.#target = null;
    try {
      // Of the process that was here before us under the same name; it may be gone or not known.
      if (instanceId !== null) await this.#heartbeat(leavesForAWhile);
      const answer = await this.#heartbeat(0);
      if (answer.errorCode === code.none) {
        this.#accept(answer);
        await this.#reconcile();
      } else if (isCoordinatorLost(answer.errorCode)) {
        this.#cluster.forgetCoordinator(group);
      }
      return answer.errorCode;
    } catch (error) {
      this.#cluster.forgetCoordinator(group);
      if (isCoordinatorLost(codeOf(error))) return codeOf(error);
      throw error;
    }
  }

  async #heartbeat(epoch: number): Promise<GroupHeartbeatAnswer> {
    const { group, instanceId, topics } = this.#options;
    const coordinator = await this.#cluster.coordinator(group);
    const ids = new Map<string, { topicId: string; partitions: number[] }>();
    for (const { id, partition } of epoch < 0 ? [] : this.#owned) {
      const one = ids.get(id) ?? { topicId: id, partitions: [] };
      one.partitions.push(partition);
      ids.set(id, one);
    }
    return this.#cluster.call<GroupHeartbeatAnswer>(
      'ConsumerGroupHeartbeat',
      coordinator,
      [
        group,
        this.#memberId,
        epoch,
        instanceId,
        null,
        rebalanceTimeoutMs,
        [...topics],
        null,
        null,
        [...ids.values()],
      ],
      { timeoutMs: heartbeatTimeoutMs, pool: this.#pool },
    );
  }

  #accept(answer: GroupHeartbeatAnswer): void {
    this.#lastAnswerAt = performance.now();
    if (this.#epoch !== answer.memberEpoch) this.#cadence.changed();
    this.#epoch = answer.memberEpoch;
    if (answer.assignment !== null) this.#target = answer.assignment.topicPartitions;
    if (answer.heartbeatIntervalMs > 0) this.#intervalMs = answer.heartbeatIntervalMs;
  }

  /** @returns true when the broker has to hear of it at once. */
  async #reconcile(): Promise<boolean> {
    if (this.#target === null) return false;
    const { events } = this.#options;
    const target = await this.#named(this.#target);
    this.#target = null;
    const revoked = without(this.#owned, target, idKeyOf);
    const added = without(target, this.#owned, idKeyOf);
    // Made anew: committing what was acknowledged of the old one would skip events of the new one.
    const isReplaced = ({ topic, id }: Owned) =>
      (this.#cluster.knownLayout(topic)?.id ?? id) !== id;
    for (const [lost, some] of Map.groupBy(revoked, isReplaced)) await events.revoke(some, lost);
    this.#owned = without(this.#owned, revoked, idKeyOf);
    if (added.length > 0) {
      this.#owned = [...this.#owned, ...added];
      // Not waited for: finding positions may take its time, heartbeats must go on.
      void events.assign(added);
    }
    const isChanged = revoked.length > 0 || added.length > 0;
    if (isChanged) this.#cadence.changed();
    return isChanged;
  }

  /** A topic that is gone names nothing; it must not keep the others from us. */
  async #named(assigned: Assignment): Promise<Owned[]> {
    const names = new Map(this.#owned.map(({ id, topic }) => [id, topic]));
    // An id that we never heard of: the first assignment, or a topic was made anew.
    if (assigned.some(({ topicId }) => !names.has(topicId))) {
      for (const { id, name } of await this.#cluster.metadata(this.#options.topics)) {
        names.set(id, name);
      }
    }
    return assigned.flatMap(({ topicId: id, partitions }) => {
      const topic = names.get(id);
      return topic === undefined ? [] : partitions.map((partition) => ({ topic, partition, id }));
    });
  }

  poke(): void {
    this.#nap.abort();
  }

  async #run(): Promise<void> {
    let isUrgent = true;
    for (let failures = 0; !this.#isLeaving; ) {
      if (!isUrgent || failures > 0) {
        this.#nap = new AbortController();
        const wait = failures > 0 ? backoffMs(failures) : this.#cadence.next(this.#intervalMs);
        await abortable(wait, AbortSignal.any([this.#nap.signal, this.#cluster.closed]));
      }
      isUrgent = false;
      if (this.#isLeaving || this.#cluster.closed.aborted) return;
      try {
        const answer = await this.#heartbeat(this.#epoch);
        if (answer.errorCode === code.none) {
          failures = 0;
          this.#told = code.none;
          this.#accept(answer);
          isUrgent = await this.#reconcile();
        } else {
          await this.#onRefusal(answer);
          failures += 1;
        }
      } catch (error) {
        failures += 1;
        await this.#onFailure(error, failures);
      }
    }
  }

  async #onRefusal({ errorCode, errorMessage }: GroupHeartbeatAnswer): Promise<void> {
    const { group, events } = this.#options;
    if (isCoordinatorLost(errorCode)) {
      this.#cluster.forgetCoordinator(group);
      return;
    }
    // "The name is not free yet" comes again and again.
    if (errorCode !== this.#told) {
      events.onError(this.#failure(protocolError(errorCode, errorMessage)), 'heartbeat');
    }
    this.#told = errorCode;
    const isOut =
      errorCode === code.unknownMemberId ||
      errorCode === code.fencedMemberEpoch ||
      errorCode === code.fencedInstanceId ||
      errorCode === code.groupIdNotFound;
    if (isOut) await this.#loseAll();
  }

  async #onFailure(error: unknown, failures: number): Promise<void> {
    this.#cluster.forgetCoordinator(this.#options.group);
    if (failures === 1) this.#options.events.onError(this.#failure(error), 'heartbeat');
    // The session is over at the broker as well: others may have our partitions.
    const silentMs = performance.now() - this.#lastAnswerAt;
    if (this.#owned.length > 0 && silentMs > 60_000) await this.#loseAll();
  }

  /** Others have our partitions: begin again as somebody new. */
  async #loseAll(): Promise<void> {
    const lost = this.#owned;
    this.#owned = [];
    this.#epoch = 0;
    this.#target = null;
    if (lost.length > 0) await this.#options.events.revoke(lost, true);
  }

  #failure(error: unknown) {
    return this.#cluster.failure(error, 'keep us in the group');
  }

  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#nap.abort();
    await settledWithin(this.#loop, 3000);
    const owned = this.#owned;
    this.#owned = [];
    if (owned.length > 0) await this.#options.events.revoke(owned, false);
    if (this.#epoch > 0) await settledWithin(this.#heartbeat(leaves), 2000);
    await this.#cluster.closePool(this.#pool);
  }
}

function idKeyOf({ id, partition }: Owned): string {
  return `${id} ${partition}`;
}

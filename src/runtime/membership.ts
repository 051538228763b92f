/**
 * Who works, and on what: one heartbeat for the whole process, and a fair share of each group's
 * partitions. A worker holds at most ceil(partitions / workers); it hands back what is too much and
 * takes what is free or was left by a worker that stopped answering. Every taking raises the epoch.
 * Where a broker brings partitions to this worker, those come first (lease-plan.ts).
 */
import { MillraceError } from '../core/errors.ts';
import type { GroupPartition, Lease, LiveWorker, StreamStore } from '../ports/streams.ts';
import { Bell } from './bell.ts';
import { type Candidate, planLeases } from './lease-plan.ts';

/** What a broker that brings partitions to workers adds to the fair share. */
export interface Preference {
  /** The broker brings this partition here at the moment. */
  prefers(partition: number): boolean;
  /** How long a partition that is brought elsewhere stays free before it is adopted here. */
  readonly patienceMs: number;
  /** Another worker holds what is brought here: asks it to hand it back. */
  ask(lease: GroupPartition): void;
}

export interface MembershipOptions {
  readonly streams: StreamStore;
  readonly partitions: number;
  readonly workerId: string;
  /** The groups this process handles, at the moment of asking. */
  groups(): readonly string[];
  readonly heartbeatMs: number;
  /** A worker silent for longer is dead; its partitions are taken over. */
  readonly timeToLiveMs: number;
  /** Left out without a broker. */
  readonly preference?: Preference | undefined;
  onTaken(lease: { group: string; partition: number; epoch: number }): void;
  /** Stops the stream and resolves when it has settled; then the lease is handed back. */
  onSurplus(lease: { group: string; partition: number }): Promise<void>;
  /** Another worker has the partition: what is under way here will be refused. */
  onTakenOver(lease: { group: string; partition: number }): void;
  /** The worker has not been able to say that it lives: others may own its partitions by now. */
  onExpired(): void;
  /** A worker is there that was not at the last heartbeat. */
  onJoined(): void;
  /** Something that other workers should look at soon. */
  announce(): void;
  onError(error: unknown): void;
}

const laneKey = (lease: { group: string; partition: number }) =>
  `${lease.group}/${lease.partition}`;

export class Membership {
  readonly #options: MembershipOptions;
  readonly #held = new Map<string, { group: string; partition: number; epoch: number }>();
  readonly #leaving = new Set<string>();
  /** performance.now() at which a partition was first seen to be free. */
  readonly #freeSince = new Map<string, number>();
  readonly #bell = new Bell();
  #running: Promise<void> = Promise.resolve();
  #stopping = false;
  #closing = false;
  #beatAt = 0;
  /** Workers seen alive at the last heartbeat, this one included. */
  workers: readonly LiveWorker[] = [];
  /** False from the moment the heartbeat is overdue until it gets through again. */
  alive = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Looks at the leases now rather than at the next heartbeat. */
  refresh(): void {
    this.#bell.ring();
  }

  get held(): readonly { group: string; partition: number; epoch: number }[] {
    return [...this.#held.values()];
  }

  /** A stream found out that it is not the owner any more; a newer lease of ours is not its. */
  lost(lease: { group: string; partition: number; epoch: number }): void {
    const key = laneKey(lease);
    if (this.#held.get(key)?.epoch === lease.epoch) this.#held.delete(key);
    this.#bell.ring();
  }

  /** Hands back what is held of a group that `groups` does not name any more. */
  async leave(group: string): Promise<void> {
    const mine = [...this.#held.values()].filter((lease) => lease.group === group);
    await Promise.all(mine.map((lease) => this.#handBack(lease)));
  }

  /**
   * The broker brings these to another worker now: handed back when somebody else is there to take
   * them. Alone they are kept: they would only wait until they are adopted again. Never rejects.
   */
  async yieldPartitions(partitions: readonly number[]): Promise<void> {
    const shared = (group: string) => this.#sharers(group) > 1;
    const mine = [...this.#held.values()].filter(
      ({ group, partition }) => partitions.includes(partition) && shared(group),
    );
    await Promise.all(mine.map((lease) => this.#handBack(lease)));
  }

  /** Another worker asks for a partition that the broker brings to it, and not to us. */
  asked({ group, partition }: GroupPartition): void {
    const { preference } = this.#options;
    const lease = this.#held.get(laneKey({ group, partition }));
    if (preference === undefined || lease === undefined || preference.prefers(partition)) return;
    if (!this.#leaving.has(laneKey(lease))) void this.#handBack(lease);
  }

  /** Goes on saying that the worker lives, and takes nothing any more. */
  close(): void {
    this.#closing = true;
  }

  /** Hands back everything and forgets the worker. Streams must have ended before. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#running;
    const { streams, workerId } = this.#options;
    try {
      for (const lease of this.#held.values()) await streams.releaseLease(lease);
      await streams.retire(workerId);
      this.#options.announce();
    } catch (error) {
      this.#options.onError(error); // the leases run out by themselves
    }
    this.#held.clear();
  }

  async #run(): Promise<void> {
    const { heartbeatMs, timeToLiveMs } = this.#options;
    let announced = false;
    while (!this.#stopping) {
      try {
        await within(timeToLiveMs, this.#beat());
        if (!announced) this.#options.announce();
        announced = true;
        if (!this.#closing) await within(timeToLiveMs, this.#balance());
      } catch (error) {
        this.#options.onError(error);
      }
      if (this.alive && performance.now() - this.#beatAt > timeToLiveMs) {
        this.alive = false;
        this.#held.clear();
        this.#options.onExpired();
      }
      // A little jitter, so that workers started together do not beat together.
      await this.#bell.wait(heartbeatMs * (0.8 + Math.random() * 0.4));
    }
  }

  async #beat(): Promise<void> {
    const { streams, workerId, groups, timeToLiveMs } = this.#options;
    const before = performance.now();
    const known = new Set(this.workers.map((worker) => worker.workerId));
    const workers = await streams.heartbeat({ workerId, groups: groups() }, timeToLiveMs);
    if (before < this.#beatAt) return; // answered after a later one
    this.workers = workers;
    this.#beatAt = before;
    this.alive = true;
    if (this.workers.some((worker) => !known.has(worker.workerId))) this.#options.onJoined();
  }

  async #balance(): Promise<void> {
    const { streams, groups, timeToLiveMs } = this.#options;
    const names = groups();
    if (names.length === 0) return;
    const leases = await streams.leases(names, timeToLiveMs);
    for (const group of names) {
      await this.#balanceGroup(
        group,
        leases.filter((lease) => lease.group === group),
      );
    }
  }

  async #balanceGroup(group: string, leases: readonly Lease[]): Promise<void> {
    const { partitions, workerId, preference } = this.#options;
    const byPartition = new Map(leases.map((lease) => [lease.partition, lease]));
    const mine = [...this.#held.values()].filter((lease) => lease.group === group);
    for (const lease of mine) {
      if ((byPartition.get(lease.partition)?.epoch ?? 0) > lease.epoch) {
        this.#held.delete(laneKey(lease));
        this.#options.onTakenOver(lease);
      }
    }
    const held = mine.map(({ partition }) => partition);
    const leaving = (partition: number) => this.#leaving.has(laneKey({ group, partition }));
    const plan = planLeases({
      partitions,
      workerId,
      leases,
      held,
      staying: held.filter((partition) => !leaving(partition)),
      sharers: this.#sharers(group),
      preference: preference
        ? {
            prefers: (partition) => preference.prefers(partition),
            freeForMs: (partition) => this.#freeForMs({ group, partition }),
            patienceMs: preference.patienceMs,
          }
        : null,
    });
    for (const partition of plan.surplus) {
      const lease = this.#held.get(laneKey({ group, partition }));
      if (lease) void this.#handBack(lease);
    }
    this.#noteFree(group, plan.free);
    for (const partition of plan.wanted) preference?.ask({ group, partition });
    await this.#takeFrom(group, plan.candidates, plan.room);
  }

  async #takeFrom(group: string, candidates: readonly Candidate[], within: number): Promise<void> {
    const { workerId, streams } = this.#options;
    let room = within;
    for (const { partition, seenEpoch, orphan, preferred } of candidates) {
      if (room <= 0 && !preferred) {
        // Ours by the table but not held: handing it back failed. Nobody else could take it.
        if (orphan) await streams.releaseLease({ group, partition, epoch: seenEpoch });
        continue;
      }
      if (await streams.takeLease({ group, partition, seenEpoch, workerId })) {
        const lease = { group, partition, epoch: seenEpoch + 1 };
        this.#held.set(laneKey(lease), lease);
        if (this.#closing) return;
        if (!this.#options.groups().includes(group)) return this.#handBack(lease);
        this.#options.onTaken(lease);
        room -= 1;
      }
    }
  }

  #sharers(group: string): number {
    return this.workers.filter(({ groups }) => groups.includes(group)).length;
  }

  #freeForMs(lease: GroupPartition): number {
    const since = this.#freeSince.get(laneKey(lease));
    return since === undefined ? 0 : performance.now() - since;
  }

  #noteFree(group: string, free: readonly number[]): void {
    if (this.#options.preference === undefined) return;
    const now = performance.now();
    for (let partition = 0; partition < this.#options.partitions; partition += 1) {
      const key = laneKey({ group, partition });
      if (!free.includes(partition)) this.#freeSince.delete(key);
      else if (!this.#freeSince.has(key)) this.#freeSince.set(key, now);
    }
  }

  /** Never rejects. */
  #handBack(lease: { group: string; partition: number; epoch: number }): Promise<void> {
    const key = laneKey(lease);
    this.#leaving.add(key);
    return this.#options
      .onSurplus(lease)
      .then(() => this.#options.streams.releaseLease(lease))
      .catch((error) => this.#options.onError(error))
      .finally(() => {
        this.#leaving.delete(key);
        this.#held.delete(key);
        this.#options.announce();
      });
  }
}

/** A store that does not answer at all must not keep us from noticing that our time is over. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new MillraceError('STORE_UNAVAILABLE', `No answer for ${limitMs} ms.`);
    timer = setTimeout(() => reject(error), limitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

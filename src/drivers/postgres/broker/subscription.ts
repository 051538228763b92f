/**
 * A member of a group on the log: says that it lives, leases its fair share of the partitions, and
 * runs a lane on each. What is too much it hands back when its user has let go; what a silent
 * member left it takes when that one's time to live is over.
 */
import type {
  BrokerSubscription,
  SubscribeOptions,
  TopicPartition,
} from '../../../ports/broker.ts';
import type { Store } from '../../../ports/store.ts';
import type { Lease } from '../../../ports/streams.ts';
import { type Bell, createBell } from './bell.ts';
import { toDelivery } from './deliveries.ts';
import { Lane } from './lane.ts';
import { fairShare } from './shares.ts';
import { translate, within } from './store-errors.ts';

/** How long the user may take to let go of partitions. */
const letGoMsMax = 5_000;
const farewellMsMax = 5_000;

export interface MemberSettings {
  readonly store: Store;
  readonly topic: string;
  readonly source: string;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly pollMs: number;
  /** Members should look at the leases now. */
  announce(): void;
}

export interface MemberOptions extends SubscribeOptions {
  readonly onClosed: () => void;
}

export class GroupMember implements BrokerSubscription {
  readonly #settings: MemberSettings;
  readonly #options: MemberOptions;
  readonly #workerId = crypto.randomUUID();
  readonly #lanes = new Map<number, Lane>();
  readonly #leaving = new Set<number>();
  readonly #paused = new Set<number>();
  readonly #handingBack = new Set<Promise<void>>();
  readonly #bell: Bell = createBell();
  #beatAt = 0;
  #sharers: readonly string[] = [];
  #running: Promise<void> = Promise.resolve();
  #closing: Promise<void> | null = null;

  constructor(settings: MemberSettings, options: MemberOptions) {
    this.#settings = settings;
    this.#options = options;
  }

  async start(): Promise<void> {
    const { store, announce } = this.#settings;
    const { group, from } = this.#options;
    try {
      await store.streams.registerGroup({ group, eventTypes: ['*'], from });
      await this.#beat();
    } catch (error) {
      throw translate(error, `Joining group ${group}`);
    }
    announce();
    this.#running = this.#run();
  }

  get assigned(): readonly TopicPartition[] {
    return [...this.#lanes.keys()].map((partition) => this.#place(partition));
  }

  async acknowledge(
    deliveries: readonly (TopicPartition & { readonly position: string })[],
  ): Promise<void> {
    const last = new Map<Lane, number>();
    for (const { topic, partition, position } of deliveries) {
      const lane = topic === this.#settings.topic ? this.#lanes.get(partition) : undefined;
      if (lane) last.set(lane, Math.max(last.get(lane) ?? 0, Number(position)));
    }
    await Promise.all([...last].map(([lane, offset]) => lane.acknowledge(offset)));
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const { partition } of partitions) {
      this.#paused.add(partition);
      this.#lanes.get(partition)?.setPaused(true);
    }
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const { partition } of partitions) {
      this.#paused.delete(partition);
      this.#lanes.get(partition)?.setPaused(false);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  /** The partition has new events; null: any may have. */
  wake(partition: number | null): void {
    if (partition !== null) this.#lanes.get(partition)?.wake();
    else for (const lane of this.#lanes.values()) lane.wake();
  }

  /** Another member came or went. */
  refresh(): void {
    this.#bell.ring();
  }

  async #run(): Promise<void> {
    const { heartbeatMs, timeToLiveMs } = this.#settings;
    while (this.#closing === null) {
      try {
        await within(timeToLiveMs, 'The heartbeat', this.#beat());
        await within(timeToLiveMs, 'Balancing', this.#balance());
        for (const lane of this.#lanes.values()) await lane.settle();
      } catch (error) {
        this.#options.onError(translate(error, 'The heartbeat'), 'membership');
        // Others may own our partitions by now.
        if (performance.now() - this.#beatAt > timeToLiveMs) this.#lose([...this.#lanes.values()]);
      }
      await this.#bell.wait(heartbeatMs * (0.8 + Math.random() * 0.4));
    }
  }

  async #beat(): Promise<void> {
    const { store, timeToLiveMs } = this.#settings;
    const { group } = this.#options;
    const before = performance.now();
    const me = { workerId: this.#workerId, groups: [group] };
    const alive = await store.streams.heartbeat(me, timeToLiveMs);
    if (before < this.#beatAt) return; // answered after a later one
    this.#sharers = alive.filter(({ groups }) => groups.includes(group)).map((w) => w.workerId);
    this.#beatAt = before;
  }

  async #balance(): Promise<void> {
    const { store, timeToLiveMs } = this.#settings;
    const leases = await store.streams.leases([this.#options.group], timeToLiveMs);
    const newest = new Map(leases.map((lease) => [lease.partition, lease]));
    this.#lose(
      [...this.#lanes.values()].filter((lane) => {
        return (newest.get(lane.partition)?.epoch ?? 0) > lane.epoch;
      }),
    );
    const share = fairShare(store.partitions, this.#sharers, this.#workerId);
    const staying = [...this.#lanes.values()].filter((lane) => !this.#leaving.has(lane.partition));
    if (staying.length > share) this.#handBack(staying.slice(share));
    else await this.#take(newest, share);
  }

  async #take(newest: ReadonlyMap<number, Lease>, share: number): Promise<void> {
    const { store } = this.#settings;
    const { group } = this.#options;
    const workerId = this.#workerId;
    const taken: Lane[] = [];
    for (let partition = 0; partition < store.partitions; partition += 1) {
      if (this.#lanes.has(partition) || this.#closing !== null) continue;
      const seen = newest.get(partition);
      const orphan = seen?.workerId === workerId; // handing it back failed, or its answer was lost
      if (seen !== undefined && seen.workerId !== null && seen.ownerAlive && !orphan) continue;
      const seenEpoch = seen?.epoch ?? 0;
      if (this.#lanes.size + taken.length >= share) {
        if (orphan) await store.streams.releaseLease({ group, partition, epoch: seenEpoch });
      } else if (await store.streams.takeLease({ group, partition, seenEpoch, workerId })) {
        taken.push(this.#createLane(partition, seenEpoch + 1));
      }
    }
    if (taken.length === 0) return;
    for (const lane of taken) this.#lanes.set(lane.partition, lane);
    this.#options.onAssigned(taken.map(({ partition }) => this.#place(partition)));
    for (const lane of taken) void lane.run();
  }

  #createLane(partition: number, epoch: number): Lane {
    const { store, pollMs, topic, source } = this.#settings;
    const { group, inFlightMax = 1_000, onDeliveries, onError } = this.#options;
    const lane: Lane = new Lane({
      ...{ store, group, partition, epoch, inFlightMax, pollMs },
      deliver: (events) => {
        const { logId } = store;
        onDeliveries(
          this.#place(partition),
          events.map((event) => toDelivery(event, { topic, source, logId })),
        );
      },
      onLost: () => this.#lose([lane]),
      onError: (error) => onError(translate(error, 'Reading'), `${topic}/${partition}`),
    });
    lane.setPaused(this.#paused.has(partition));
    return lane;
  }

  /** Others have these already. */
  #lose(lanes: readonly Lane[]): void {
    const gone = lanes.filter((lane) => this.#lanes.get(lane.partition) === lane);
    if (gone.length === 0) return;
    for (const lane of gone) {
      lane.lose();
      this.#lanes.delete(lane.partition);
    }
    void this.#letGo(gone, true);
  }

  #handBack(lanes: readonly Lane[]): void {
    for (const lane of lanes) this.#leaving.add(lane.partition);
    const done = this.#release(lanes)
      .catch((error) => this.#options.onError(translate(error, 'Handing back'), 'membership'))
      .finally(() => {
        for (const { partition } of lanes) this.#leaving.delete(partition);
        this.#handingBack.delete(done);
        this.#settings.announce();
      });
    this.#handingBack.add(done);
  }

  /** The lease goes last: until then nobody else can have what is still being acknowledged. */
  async #release(lanes: readonly Lane[]): Promise<void> {
    const { group } = this.#options;
    for (const lane of lanes) lane.stop();
    await this.#letGo(lanes, false);
    try {
      await within(farewellMsMax, 'Acknowledging', Promise.all(lanes.map((lane) => lane.settle())));
    } finally {
      for (const lane of lanes) {
        if (this.#lanes.get(lane.partition) === lane) this.#lanes.delete(lane.partition);
      }
    }
    const { streams } = this.#settings.store;
    const released = lanes.map(({ partition, epoch }) =>
      streams.releaseLease({ group, partition, epoch }),
    );
    await within(farewellMsMax, 'Handing back', Promise.all(released));
  }

  /** Never rejects. */
  async #letGo(lanes: readonly Lane[], lost: boolean): Promise<void> {
    const { onRevoked, onError } = this.#options;
    const places = lanes.map(({ partition }) => this.#place(partition));
    try {
      const done = Promise.resolve(onRevoked(places, lost));
      await within(letGoMsMax, 'Letting go of partitions', done);
    } catch (error) {
      onError(error, 'onRevoked');
    }
  }

  async #leave(): Promise<void> {
    this.#bell.ring();
    await this.#running;
    const { store, announce } = this.#settings;
    await Promise.all(this.#handingBack);
    if (this.#lanes.size > 0) this.#handBack([...this.#lanes.values()]);
    await Promise.all(this.#handingBack);
    try {
      await within(farewellMsMax, 'Leaving', store.streams.retire(this.#workerId));
    } catch (error) {
      this.#options.onError(translate(error, 'Leaving'), 'membership'); // its time runs out
    }
    announce();
    this.#options.onClosed();
  }

  #place(partition: number): TopicPartition {
    return { topic: this.#settings.topic, partition };
  }
}

/**
 * One member of a group of one topic. It beats once a second; the answer says which partitions are
 * its own, each with its epoch, and which of them it shall give up so that all have their share:
 *
 *   (none) ──beat──▶ assigned ──beat says so──▶ leaving ──onRevoked, acknowledged──▶ released
 *                        └───────silent for 5 s, or another one has its name──────▶ lost
 *
 * The server's clock decides who is alive; a member that hears nothing from the server for as long
 * takes its partitions for lost by itself, before another one can have them.
 */
import { performance } from 'node:perf_hooks';
import type { SubscribeOptions, TopicPartition } from '../../../ports/broker.ts';
import type { Redis } from '../connection.ts';
import { Acknowledger } from './acknowledger.ts';
import { unavailable, unknownTopic } from './failures.ts';
import { Lane } from './lane.ts';
import { baseOf } from './names.ts';
import { scripts } from './scripts.ts';

const beatMs = 1_000;
export const timeToLiveMs = 5_000;
const revokeMsMax = 5_000;
/** For a last word to a server that may be gone. */
const farewellMsMax = 3_000;
const inFlightMaxDefault = 1_000;

export interface MemberOptions {
  readonly redis: Redis;
  readonly topic: string;
  readonly name: string;
  readonly subscription: SubscribeOptions;
  /** What may be read has changed. */
  readonly onChange: () => void;
}

export class Member {
  readonly topic: string;
  readonly group: string;
  /** Where changes of the group were read up to. */
  changesFrom = '0-0';
  readonly lanes = new Map<number, Lane>();
  readonly acknowledger: Acknowledger;
  readonly #options: MemberOptions;
  readonly #redis: Redis;
  #name: string;
  #incarnation: number | null = null;
  #version = -1;
  /** When the last beat that was answered was sent. */
  #heardAt = 0;
  #isTold = false;
  #isClosed = false;
  #nudged: () => void = () => {};
  #isNudged = false;
  #beating: Promise<void> = Promise.resolve();

  constructor(options: MemberOptions) {
    const { redis, topic, name, subscription } = options;
    this.#options = options;
    this.#redis = redis;
    this.#name = name;
    this.topic = topic;
    this.group = subscription.group;
    this.acknowledger = new Acknowledger({
      redis,
      topic,
      group: this.group,
      lanes: () => this.lanes.values(),
      onRoom: options.onChange,
      onLost: (lane) => this.doubt(lane),
    });
  }

  /** As the server calls it. */
  get name(): string {
    return this.#name;
  }

  get assigned(): readonly TopicPartition[] {
    return this.#placesOf([...this.lanes.values()]);
  }

  /** @throws BROKER_TOPIC_UNKNOWN, BROKER_UNAVAILABLE, BROKER_DENIED */
  async join(): Promise<void> {
    await this.#join();
  }

  /** From now on partitions come and go. */
  start(): void {
    this.#beating = this.#beatOn();
  }

  /** Asks at once what is ours. */
  nudge(): void {
    this.#isNudged = true;
    this.#nudged();
  }

  /** The group had so many changes: more than we know of is a reason to ask. */
  saw(version: number): void {
    if (version !== this.#version) this.nudge();
  }

  doubt(lane: Lane): void {
    lane.isDoubtful = true;
    this.nudge();
  }

  /** The server does not know us or the group any more: both are made anew. */
  async rejoin(): Promise<void> {
    this.#incarnation = null;
    await this.#lose([...this.lanes.values()]);
    this.nudge();
  }

  /** Others have the partitions when it resolves, if the server can be reached. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.nudge();
    await this.#beating;
    await this.#letGo([...this.lanes.values()], false);
    if (this.#incarnation === null) return;
    const args = [this.group, this.#name, this.#incarnation];
    const left = this.#redis.run(scripts.leave, baseOf(this.topic), args);
    await within(farewellMsMax, left).catch((error) => this.#tell(error, 'leaving the group'));
  }

  async #join(): Promise<void> {
    const { from } = this.#options.subscription;
    const start = from === 'start' ? '0' : '$';
    const args = [this.group, this.#name, timeToLiveMs, start];
    const joined = await this.#redis.run<[number, number] | null>(
      scripts.join,
      baseOf(this.topic),
      args,
    );
    if (joined === null) throw unknownTopic(this.topic);
    this.#incarnation = joined[0];
  }

  /** Never rejects. */
  async #beatOn(): Promise<void> {
    while (!this.#isClosed) {
      this.#isNudged = false;
      try {
        await this.#beat();
        this.#isTold = false;
      } catch (error) {
        this.#told(error);
        await this.#checkSilence();
      }
      await this.#rest();
    }
  }

  async #beat(): Promise<void> {
    const sentAt = performance.now();
    if (this.#incarnation === null) await within(timeToLiveMs, this.#join());
    const args = [this.group, this.#name, `${this.#incarnation}`, timeToLiveMs];
    const answered = this.#redis.run<number[] | null>(scripts.beat, baseOf(this.topic), args);
    const patienceMs = this.lanes.size === 0 ? timeToLiveMs : this.#patienceMs();
    const answer = await within(patienceMs, answered);
    if (answer === null) return this.#wasReplaced();
    if (answer.length === 0) return this.rejoin(); // declared dead, or the server has lost us
    this.#heardAt = sentAt;
    if (this.#isClosed) return;
    await this.#apply(answer);
    await this.#trim();
  }

  #patienceMs(): number {
    return Math.max(1, this.#heardAt + timeToLiveMs - performance.now());
  }

  async #checkSilence(): Promise<void> {
    if (this.lanes.size === 0 || this.#patienceMs() > 1) return;
    await this.#lose([...this.lanes.values()]);
  }

  /** The newer one has the name; taking it back would go on for ever. */
  async #wasReplaced(): Promise<void> {
    const name = this.#name;
    this.#name = `${name}-${crypto.randomUUID().slice(0, 8)}`;
    const what = `another member of ${this.group} has the name ${name}`;
    this.#tell(new Error(`${what}: going on as ${this.#name}`), `membership in ${this.topic}`);
    await this.rejoin();
  }

  async #apply(answer: readonly number[]): Promise<void> {
    const [version, count] = answer as [number, number];
    const own = new Map<number, number>();
    for (let i = 0; i < count; i += 1) {
      own.set(answer[2 + 2 * i] as number, answer[3 + 2 * i] as number);
    }
    this.#version = version;
    const lost = [...this.lanes.values()].filter(
      (lane) => own.get(lane.partition) !== lane.epoch && lane.leaving === null,
    );
    if (lost.length > 0) await this.#lose(lost);
    this.#assign(own);
    const leaving = answer.slice(2 + 2 * count).flatMap((p) => this.lanes.get(p) ?? []);
    if (leaving.length > 0) void this.#letGo(leaving, true);
  }

  #assign(own: ReadonlyMap<number, number>): void {
    const { inFlightMax = inFlightMaxDefault, onAssigned } = this.#options.subscription;
    const fresh: Lane[] = [];
    for (const [partition, epoch] of own) {
      const known = this.lanes.get(partition);
      if (known === undefined) {
        const lane = new Lane(partition, epoch, inFlightMax);
        fresh.push(lane);
        this.lanes.set(partition, lane);
      } else if (known.isDoubtful) {
        known.isDoubtful = false;
        this.acknowledger.flush().catch((error) => this.#told(error));
        this.#options.onChange();
      }
    }
    if (fresh.length === 0) return;
    onAssigned(this.#placesOf(fresh));
    this.#options.onChange();
  }

  /** Never rejects. */
  async #lose(lanes: readonly Lane[]): Promise<void> {
    const gone = lanes.filter((lane) => this.lanes.get(lane.partition) === lane);
    for (const lane of gone) this.lanes.delete(lane.partition);
    // Those that were leaving were revoked already.
    const untold = gone.filter((lane) => lane.leaving === null);
    if (untold.length > 0) await this.#revoke(untold, true);
  }

  /** Gives partitions up: they are free for others afterwards, and nothing is read of them. */
  async #letGo(lanes: readonly Lane[], releases: boolean): Promise<void> {
    const staying = lanes.filter((lane) => lane.leaving === null);
    const underWay = lanes.flatMap(({ leaving }) => leaving ?? []);
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const lane of staying) lane.leaving = promise;
    if (staying.length > 0) await this.#revoke(staying, false);
    await within(farewellMsMax, this.acknowledger.idle()).catch(() => {});
    if (releases && staying.length > 0) await this.#release(staying);
    for (const lane of staying) {
      if (this.lanes.get(lane.partition) === lane) this.lanes.delete(lane.partition);
    }
    resolve();
    await Promise.all(underWay);
    if (releases) this.nudge();
  }

  async #release(lanes: readonly Lane[]): Promise<void> {
    const places = lanes.flatMap(({ partition, epoch }) => [partition, epoch]);
    const args = [this.group, ...places];
    const released = this.#redis.run(scripts.release, baseOf(this.topic), args);
    // Otherwise they are still ours, as the next beat says.
    await within(farewellMsMax, released).catch((error) => this.#told(error));
  }

  async #revoke(lanes: readonly Lane[], lost: boolean): Promise<void> {
    const { onRevoked } = this.#options.subscription;
    try {
      await within(revokeMsMax, Promise.resolve(onRevoked(this.#placesOf(lanes), lost)));
    } catch (error) {
      this.#tell(error, 'onRevoked');
    }
  }

  async #trim(): Promise<void> {
    for (const lane of this.lanes.values()) {
      if (!lane.isTrimmable || this.#isNudged) continue;
      lane.isTrimmable = false;
      await this.#redis.run(scripts.trim, baseOf(this.topic), [lane.partition]);
    }
  }

  #rest(): Promise<void> {
    if (this.#isNudged) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, beatMs);
      this.#nudged = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #placesOf(lanes: readonly Lane[]): readonly TopicPartition[] {
    return lanes.map(({ partition }) => ({ topic: this.topic, partition }));
  }

  /** Once per outage. */
  #told(error: unknown): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#tell(error, `membership in ${this.topic}`);
  }

  #tell(error: unknown, where: string): void {
    this.#options.subscription.onError(error, where);
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(unavailable(`Redis did not answer in ${ms} ms.`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Reads for the members of one subscription, over a connection of its own. While there is something
 * it takes round after round; then it waits in a blocking XREAD, which takes nothing, until an
 * entry, a change in a group or a wake-up comes. Taking itself is fenced: WATCH of who has what,
 * the guard (lua/guard.lua), MULTI, XREADGROUP, EXEC go in one write, and EXEC takes nothing once a
 * partition is another member's. XREADGROUP within a script would be fenced as well, at 0.6 of the
 * entries per second: each reply turns into a Lua table and back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ErrorReply } from '@redis/client';
import type { SubscribeOptions } from '../../../ports/broker.ts';
import type { Redis } from '../connection.ts';
import { translate, unavailable } from './failures.ts';
import { createEntryReader, type Entry, sizeOf } from './fields.ts';
import type { Lane } from './lane.ts';
import type { Member } from './member.ts';
import { baseOf, changesKey, ownersKey, streamKey } from './names.ts';
import { scripts } from './scripts.ts';

/** Shorter than the silence after which a connection is given up. */
const blockMs = 2_000;
/** Where the server does not let us end a wait (CLIENT UNBLOCK). */
const blockMsWithoutWaking = 100;
const backoffMsMax = 1_000;

type Streams = readonly (readonly [key: string, entries: readonly Entry[]])[];
interface Readable {
  readonly member: Member;
  readonly lanes: readonly Lane[];
}

export interface ReaderOptions {
  /** Nobody else uses it: it blocks. */
  readonly redis: Redis;
  /** Others do: it ends waits. */
  readonly waker: Redis;
  readonly members: readonly Member[];
  readonly isPaused: (topic: string, partition: number) => boolean;
  readonly subscription: SubscribeOptions;
}

export class Reader {
  readonly #options: ReaderOptions;
  readonly #redis: Redis;
  readonly #members: readonly Member[];
  readonly #entries = createEntryReader();
  readonly #route: string;
  /** Of the connection, as long as it waits. */
  #waitingAs: string | null = null;
  #isWoken = false;
  #canWake = true;
  #isClosed = false;
  #isTold = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#redis = options.redis;
    this.#members = options.members;
    this.#route = baseOf(options.members[0]?.topic ?? '');
  }

  start(): void {
    this.#running = this.#run();
  }

  /** What may be read has changed: a wait under way is for the wrong partitions. */
  wake(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    void this.#endWait();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.wake();
    await this.#redis.close();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    for (let failures = 0; !this.#isClosed; ) {
      try {
        const claimed = await this.#claim();
        const hasRead = await this.#read();
        if (!claimed && !hasRead) await this.#wait();
        failures = 0;
        this.#isTold = false;
      } catch (error) {
        if (this.#isClosed) return;
        if (!this.#isTold) this.#options.subscription.onError(error, 'reading');
        this.#isTold = true;
        // Whether something was taken by a call that was not answered, nobody knows.
        for (const { lanes } of this.#members) for (const lane of lanes.values()) lane.resume();
        failures += 1;
        await sleep(Math.min(backoffMsMax, 25 * 2 ** Math.min(failures, 6)));
      }
    }
  }

  #readable({ topic, lanes }: Member): Lane[] {
    return [...lanes.values()].filter(
      (lane) =>
        lane.claimFrom === null &&
        lane.wanted > 0 &&
        !this.#options.isPaused(topic, lane.partition),
    );
  }

  /** What is pending comes before what is new. True when there may be more. */
  async #claim(): Promise<boolean> {
    let hasClaimed = false;
    for (const member of this.#members) {
      for (const lane of [...member.lanes.values()]) {
        const { claimFrom, wanted, partition, epoch } = lane;
        if (claimFrom === null || wanted === 0) continue;
        if (this.#options.isPaused(member.topic, partition)) continue;
        const args = [member.group, member.name, partition, epoch, claimFrom, wanted];
        const base = baseOf(member.topic);
        type Claimed = [next: string, last: string, entries: Entry[]];
        const claimed = await this.#redis.run<Claimed | null>(scripts.claim, base, args);
        hasClaimed = true;
        if (claimed === null) {
          member.doubt(lane);
          continue;
        }
        const [next, last, entries] = claimed;
        lane.claimFrom = next === '' ? null : next;
        if (next === '') lane.lastId = last;
        this.#deliver(member, lane, entries, true);
      }
    }
    return hasClaimed;
  }

  async #read(): Promise<boolean> {
    const readable = this.#members
      .map((member) => ({ member, lanes: this.#readable(member) }))
      .filter(({ lanes }) => lanes.length > 0);
    if (readable.length === 0) return false;
    const replies = await this.#exchange(readable);
    const guards = replies.slice(readable.length, 2 * readable.length) as number[][];
    for (const [i, [version, ...lost]] of guards.entries()) {
      const { member } = readable[i] as Readable;
      member.saw(version as number);
      for (const partition of lost) {
        const lane = member.lanes.get(partition);
        if (lane) member.doubt(lane);
      }
    }
    const results = replies.at(-1) as readonly unknown[] | null;
    if (results === null) return true;
    return this.#take(readable, results);
  }

  #exchange(readable: readonly Readable[]): Promise<readonly unknown[]> {
    const commands: string[][] = [];
    for (const { member } of readable) {
      commands.push(['WATCH', ownersKey(member.topic, member.group)]);
    }
    for (const { member, lanes } of readable) {
      const places = lanes.flatMap(({ partition, epoch }) => [`${partition}`, `${epoch}`]);
      const owners = ownersKey(member.topic, member.group);
      // By its text: were the server to know it by its sum no more, nothing would stand guard.
      commands.push(['EVAL', scripts.guard.text, '1', owners, ...places]);
    }
    commands.push(['MULTI']);
    for (const { member, lanes } of readable) {
      for (const [count, some] of byWanted(lanes)) {
        const keys = some.map(({ partition }) => streamKey(member.topic, partition));
        const group = ['GROUP', member.group, member.name, 'COUNT', `${count}`];
        commands.push(['XREADGROUP', ...group, 'STREAMS', ...keys, ...keys.map(() => '>')]);
      }
    }
    commands.push(['EXEC']);
    return Promise.all(commands.map((args) => this.#redis.send<unknown>(this.#route, args)));
  }

  #take(readable: readonly Readable[], results: readonly unknown[]): boolean {
    const places = new Map<string, readonly [Member, Lane]>();
    for (const { member, lanes } of readable) {
      for (const lane of lanes) places.set(streamKey(member.topic, lane.partition), [member, lane]);
    }
    let hasRead = false;
    let failed: ErrorReply | null = null;
    for (const result of results) {
      if (result instanceof ErrorReply) failed = result;
      if (result === null || result instanceof Error) continue;
      for (const [key, entries] of result as Streams) {
        const place = places.get(key);
        if (place) this.#deliver(...place, entries, false);
        hasRead = true;
      }
    }
    if (failed?.message.includes('NOGROUP')) {
      for (const { member } of readable) void member.rejoin();
      throw unavailable(`Redis has lost the group: ${failed.message}`, failed);
    }
    if (failed) throw translate(failed);
    return hasRead;
  }

  #deliver(member: Member, lane: Lane, entries: readonly Entry[], again: boolean): void {
    if (entries.length === 0) return;
    // Not ours any more, or not for long: whoever has it next claims them.
    if (member.lanes.get(lane.partition) !== lane || lane.leaving !== null) return;
    let chars = 0;
    const place = { topic: member.topic, partition: lane.partition };
    const deliveries = entries.map((entry) => {
      chars += sizeOf(entry);
      return this.#entries.toDelivery(place, entry, again);
    });
    lane.took(
      entries.map(([id]) => id),
      chars,
    );
    this.#options.subscription.onDeliveries(place, deliveries);
  }

  async #wait(): Promise<void> {
    if (this.#isWoken) {
      this.#isWoken = false;
      return;
    }
    const keys: string[] = [];
    const ids: string[] = [];
    for (const member of this.#members) {
      keys.push(changesKey(member.topic, member.group));
      ids.push(member.changesFrom);
      for (const lane of this.#readable(member)) {
        keys.push(streamKey(member.topic, lane.partition));
        ids.push(lane.lastId);
      }
    }
    const ms = this.#canWake ? blockMs : blockMsWithoutWaking;
    const asked = this.#redis.send<number>(this.#route, ['CLIENT', 'ID']);
    const read = ['XREAD', 'COUNT', '1', 'BLOCK', `${ms}`, 'STREAMS', ...keys, ...ids];
    const found = this.#redis.send<Streams | null>(this.#route, read);
    try {
      this.#waitingAs = String(await asked);
      // Since then, unseen.
      if (this.#isWoken) void this.#endWait();
      this.#changed((await found) ?? []);
    } finally {
      found.catch(() => {}); // told by `asked`
      this.#waitingAs = null;
      this.#isWoken = false;
    }
  }

  #changed(found: Streams): void {
    for (const [key, entries] of found) {
      for (const member of this.#members) {
        if (key !== changesKey(member.topic, member.group)) continue;
        member.changesFrom = entries.at(-1)?.[0] ?? member.changesFrom;
        member.nudge();
      }
    }
  }

  /** The wait may not have begun at the server: it is ended until it ends. */
  async #endWait(): Promise<void> {
    for (let ms = 1; this.#waitingAs !== null; ms = Math.min(50, ms * 2)) {
      const command = ['CLIENT', 'UNBLOCK', this.#waitingAs];
      try {
        await this.#options.waker.send<number>(this.#route, command);
      } catch (error) {
        if (!(error instanceof Error) || !/NOPERM|unknown/i.test(error.message)) return;
        this.#canWake = false;
        return;
      }
      await sleep(ms);
    }
  }
}

/** Lanes by how many entries they want; one XREADGROUP asks the same number of all its streams. */
function byWanted(lanes: readonly Lane[]): ReadonlyMap<number, Lane[]> {
  const groups = new Map<number, Lane[]>();
  for (const lane of lanes) {
    const count = 2 ** Math.floor(Math.log2(lane.wanted));
    const group = groups.get(count);
    if (group) group.push(lane);
    else groups.set(count, [lane]);
  }
  return groups;
}

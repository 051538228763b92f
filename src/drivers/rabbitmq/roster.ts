/**
 * What a member of a group knows of the others, from what they say of themselves: who they are,
 * and which partitions they hold. Silence makes a member suspect, never dead: whether its queue
 * still exists, and so its connection, the server knows (members.ts).
 */
import type { TopicPartition } from '../../ports/broker.ts';

/** What a member says of itself, of one topic, as JSON. */
export interface Word {
  readonly topic: string;
  readonly member: string;
  /** Its own queue: exclusive, it exists as long as the member's connection. */
  readonly queue: string;
  /** Partitions that it consumes, each with its deliveries that are not acknowledged. */
  readonly holds: readonly (readonly [partition: number, unacknowledged: number])[];
  /** It will speak again by then, milliseconds. */
  readonly everyMs: number;
  readonly leaves: boolean;
}

interface Known {
  readonly queue: string;
  readonly holds: ReadonlySet<number>;
  readonly quietMsMax: number;
  heardAt: number;
}

/** Words that are late by this many times are missing. */
const patience = 2.5;

export class Roster {
  readonly #self: string;
  readonly #topics = new Map<string, Map<string, Known>>();

  constructor(self: string) {
    this.#self = self;
  }

  /** @returns whether a member came or went, or gave a partition up. */
  hear(word: Word, now: number): boolean {
    if (word.member === this.#self) return false;
    const members = this.#membersOf(word.topic);
    const before = members.get(word.member);
    if (word.leaves) return members.delete(word.member);
    const holds = new Set(word.holds.map(([partition]) => partition));
    const { queue, everyMs } = word;
    const quietMsMax = everyMs * patience;
    members.set(word.member, { queue, holds, quietMsMax, heardAt: now });
    if (before === undefined) return true;
    return [...before.holds].some((partition) => !holds.has(partition));
  }

  /** Others of the topic, and ourselves. */
  members(topic: string): readonly string[] {
    return [...this.#membersOf(topic).keys(), this.#self];
  }

  /** Somebody else consumes it, as far as we were told. */
  isHeld({ topic, partition }: TopicPartition): boolean {
    for (const { holds } of this.#membersOf(topic).values()) {
      if (holds.has(partition)) return true;
    }
    return false;
  }

  /** Those that have been silent for too long, each once. */
  suspects(now: number): ReadonlyMap<string, string> {
    const suspects = new Map<string, string>();
    for (const members of this.#topics.values()) {
      for (const [member, { queue, heardAt, quietMsMax }] of members) {
        if (now - heardAt > quietMsMax) suspects.set(member, queue);
      }
    }
    return suspects;
  }

  /** The server says that it is connected: slow, not gone. */
  spare(member: string, now: number): void {
    for (const members of this.#topics.values()) {
      const known = members.get(member);
      if (known !== undefined) known.heardAt = now;
    }
  }

  forget(member: string): void {
    for (const members of this.#topics.values()) members.delete(member);
  }

  #membersOf(topic: string): Map<string, Known> {
    let members = this.#topics.get(topic);
    if (members === undefined) {
      members = new Map();
      this.#topics.set(topic, members);
    }
    return members;
  }
}

/** What came over the members' exchange; null for what is no word of ours. */
export function readWord(body: unknown): Word | 'ask' | null {
  if (body === null || typeof body !== 'object') return null;
  if ('ask' in body) return 'ask';
  const { topic, member, queue, holds, everyMs, leaves } = body as Partial<Word>;
  const texts = [topic, member, queue].every((text) => typeof text === 'string');
  const pairs = Array.isArray(holds) && holds.every((pair) => Array.isArray(pair));
  return texts && pairs && typeof everyMs === 'number' && typeof leaves === 'boolean'
    ? (body as Word)
    : null;
}

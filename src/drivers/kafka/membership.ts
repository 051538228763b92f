/**
 * What a member of a group is, whichever protocol it speaks: it joins, learns its partitions, and
 * gives them back one step at a time. `next-generation-member.ts` and `classic-member.ts` are the
 * two answers.
 */
import type { TopicPartition } from '../../ports/broker.ts';

/** How a member names itself in a commit. */
export interface MemberIdentity {
  readonly memberId: string;
  /** Generation, or epoch in the next-generation protocol. */
  readonly epoch: number;
  readonly instanceId: string | null;
}

/** What the subscription does at the member's word. Neither rejects. */
export interface MemberEvents {
  /** Finds positions and begins to fetch. */
  assign(partitions: readonly TopicPartition[]): Promise<void>;
  /** Stops, waits for acknowledgements under way and commits; at once when they are lost. */
  revoke(partitions: readonly TopicPartition[], lost: boolean): Promise<void>;
  onError(error: unknown, where: string): void;
}

export interface Member {
  /** Resolves when the broker has accepted it. @throws what a connection throws */
  join(): Promise<void>;
  readonly identity: MemberIdentity;
  /** The coordinator said something that only a heartbeat clears up. */
  poke(): void;
  /** Gives everything back and leaves. Takes 8 s at most. */
  leave(): Promise<void>;
}

export interface MemberOptions {
  readonly group: string;
  readonly topics: readonly string[];
  readonly instanceId: string | null;
  readonly sessionTimeoutMs: number;
  readonly events: MemberEvents;
}

/** Others wait this long for a member that has to give something back. */
export const rebalanceTimeoutMs = 30_000;

export function partitionKeyOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
}

/** Those of `all` that are not among `others`. */
export function without<Part extends TopicPartition>(
  all: readonly Part[],
  others: readonly Part[],
  keyOf: (one: Part) => string = partitionKeyOf,
): Part[] {
  const keys = new Set(others.map(keyOf));
  return all.filter((one) => !keys.has(keyOf(one)));
}

/**
 * When to ask the coordinator again. It cannot call us, so who asks every 5 s, as brokers propose,
 * waits up to 10 s for a partition that another member gave back. Asking costs the broker no write:
 * we ask every second, and more often for a while after something changed.
 */
export class Cadence {
  readonly #calmMs: number;
  #nextMs = soonestMs;

  constructor(calmMs: number) {
    this.#calmMs = calmMs;
  }

  /** The group is moving. */
  changed(): void {
    this.#nextMs = soonestMs;
  }

  next(proposedMs: number): number {
    const wait = this.#nextMs;
    this.#nextMs = Math.min(wait * 1.5, this.#calmMs);
    return Math.min(wait, proposedMs);
  }
}

const soonestMs = 100;

/**
 * Which deliveries can be acknowledged: of each topic partition the longest run, from the oldest
 * on, that is done. Acknowledging says no more than "need not be brought again": what was handled
 * is in the cursors of the groups, and what was not is in the log.
 */
import type { TopicPartition } from '../ports/broker.ts';

export type Acknowledged = TopicPartition & { readonly position: string };

interface Line {
  readonly at: TopicPartition;
  readonly positions: string[];
  /** Offset in the log; of what is refused infinite until the refusal is durable, then 0. */
  readonly offsets: number[];
  first: number;
  /** The broker was told and has not confirmed, or could not be reached. */
  unconfirmed: string | null;
}

const keyOf = ({ topic, partition }: TopicPartition) => `${topic}\u0000${partition}`;

export class Acknowledgements {
  readonly #lines = new Map<string, Line>();

  open(at: TopicPartition): void {
    this.#lines.set(keyOf(at), {
      at: { topic: at.topic, partition: at.partition },
      positions: [],
      offsets: [],
      first: 0,
      unconfirmed: null,
    });
  }

  close(at: TopicPartition): void {
    this.#lines.delete(keyOf(at));
  }

  add(at: TopicPartition, position: string, offset: number): void {
    const line = this.#lines.get(keyOf(at));
    line?.positions.push(position);
    line?.offsets.push(offset);
  }

  /** One that is acknowledged once the function that it answers with was called. */
  hold(at: TopicPartition, position: string): () => void {
    this.add(at, position, Number.POSITIVE_INFINITY);
    const line = this.#lines.get(keyOf(at));
    return () => {
      const index = line?.positions.lastIndexOf(position) ?? -1;
      if (line !== undefined && index >= line.first) line.offsets[index] = 0;
    };
  }

  /** Deliveries that were not acknowledged yet. */
  get waiting(): number {
    let count = 0;
    for (const { positions, first } of this.#lines.values()) count += positions.length - first;
    return count;
  }

  /** Something is left to tell: not done yet, or not confirmed. */
  get pending(): boolean {
    for (const { positions, first, unconfirmed } of this.#lines.values()) {
      if (unconfirmed !== null || first < positions.length) return true;
    }
    return false;
  }

  /** Takes what is done: `safe` says up to which offset of the log a partition needs nothing. */
  take(safe: (partition: number) => number): Acknowledged[] {
    const done: Acknowledged[] = [];
    for (const line of this.#lines.values()) {
      const limit = safe(line.at.partition);
      const { offsets, positions } = line;
      let next = line.first;
      while (next < offsets.length && (offsets[next] as number) <= limit) next += 1;
      if (next > line.first) {
        line.unconfirmed = positions[next - 1] as string;
        line.first = next;
      }
      if (line.unconfirmed !== null) done.push({ ...line.at, position: line.unconfirmed });
      if (line.first === offsets.length || line.first >= 4_096) {
        offsets.splice(0, line.first);
        positions.splice(0, line.first);
        line.first = 0;
      }
    }
    return done;
  }

  /** The broker has these: not told again. */
  confirm(done: readonly Acknowledged[]): void {
    for (const one of done) {
      const line = this.#lines.get(keyOf(one));
      if (line?.unconfirmed === one.position) line.unconfirmed = null;
    }
  }
}

/**
 * Which worker is next: four rules over the workers that can be taken. Each keeps its own state and
 * is told of every change of the set; none of them knows about health or HTTP.
 */
import { murmur2 } from '../../core/partition.ts';
import { WorkerError } from '../errors.ts';
import type { Worker } from './worker-address.ts';

export const algorithms = [
  'round-robin',
  'least-connections',
  'weighted',
  'consistent-hash',
] as const;
export type Algorithm = (typeof algorithms)[number];

export interface Candidate extends Worker {
  /** Taken and not released. */
  connections: number;
  available: boolean;
}

export interface Balancing {
  /** One that is available; null when there is none. */
  next(key: string | undefined): Candidate | null;
  /** All workers, available or not, in the order they were given. */
  change(workers: readonly Candidate[]): void;
}

export function createBalancing(algorithm: Algorithm): Balancing {
  switch (algorithm) {
    case 'round-robin':
      return new RoundRobin();
    case 'least-connections':
      return new LeastConnections();
    case 'weighted':
      return new SmoothWeighted();
    case 'consistent-hash':
      return new ConsistentHash();
  }
}

/** Goes round all workers, so that one that comes and goes unsettles nobody's turn. */
class Turns {
  #workers: readonly Candidate[] = [];
  #last = -1;

  change(workers: readonly Candidate[]): void {
    const last = this.#workers[this.#last];
    this.#workers = workers;
    this.#last = last === undefined ? -1 : workers.indexOf(last);
  }

  /** The available ones, beginning with the one whose turn it is. */
  get inTurn(): readonly Candidate[] {
    const behind = this.#workers.slice(this.#last + 1);
    const before = this.#workers.slice(0, this.#last + 1);
    return [...behind, ...before].filter((worker) => worker.available);
  }

  take(worker: Candidate): Candidate {
    this.#last = this.#workers.indexOf(worker);
    return worker;
  }
}

/** One after the other. */
class RoundRobin implements Balancing {
  readonly #turns = new Turns();

  change(workers: readonly Candidate[]): void {
    this.#turns.change(workers);
  }

  next(): Candidate | null {
    const [first] = this.#turns.inTurn;
    return first === undefined ? null : this.#turns.take(first);
  }
}

/** The one with the fewest connections for its weight; among equals, one after the other. */
class LeastConnections implements Balancing {
  readonly #turns = new Turns();

  change(workers: readonly Candidate[]): void {
    this.#turns.change(workers);
  }

  next(): Candidate | null {
    const [first, ...others] = this.#turns.inTurn;
    if (first === undefined) return null;
    const load = ({ connections, weight }: Candidate) => connections / weight;
    const best = others.reduce((best, other) => (load(other) < load(best) ? other : best), first);
    return this.#turns.take(best);
  }
}

/**
 * In proportion to the weights and well mixed: each round a worker gains its weight, and the
 * richest pays the sum of all. 5, 1, 1 gives a a b a c a a.
 */
class SmoothWeighted implements Balancing {
  #workers: readonly Candidate[] = [];
  #credit = new Map<Candidate, number>();

  change(workers: readonly Candidate[]): void {
    this.#workers = workers;
    this.#credit = new Map(workers.map((worker) => [worker, this.#credit.get(worker) ?? 0]));
  }

  next(): Candidate | null {
    let best: Candidate | null = null;
    let richest = Number.NEGATIVE_INFINITY;
    let sum = 0;
    for (const worker of this.#workers) {
      if (!worker.available) continue;
      const credit = (this.#credit.get(worker) ?? 0) + worker.weight;
      this.#credit.set(worker, credit);
      sum += worker.weight;
      if (credit > richest) [best, richest] = [worker, credit];
    }
    if (best !== null) this.#credit.set(best, richest - sum);
    return best;
  }
}

/** Points of a worker of weight 1: with 160, the shares of ten workers differ by about a tenth. */
const pointsPerWeight = 160;

interface Point {
  readonly at: number;
  readonly worker: Candidate;
}

/** The same key goes to the same worker; a worker that is lost gives its keys to all others. */
class ConsistentHash implements Balancing {
  #ring: readonly Point[] = [];

  change(workers: readonly Candidate[]): void {
    this.#ring = workers
      .flatMap((worker) =>
        Array.from({ length: worker.weight * pointsPerWeight }, (_, i) => {
          return { at: hash(`${worker.address}#${i}`), worker };
        }),
      )
      .sort((a, b) => a.at - b.at || (a.worker.address < b.worker.address ? -1 : 1));
  }

  next(key: string | undefined): Candidate | null {
    if (key === undefined) {
      throw new WorkerError('REQUEST_INVALID', 'consistent-hash needs a key to choose a worker.', {
        fix: 'Call getNextWorker(key) with what shall stay together, such as a tenant id.',
      });
    }
    const start = this.#firstFrom(hash(key));
    for (let step = 0; step < this.#ring.length; step += 1) {
      const { worker } = this.#ring[(start + step) % this.#ring.length] as Point;
      if (worker.available) return worker;
    }
    return null;
  }

  /** Place of the first point at or behind `at`; past the last, the ring begins anew. */
  #firstFrom(at: number): number {
    let [low, high] = [0, this.#ring.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ring[middle] as Point).at < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const utf8 = new TextEncoder();

/** Murmur2 and a last stir: points that differ in their last digit shall lie far apart. */
function hash(text: string): number {
  let mixed = murmur2(utf8.encode(text));
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

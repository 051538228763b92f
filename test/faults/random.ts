/**
 * Randomness that can be had again: every random test takes its numbers from here and prints the
 * seed. Set MILLRACE_SEED to the printed number to see the same run.
 */

export interface Random {
  readonly seed: number;
  /** From 0 up to and without 1. */
  next(): number;
  /** A whole number from 0 up to and without `below`. */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** A generator for the seed wanted from outside, else for a new one; prints which. */
export function announcedRandom(name: string): Random {
  const wanted = process.env.MILLRACE_SEED;
  const seed = wanted === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(wanted);
  console.log(`${name}: seed ${seed}`);
  return createRandom(seed);
}

/** mulberry32: 32 bits of state, good enough to choose faults, the same on every machine. */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number) => Math.floor(next() * below);
  return {
    seed,
    next,
    int,
    chance: (probability) => next() < probability,
    pick: (items) => items[int(items.length)] as (typeof items)[number],
  };
}

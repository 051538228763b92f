/**
 * Randomness that can be repeated: every test prints its seed, and MILLRACE_SEED=n runs it again
 * with the same one.
 */
import type { TestContext } from 'node:test';

export interface Random {
  readonly seed: number;
  /** 0 up to 1. */
  next(): number;
  /** A whole number from 0 up to `n`, without it. */
  below(n: number): number;
  chance(share: number): boolean;
  pick<T>(items: readonly T[]): T;
}

export function seedOf(t: TestContext): number {
  const seed = Number(process.env.MILLRACE_SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${seed}: repeat with MILLRACE_SEED=${seed}`);
  return seed;
}

export function seededRandom(t: TestContext): Random {
  return randomFrom(seedOf(t));
}

/** Mulberry32: 32 bits of state, good enough to choose what a test does. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    seed,
    next,
    below: (n) => Math.floor(next() * n),
    chance: (share) => next() < share,
    pick: (items) => items[Math.floor(next() * items.length)] as never,
  };
}

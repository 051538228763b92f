/**
 * Randomness of the fault tests: a seed that is printed by name, because one test injects several
 * things. Set MILLRACE_SEED to the printed number to see the same choices.
 */
import { type Random, randomFrom } from '../support/random.ts';

/** A generator for the seed wanted from outside, else for a new one; prints which. */
export function announcedRandom(name: string): Random {
  const wanted = process.env.MILLRACE_SEED;
  const seed = wanted === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(wanted);
  console.log(`${name}: seed ${seed}`);
  return randomFrom(seed);
}

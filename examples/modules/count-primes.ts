/** Runs in a thread of its own, for examples/10-sandbox.ts: it may block as long as it likes. */
import type { SandboxContext } from 'millrace';

export default function countPrimes(
  { below }: { below: number },
  ctx: SandboxContext<{ at: number }>,
): { primes: number } {
  if (below === Number.MAX_SAFE_INTEGER) for (;;); // never ends
  let primes = 0;
  for (let n = 2; n < below; n += 1) if (isPrime(n)) primes += 1;
  ctx.progress({ at: below });
  return { primes };
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d += 1) if (n % d === 0) return false;
  return true;
}

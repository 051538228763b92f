/** Ids of stream entries, `<ms>-<number>`: how they compare. */

/** Negative when `a` comes before `b`. */
export function comparePositions(a: string, b: string): number {
  if (a === b) return 0;
  const [aMs, aNo] = partsOf(a);
  const [bMs, bNo] = partsOf(b);
  return aMs - bMs || aNo - bNo;
}

function partsOf(id: string): readonly [ms: number, no: number] {
  const dash = id.indexOf('-');
  if (dash === -1) return [Number(id), 0];
  return [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
}

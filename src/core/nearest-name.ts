/** "Did you mean": the nearest known word, for messages about names that nobody declared. */

/** Longer words are not compared: nobody mistypes one, and the table grows with both lengths. */
const charsMax = 100;

/** Edit distance with neighbouring swaps, given up above `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(
        (row[j] as number) + 1,
        (next[j - 1] as number) + 1,
        (row[j - 1] as number) + same,
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (before[j - 2] as number) + 1);
      }
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[b.length] as number;
}

/** The known word nearest to `word`, at most a third of its letters away. */
export function nearestName(word: string, known: Iterable<string>): string | undefined {
  if (word.length > charsMax) return undefined;
  const plain = (text: string) => text.toLowerCase().replaceAll('-', '_');
  // Of two letters every other word of two would be near.
  const limit = word.length < 3 ? 0 : Math.floor(word.length / 3);
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(plain(word), plain(candidate), limit);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

const listedMax = 12;

/** `Did you mean 'x'?`, or what there is when that is not much. */
export function suggestName(word: string, known: Iterable<string>): string | null {
  const names = [...known];
  const near = nearestName(word, names);
  if (near !== undefined) return `Did you mean '${near}'?`;
  if (names.length > 0 && names.length <= listedMax) return `There are ${names.join(', ')}.`;
  return null;
}

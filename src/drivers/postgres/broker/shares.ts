/** How many partitions a member of a group may hold. */

/**
 * Members differ by one at most: those that come first by name have one more. All of them know the
 * same names, so they agree without a word.
 */
export function fairShare(partitions: number, members: readonly string[], me: string): number {
  const count = Math.max(1, members.length);
  const before = members.filter((member) => member < me).length;
  return Math.floor(partitions / count) + (before < partitions % count ? 1 : 0);
}

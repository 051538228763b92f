/**
 * Which member of a group gets which partition. Every member works it out for itself from the same
 * names, so nobody has to be asked: shares differ by one at most, and when a member comes or goes
 * few partitions move.
 */
import { murmur2 } from '../../core/partition.ts';

const utf8 = new TextEncoder();

function weight(text: string): number {
  return murmur2(utf8.encode(text)) >>> 0;
}

/** The heaviest first; equal weights by name. */
function byWeight(names: readonly string[], salt: string): readonly string[] {
  return names
    .map((name) => ({ name, weight: weight(`${salt}/${name}`) }))
    .sort((a, b) => b.weight - a.weight || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name);
}

/** @returns the member of each partition; of nobody when there are no members. */
export function share(
  topic: string,
  partitions: number,
  members: readonly string[],
): readonly string[] {
  if (members.length === 0) return [];
  const left = new Map<string, number>();
  // Who gets one more differs from topic to topic: topics of one partition go to many members.
  for (const [i, member] of byWeight(members, topic).entries()) {
    const most = Math.floor(partitions / members.length);
    left.set(member, most + (i < partitions % members.length ? 1 : 0));
  }
  return Array.from({ length: partitions }, (_, partition) => {
    const ranked = byWeight(members, `${topic}/${partition}`);
    const member = ranked.find((name) => (left.get(name) as number) > 0) as string;
    left.set(member, (left.get(member) as number) - 1);
    return member;
  });
}

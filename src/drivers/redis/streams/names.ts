/** Keys of topics: what stands in braces decides the slot, so a topic with its groups is one. */

/** Set of all topics; in a slot of its own. */
export const topicsKey = 'millrace:topics';

/** Encoded: a brace in the name would end the tag. */
export function baseOf(topic: string): string {
  return `millrace:{${encodeURIComponent(topic)}}`;
}

export function streamKey(topic: string, partition: number): string {
  return `${baseOf(topic)}:p:${partition}`;
}

/** Who has which partition; what reads are guarded by. */
export function ownersKey(topic: string, group: string): string {
  return `${baseOf(topic)}:g:${group}:o`;
}

/** Stream with the newest change of who is there. */
export function changesKey(topic: string, group: string): string {
  return `${baseOf(topic)}:g:${group}:n`;
}

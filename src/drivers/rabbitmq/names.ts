/**
 * What things are called at the server. A topic owns every name that is it, or that begins with it
 * and a `.` or `#`, so one regular expression gives a user the rights on a topic.
 */
import { MillraceError } from '../../core/errors.ts';

/** The server allows 255 bytes; a group, a partition and our own words take the rest. */
const topicBytesMax = 150;
const groupBytesMax = 60;

/**
 * What is no name of a topic cannot be one that exists, and the server need not be asked.
 * `#` is ours: no topic's names may be mistaken for another's.
 */
export function isTopic(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= topicBytesMax && !/[#\s]/.test(name);
}

/** @throws MillraceError CONFIG_INVALID */
export function checkGroup(group: string): string {
  if (group !== '' && Buffer.byteLength(group) <= groupBytesMax && !/[#\s]/.test(group)) {
    return group;
  }
  throw new MillraceError(
    'CONFIG_INVALID',
    `'${group}' is no name of a group: 1 to ${groupBytesMax} bytes without # and white space.`,
  );
}

/** Dots in groups are written out: topic `a` and group `b.c` are not topic `a.b` and group `c`. */
function prefixOf(topic: string, group: string): string {
  return `${topic}.${group.replaceAll('%', '%25').replaceAll('.', '%2E')}`;
}

/** The quorum queue of one partition for one group. */
export const queueOf = (topic: string, group: string, partition: number) =>
  `${prefixOf(topic, group)}.${partition}`;

/** The fanout exchange over which the members of a group tell each other what they hold. */
export const membersOf = (topic: string, group: string) => `${prefixOf(topic, group)}#members`;

export const memberQueueOf = (topic: string, group: string, memberId: string) =>
  `${prefixOf(topic, group)}#member.${memberId}`;

/** The queue that holds as many messages as the topic has partitions. */
export const countQueueOf = (topic: string) => `${topic}#partitions`;

/** The exchange that fills that queue; that it is there vouches for the number. */
export const countExchangeOf = (topic: string, partitions: number) =>
  `${topic}#partitions=${partitions}`;

/** The queue that holds the names of groups, for who deletes the topic. */
export const groupsQueueOf = (topic: string) => `${topic}#groups`;

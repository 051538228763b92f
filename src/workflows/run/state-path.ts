/**
 * The states that a run passes on its way to another one, from the table of transitions: transient
 * states are recorded in the commit of the state they lead to.
 */
import type { TaskState } from '../../core/workflow/states.ts';
import { taskTransitions } from '../../core/workflow/transitions.ts';

const byHand = new Set(['Cancel', 'Timeout', 'ResolveManually', 'EnqueueFailed']);
const ways = taskTransitions.filter(
  ({ event, origin }) => origin !== 'legacy' && !byHand.has(event),
);
const found = new Map<string, readonly TaskState[]>();

/** What comes after `from`, up to `to`; nothing when they are the same. */
export function statePath(from: TaskState, to: TaskState): readonly TaskState[] {
  const key = `${from} ${to}`;
  let path = found.get(key);
  if (path === undefined) {
    path = search(from, to);
    found.set(key, path);
  }
  return path;
}

/** The shortest way, breadth first. */
function search(from: TaskState, to: TaskState): readonly TaskState[] {
  const paths: (readonly TaskState[])[] = [[]];
  const seen = new Set([from]);
  if (from === to) return [];
  for (const path of paths) {
    for (const way of ways) {
      if (way.from !== (path.at(-1) ?? from) || seen.has(way.to)) continue;
      const next = [...path, way.to];
      if (way.to === to) return next;
      seen.add(way.to);
      paths.push(next);
    }
  }
  throw new Error(`Bug: no way leads a run from ${from} to ${to}.`);
}

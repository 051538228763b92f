/**
 * Drafts that gathered while a commit was under way become one change, if one change can say the
 * same: it is folded with its facts before its transitions, and has one author.
 */
import type { RunRecord } from '../../core/workflow/run-record.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { Draft } from './driver.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const lists = [
  'create',
  'transitions',
  'facts',
  'notes',
  'starts',
  'messages',
  'jobs',
  'events',
  'waits',
  'unwait',
] as const;

/** How many of the drafts, from the first one on, one change can hold. At least 1. */
export function mergeable(drafts: readonly Draft[]): number {
  const [first] = drafts;
  if (first === undefined) return 0;
  let waits = (first.waits?.length ?? 0) > 0;
  for (let i = 1; i < drafts.length; i += 1) {
    const draft = drafts[i] as Draft;
    if (draft.by !== first.by || draft.reason !== first.reason) return i;
    if (drafts[i - 1]?.end !== undefined) return i;
    // Waits are taken away before others are added: the order of two drafts would be lost.
    if (waits && (draft.unwait?.length ?? 0) > 0) return i;
    if (countsAnew(draft, drafts, i)) return i;
    waits ||= (draft.waits?.length ?? 0) > 0;
  }
  return drafts.length;
}

/** Its tries are set after a transition of an earlier draft has counted one. */
function countsAnew(draft: Draft, drafts: readonly Draft[], until: number): boolean {
  if (draft.facts === undefined) return false;
  for (const { step, attempts } of draft.facts) {
    if (attempts === undefined) continue;
    for (let i = 0; i < until; i += 1) {
      if (drafts[i]?.transitions.some(([no]) => no === step)) return true;
    }
  }
  return false;
}

/** `count` drafts, from the first one on, as one. */
export function merge(drafts: readonly Draft[], count: number): Draft {
  const first = drafts[0] as Draft;
  if (count === 1) return first;
  const merged: Mutable<Draft> = { ...first };
  for (let i = 1; i < count; i += 1) {
    const draft = drafts[i] as Draft;
    for (const list of lists) {
      const more = draft[list];
      if (more === undefined || more.length === 0) continue;
      const had = merged[list] as readonly unknown[] | undefined;
      (merged as Record<string, unknown>)[list] = had === undefined ? more : [...had, ...more];
    }
    if (draft.read !== undefined) merged.read = Math.max(merged.read ?? 0, draft.read);
    if (draft.end !== undefined) merged.end = draft.end;
  }
  return merged;
}

/** Of the run once the draft is applied. */
export function stateAfter(record: RunRecord, { transitions }: Draft): TaskState {
  for (let i = transitions.length - 1; i >= 0; i -= 1) {
    const [step, to] = transitions[i] as readonly [number, TaskState];
    if (step < 0) return to;
  }
  return record.state;
}

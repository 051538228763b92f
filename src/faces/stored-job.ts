/**
 * A job of the store as the faces show it. What processors show of a running job (its progress and
 * its status note) shares the one progress value that the engine keeps for each job.
 */
import type { JobView } from '../jobs/view.ts';
import type { StatusNote, StoredJob } from './job.ts';

/** What is stored as the progress of a job that a face runs. */
export interface ShownState {
  readonly value: unknown;
  readonly note: StatusNote | null;
}

export function toStoredJob(view: JobView): StoredJob {
  const { id, name, payload, priority, queue, tenantId, options, status, failures } = view;
  const { value, note } = shownState(view.progress);
  return {
    id,
    type: name,
    data: payload,
    priority,
    ...(options.attempts !== undefined && { attempts: options.attempts }),
    queue,
    tenantId,
    status,
    failures,
    metadata: options.metadata ?? {},
    enqueuedAt: new Date(view.enqueuedAt),
    runAt: toDate(view.runAt),
    startedAt: toDate(view.startedAt),
    finishedAt: toDate(view.finishedAt),
    result: view.result,
    progress: value,
    note,
    error: view.error,
  };
}

/** Jobs that were not run by a face show their progress as it is. */
function shownState(progress: unknown): ShownState {
  const state = progress as Partial<ShownState> | null;
  if (typeof state !== 'object' || state === null || !('note' in state)) {
    return { value: progress, note: null };
  }
  return { value: state.value ?? null, note: state.note ?? null };
}

function toDate(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}

/**
 * What happens to jobs in this process, in the words of the faces: a type is the engine's name, a
 * job that is dead has 'failed', one that will be tried again is 'retrying'.
 */
import type { JobErrorRecord } from '../core/error-record.ts';
import type { JobEvents } from '../jobs/lifecycle.ts';
import type { Engine } from './connection.ts';

interface JobEvent {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly tenantId: string;
}

interface AttemptEvent extends JobEvent {
  /** 1 for the first try. */
  readonly attempt: number;
}

/** Event → what its listeners are called with. */
export interface QueueEvents {
  readonly added: JobEvent;
  readonly started: AttemptEvent;
  readonly progress: AttemptEvent & { readonly progress: unknown };
  /** After the commit of the completion, as are the ones that follow. */
  readonly completed: AttemptEvent & { readonly result: unknown; readonly durationMs: number };
  readonly retrying: AttemptEvent & { readonly error: JobErrorRecord; readonly delayMs: number };
  /** For good. */
  readonly failed: AttemptEvent & { readonly error: JobErrorRecord };
  readonly cancelled: AttemptEvent & { readonly reason: string };
  /** Survived: the engine goes on. */
  readonly error: { readonly error: unknown; readonly where: string };
}

const engineEvents = {
  added: 'enqueued',
  started: 'started',
  progress: 'progress',
  completed: 'completed',
  retrying: 'retrying',
  failed: 'dead',
  cancelled: 'cancelled',
  error: 'error',
} as const satisfies Record<keyof QueueEvents, keyof JobEvents>;

/** Returns how to stop listening. */
export function queueEvents<E extends keyof QueueEvents>(
  engine: Engine,
  event: E,
  listener: (event: QueueEvents[E]) => void,
): () => void {
  return engine.on(engineEvents[event], (payload: object) => {
    if (event === 'error') return listener(payload as QueueEvents[E]);
    const { name: type, queue: scoped, ...rest } = payload as { name: string; queue: string };
    const queue = engine.unscoped(scoped);
    if (queue === null) return;
    const { progress } = rest as { progress?: unknown };
    const shown = event === 'progress' ? { progress: shownValue(progress) } : {};
    listener({ ...rest, ...shown, type, queue } as unknown as QueueEvents[E]);
  });
}

/** Beside the progress its status note is kept. */
function shownValue(progress: unknown): unknown {
  const isShown = typeof progress === 'object' && progress !== null && 'note' in progress;
  return isShown ? (progress as { value?: unknown }).value : progress;
}

/**
 * Keeps a thread below its memory limit. V8's own limit is no fence: one large allocation beyond it
 * (an array or a map that grows) ends the whole process, not the thread, and Buffers do not count.
 * So V8 is left room, and main looks twenty times a second at what the thread uses.
 */
import type { Worker } from 'node:worker_threads';

const lookEveryMs = 50;
/** Above the limit for so many looks, since garbage counts too; above twice the limit at once. */
const looksMax = 10;
const bytesPerMb = 1024 * 1024;
/** V8 makes no single object larger than 1 GB: two of them fit before it would give up. */
const headroomMb = 2048;

/** What V8 gets as its limit, for when main is too busy to look. */
export function hardLimitMb(memoryMbMax: number): number {
  return memoryMbMax + headroomMb;
}

/** Calls `onExceeded` once, with the megabytes in use. Returns a function that ends the watch. */
export function watchMemory(
  thread: Worker,
  memoryMbMax: number,
  onExceeded: (usedMb: number) => void,
): () => void {
  let ended = false;
  let above = 0;
  let timer: NodeJS.Timeout | undefined;
  const look = async () => {
    const usedMb = await usedMbOf(thread);
    if (ended) return;
    above = usedMb > memoryMbMax ? above + 1 : 0;
    if (above >= looksMax || usedMb > memoryMbMax * 2) return onExceeded(Math.round(usedMb));
    next();
  };
  const next = () => {
    timer = setTimeout(() => void look(), lookEveryMs);
    timer.unref();
  };
  next();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

/** Heap and Buffers; 0 for a thread that is ending or has not begun. */
async function usedMbOf(thread: Worker): Promise<number> {
  try {
    const heap = await thread.getHeapStatistics();
    return (heap.used_heap_size + heap.external_memory) / bytesPerMb;
  } catch {
    return 0;
  }
}

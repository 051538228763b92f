/**
 * Where workers come from: processes of this machine, replicas of a cluster. The scaler says how
 * many there shall be; how they start and end is the provider's.
 */
import type { WorkerInfo } from '../../ports/jobs.ts';

export interface WorkerProvider {
  /** How many there are meant to be: what was last asked for, by whomever. */
  count(): Promise<number>;
  /**
   * Resolves when it is under way; starting and ending take their time.
   * @param known what the workers last said of themselves: the least busy should end first.
   * @throws MillraceError SCALING_FAILED; then it is as it was, or on its way.
   */
  scaleTo(count: number, known: readonly WorkerInfo[]): Promise<void>;
  /** Hears what happens to workers meanwhile. */
  listen?(listener: WorkerListener): void;
  /** Ends what lives only as long as the scaler, and resolves when it has ended. */
  close(): Promise<void>;
}

export interface WorkerListener {
  onStarted(worker: { readonly pid: number }): void;
  /** It was told to end, and has. */
  onStopped(worker: { readonly pid: number }): void;
  /** It ended by itself, or never began; another one starts after `restartMs`. */
  onCrashed(worker: {
    readonly pid: number | null;
    readonly reason: string;
    readonly restartMs: number;
  }): void;
}

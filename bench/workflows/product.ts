/**
 * What the bench asks of a workflow engine. One adapter per product answers it; ours is in
 * `millrace.ts`, the other's in `../peers`, which has its package. Each runs in a process of its
 * own (`child.ts`), on the same server, which it finds empty.
 */

export interface WorkflowProduct {
  readonly name: string;
  /** In words: what was set to make it as fast as its own documents say. */
  readonly settings: string;
  open(url: string): Promise<WorkflowSession>;
}

export interface WorkflowSession {
  /** Starts a run of so many no-op steps, one after the other; resolves when it has completed. */
  runSequential(steps: number): Promise<void>;
  close(): Promise<void>;
}

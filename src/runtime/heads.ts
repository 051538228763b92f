/**
 * How far each partition of the log is known to reach, and who wants to hear of it. Every waker
 * (an append of this process, a notice, a poll) raises a head; the mode decides which wakers count.
 * A head is a hint: too low means a later wake-up, never a lost event.
 */

/** DESIGN.md section 6: which wakers feed the claim–handle–settle loop. */
export const deploymentModes = ['EventDrivenOnly', 'PollingOnly', 'Hybrid'] as const;
export type DeploymentMode = (typeof deploymentModes)[number];

export type WakeSource = 'local' | 'notice' | 'poll';

export class Heads {
  mode: DeploymentMode;
  readonly #known: number[];
  readonly #listeners = new Set<(partition: number) => void>();
  readonly wakes: Record<WakeSource, number> = { local: 0, notice: 0, poll: 0 };

  constructor(partitions: number, mode: DeploymentMode) {
    this.#known = new Array<number>(partitions).fill(0);
    this.mode = mode;
  }

  /**
   * Tells whoever listens that the partition reaches `head`, if the mode lets this source speak.
   */
  raise(partition: number, head: number, source: WakeSource): void {
    if (head <= (this.#known[partition] ?? 0)) return;
    const polled = source === 'poll';
    if (this.mode === 'PollingOnly' && !polled) return;
    if (this.mode === 'EventDrivenOnly' && polled) return;
    this.#known[partition] = head;
    this.wakes[source] += 1;
    for (const listener of this.#listeners) listener(partition);
  }

  of(partition: number): number {
    return this.#known[partition] ?? 0;
  }

  subscribe(listener: (partition: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

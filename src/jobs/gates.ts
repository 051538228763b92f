/**
 * Which wakers of a queue count. Everything that learns that jobs wait (an enqueue of this process,
 * a notice, the poller) tells the gates; the mode decides who is heard, and a queue that has a
 * conductor is left to that. Due times of delayed and retrying jobs, verbs and recovery do not come
 * this way: they count in every mode.
 */
import { MillraceError } from '../core/errors.ts';
import { type DeploymentMode, deploymentModes, type WakeSource } from '../runtime/heads.ts';
import type { Conductor } from './conducting.ts';

export class Gates {
  readonly #conductors = new Map<string, Conductor>();
  readonly #wake: (queue: string, lanes: readonly number[]) => void;
  readonly wakes: Record<WakeSource, number> = { local: 0, notice: 0, poll: 0 };
  #mode: DeploymentMode;

  /** @throws MillraceError CONFIG_INVALID */
  constructor(mode: DeploymentMode, wake: (queue: string, lanes: readonly number[]) => void) {
    this.#mode = checkMode(mode);
    this.#wake = wake;
  }

  get mode(): DeploymentMode {
    return this.#mode;
  }
  set mode(mode: DeploymentMode) {
    this.#mode = checkMode(mode);
  }

  /** Lanes of the queue have jobs, or (none named) state rows may be due. */
  tell(queue: string, lanes: readonly number[], source: WakeSource): void {
    const conductor = this.#conductors.get(queue);
    if (conductor !== undefined) {
      conductor.heard(source, lanes);
      return;
    }
    const polled = source === 'poll';
    if (this.#mode === 'PollingOnly' && !polled) return;
    if (this.#mode === 'EventDrivenOnly' && polled) return;
    this.wakes[source] += 1;
    this.#wake(queue, lanes);
  }

  /** The poller shall look at this queue. */
  polls(queue: string): boolean {
    return this.#mode !== 'EventDrivenOnly' && !this.#conductors.has(queue);
  }

  /** What this process enqueues is not claimed along with it: somebody has to find it first. */
  apart(queue: string): boolean {
    return this.#mode === 'PollingOnly' || this.#conductors.has(queue);
  }

  /** @throws MillraceError CONFIG_INVALID when the queue has one. Returns how to end it. */
  conduct(queue: string, conductor: Conductor): () => void {
    if (this.#conductors.has(queue)) {
      throw new MillraceError('CONFIG_INVALID', `Another event system conducts '${queue}' here.`, {
        fix: 'Stop that one first, or give each its own namespaces.',
      });
    }
    this.#conductors.set(queue, conductor);
    return () => {
      if (this.#conductors.get(queue) === conductor) this.#conductors.delete(queue);
    };
  }

  conductorOf(queue: string): Conductor | undefined {
    return this.#conductors.get(queue);
  }
}

function checkMode(mode: DeploymentMode): DeploymentMode {
  if (deploymentModes.includes(mode)) return mode;
  throw new MillraceError(
    'CONFIG_INVALID',
    `The mode is '${mode}'; it can be ${deploymentModes.join(', ')}.`,
  );
}

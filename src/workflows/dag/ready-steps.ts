/**
 * Steps that may begin, in the order in which they came to it. Batches wait in lines of their own:
 * one batchable step has no more of them at work than its `parallelism`.
 */
import type { LiveStep } from './live-step.ts';

interface Line {
  readonly max: number;
  atWork: number;
  steps: LiveStep[];
  /** The first that was not taken yet. */
  at: number;
}

export class ReadySteps {
  readonly #lines = new Map<number | null, Line>();

  add(step: LiveStep): void {
    if (step.queued) return;
    step.queued = true;
    this.#lineOf(step).steps.push(step);
  }

  get isEmpty(): boolean {
    for (const line of this.#lines.values()) if (hasNext(line)) return false;
    return true;
  }

  /** The next one that may begin; `left` must be told when it is over. */
  take(): LiveStep | null {
    for (const line of this.#lines.values()) {
      if (line.atWork >= line.max || !hasNext(line)) continue;
      const step = line.steps[line.at] as LiveStep;
      line.at += 1;
      if (line.at === line.steps.length) {
        line.steps = [];
        line.at = 0;
      }
      step.queued = false;
      line.atWork += 1;
      return step;
    }
    return null;
  }

  /** It is at work already: it was when its run was taken over. */
  enter(step: LiveStep): void {
    this.#lineOf(step).atWork += 1;
  }

  leave(step: LiveStep): void {
    this.#lineOf(step).atWork -= 1;
  }

  #lineOf({ planned }: LiveStep): Line {
    const { owner } = planned;
    let line = this.#lines.get(owner);
    if (line === undefined) {
      line = { max: planned.parallelism, atWork: 0, steps: [], at: 0 };
      this.#lines.set(owner, line);
    }
    return line;
  }
}

/** Those that an operator ended meanwhile are passed over. */
function hasNext(line: Line): boolean {
  while (line.at < line.steps.length) {
    const step = line.steps[line.at] as LiveStep;
    if (step.active && (step.state === 'pending' || step.state === 'enqueued')) return true;
    step.queued = false;
    line.at += 1;
  }
  line.steps = [];
  line.at = 0;
  return false;
}

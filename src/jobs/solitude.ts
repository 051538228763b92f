/**
 * Suspects run alone, so that the next crash blames nobody else. When some are known to wait, the
 * worker claims nothing until its slots are empty, takes one and nothing else, and starts nothing
 * beside it. Both have a limit: long jobs must not keep a suspect from running, nor a long suspect
 * all others.
 */

/**
 * Slots that are not empty by then stay as they are, and a suspect runs beside them. After three
 * seconds a job that takes five to fill the memory was still there, and an innocent was blamed.
 */
const emptyMsMax = 10_000;
/** What ends a process mostly does it soon. */
const aloneMsMax = 5_000;

export class Solitude {
  readonly #onEnded: () => void;
  #expectedAt: number | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(onEnded: () => void) {
    this.#onEnded = onEnded;
  }

  /** Suspects wait. */
  expect(): void {
    this.#expectedAt ??= performance.now();
  }

  /** The slots shall become empty. */
  get wanted(): boolean {
    return this.#expectedAt !== null && !this.hurried;
  }

  /** They did not, for too long. */
  get hurried(): boolean {
    return this.#expectedAt !== null && performance.now() - this.#expectedAt > emptyMsMax;
  }

  /** A suspect runs, and nothing may be started. */
  get taken(): boolean {
    return this.#timer !== null;
  }

  /** A claim that was open to suspects gave so many. */
  claimed(count: number): void {
    this.#expectedAt = count > 0 ? performance.now() : null;
  }

  begin(): void {
    this.#timer ??= setTimeout(() => this.end(), aloneMsMax);
  }

  end(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#onEnded();
  }
}

/**
 * Whether the broker is there. While it is away, groups wait for what it would bring: for as long
 * as it takes, or for a patience after which they read the log themselves.
 *
 *   there ── no answer ──> away ── patience over ──> out of patience (the log is read)
 *     ^                     │                            │
 *     └──────────── it answers or delivers ──────────────┘
 */
import type { Broker } from '../ports/broker.ts';

export interface PresenceOptions {
  readonly broker: Pick<Broker, 'health'>;
  readonly partitions: number;
  /** Null: groups wait for as long as it takes. */
  readonly patienceMs: number | null;
  /** How far a partition could be read so far. */
  headOf(partition: number): number;
}

/** Between two questions, while nothing comes by itself. */
const askEveryMs = 2_000;

export class Presence {
  readonly #options: PresenceOptions;
  #heardAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #awaySince: number | null;
  #frozen: readonly number[];
  #wasWaiting = true;
  /** For people: why it is thought to be away; null when it is there. */
  problem: string | null = 'not connected yet';

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#awaySince = performance.now();
    this.#frozen = new Array<number>(options.partitions).fill(0);
  }

  get away(): boolean {
    return this.#awaySince !== null;
  }

  /** Milliseconds since it was last known to be there; null while it is. */
  get awayForMs(): number | null {
    return this.#awaySince === null ? null : Math.round(performance.now() - this.#awaySince);
  }

  /** Away, and groups wait for it. */
  get waiting(): boolean {
    return this.away && !this.outOfPatience;
  }

  /** Away for so long that the log is read. */
  get outOfPatience(): boolean {
    const { patienceMs } = this.#options;
    if (this.#awaySince === null || patienceMs === null) return false;
    return performance.now() - this.#awaySince >= patienceMs;
  }

  /** How far a partition could be read when the broker went away. */
  frozenHead(partition: number): number {
    return this.#frozen[partition] ?? 0;
  }

  /** It delivered, assigned or accepted something. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#awaySince = null;
    this.problem = null;
  }

  /** Something failed: asked about soon. */
  doubt(): void {
    this.#heardAt = Number.NEGATIVE_INFINITY;
    this.#askedAt = Number.NEGATIVE_INFINITY;
  }

  /** It could not be reached. */
  failed(error: unknown): void {
    this.problem = error instanceof Error ? error.message : String(error);
    if (this.#awaySince !== null) return;
    this.#awaySince = performance.now();
    const { partitions, headOf } = this.#options;
    this.#frozen = Array.from({ length: partitions }, (_, partition) => headOf(partition));
  }

  mustAsk(now: number): boolean {
    return now - this.#heardAt >= askEveryMs && now - this.#askedAt >= askEveryMs;
  }

  async ask(): Promise<void> {
    this.#askedAt = performance.now();
    const { ok, problem } = await this.#options.broker.health();
    if (ok) this.heard();
    else this.failed(problem ?? 'it does not answer');
  }

  /** True once after groups began or ceased to wait: streams must look again. */
  turned(): boolean {
    const turned = this.#wasWaiting !== this.waiting;
    this.#wasWaiting = this.waiting;
    return turned;
  }
}

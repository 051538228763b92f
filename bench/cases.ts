/**
 * Exceptions made for the bench: system faults of invented hosts, for three tenants, of kinds that
 * the shipped packs resolve by themselves. Remembers which are under way and when each began.
 */
import { type EventDefinition, type EventInput, newEventId } from 'millrace';
import { ExceptionIngested } from 'millrace/exceptions';

type Ingested = typeof ExceptionIngested extends EventDefinition<infer Payload> ? Payload : never;
type Input = readonly [typeof ExceptionIngested, EventInput<Ingested>];

const kinds = [
  { exceptionType: 'CONNECTION_FAILURE', message: 'connection to the ledger was refused' },
  { exceptionType: 'TIMEOUT', message: 'no answer from the price feed within 3000 ms' },
  { exceptionType: 'JOB_FAILED', message: 'nightly export ended with status 1' },
  { exceptionType: 'APPLICATION_ERROR', message: 'could not parse the message of a partner' },
] as const;

export class Cases {
  readonly #startedAt = new Map<string, number>();
  #made = 0;
  latenciesMs: number[] = [];

  /** Exceptions ingested so far. */
  get started(): number {
    return this.#made;
  }

  get underWay(): number {
    return this.#startedAt.size;
  }

  beginStretch(): void {
    this.latenciesMs = [];
  }

  create(count: number): Input[] {
    const now = performance.now();
    return Array.from({ length: count }, (): Input => {
      const n = this.#made++;
      const exceptionId = newEventId();
      this.#startedAt.set(exceptionId, now);
      const { exceptionType, message } = kinds[n % kinds.length] as (typeof kinds)[number];
      const rawPayload = { message, host: `host-${n % 40}`, service: 'settlement', level: 'ERROR' };
      const payload = { exceptionId, domain: 'operations', exceptionType, rawPayload };
      return [ExceptionIngested, { tenantId: `tenant-${n % 3}`, payload }];
    });
  }

  finish(exceptionId: string): void {
    const startedAt = this.#startedAt.get(exceptionId);
    if (startedAt === undefined) return;
    this.#startedAt.delete(exceptionId);
    this.latenciesMs.push(performance.now() - startedAt);
  }

  /** Waits for the last feedback; an error names how many are missing after 30 s without one. */
  async allFinished(): Promise<void> {
    let before = this.underWay;
    let movedAt = performance.now();
    while (this.underWay > 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (this.underWay !== before) movedAt = performance.now();
      before = this.underWay;
      if (performance.now() - movedAt > 30_000) {
        throw new Error(`${before} exceptions got no feedback, ${[...this.#startedAt.keys()][0]}`);
      }
    }
  }
}

/**
 * Traces as the engine knows them: what is active as a `traceparent` (W3C Trace Context), and
 * running something below one. `src/telemetry` answers it with OpenTelemetry; without telemetry
 * nothing is active and calls are just calls.
 */

export interface Tracing {
  /** Of the active span; null for none. */
  current(): string | null;
  /** Runs `call` inside a new span, below `traceparent` if there is one, and ends it with it. */
  run<Result>(
    span: {
      readonly name: string;
      readonly traceparent: string | null;
      readonly attributes: Readonly<Record<string, string | number>>;
    },
    call: () => Result,
  ): Result;
}

/** Off until `use` is called: who holds it need not know whether telemetry was switched on. */
export class TracingSwitch implements Tracing {
  #tracing: Tracing | null = null;

  get on(): boolean {
    return this.#tracing !== null;
  }

  use(tracing: Tracing): void {
    this.#tracing = tracing;
  }

  current(): string | null {
    return this.#tracing === null ? null : this.#tracing.current();
  }

  run<Result>(span: Parameters<Tracing['run']>[0], call: () => Result): Result {
    return this.#tracing === null ? call() : this.#tracing.run(span, call);
  }
}

/**
 * What a step's handler is called with: the task, the results it builds upon, what an earlier try
 * left, and the tools of this try. Everything is read when it is asked for; most handlers look at
 * two members. Made by the driver for each try, and by the worker of another namespace.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobLog } from '../../core/job-context.ts';
import type { JsonValue } from '../../core/json.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import type { StepTools } from '../run/driver.ts';

/** What a driver knows of a step beside the tools. Values are frozen. */
export interface StepFactsSource {
  readonly taskUuid: string;
  readonly stepUuid: string;
  readonly correlationId: string;
  readonly namespace: string;
  readonly input: unknown;
  /** `handler.initialization` of the template. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What this very step works on: a batch cursor; null for nothing. */
  readonly stepInputs: unknown;
  /**
   * Of a step that comes before this one, directly or through others. The name of a batch worker
   * template gives the results of its instances in order. Undefined: no such step, or no result.
   */
  resultOf(name: string): unknown;
  /** Names under `dependencies`. */
  readonly dependsOn: readonly string[];
  /** Names of the steps before it that have ended well. */
  namesBefore(): readonly string[];
  /** While it is undone: what it had answered. */
  readonly ownResult: unknown;
  readonly checkpoint: unknown;
  saveCheckpoint(value: unknown): Promise<void>;
  /** Names under `publishes_events`. */
  readonly eventNames: readonly string[];
}

/** What a handler notes for its next try. Members beside these are kept as well. */
export interface Checkpoint {
  /** Where to go on. */
  readonly cursor?: JsonValue | undefined;
  readonly itemsProcessed?: number | undefined;
  readonly accumulatedResults?: JsonValue | undefined;
  readonly [member: string]: JsonValue | undefined;
}

export class StepContext implements StepTools {
  readonly #facts: StepFactsSource;
  readonly #tools: StepTools;
  #results: Readonly<Record<string, unknown>> | null = null;
  #direct: Readonly<Record<string, unknown>> | null = null;
  #checkpoint: { readonly value: unknown } | null = null;

  constructor(facts: StepFactsSource, tools: StepTools) {
    this.#facts = facts;
    this.#tools = tools;
  }

  get taskUuid(): string {
    return this.#facts.taskUuid;
  }
  /** The same for every try. */
  get stepUuid(): string {
    return this.#facts.stepUuid;
  }
  get stepName(): string {
    return this.#tools.stepName;
  }
  get runId(): string {
    return this.#facts.taskUuid;
  }
  get namespace(): string {
    return this.#facts.namespace;
  }
  get correlationId(): string {
    return this.#facts.correlationId;
  }
  /** Input of the run, frozen. */
  get inputData(): unknown {
    return this.#facts.input;
  }
  /** The same, by the name that workflows in TypeScript use. */
  get input(): unknown {
    return this.#facts.input;
  }
  /** Results of the steps that this one names as its dependencies, by those names. */
  get results(): Readonly<Record<string, unknown>> {
    if (this.#direct === null) {
      const direct: Record<string, unknown> = {};
      for (const name of this.#facts.dependsOn) direct[name] = this.#facts.resultOf(name);
      this.#direct = Object.freeze(direct);
    }
    return this.#direct;
  }
  /** `handler.initialization` of the template, frozen. */
  get stepConfig(): Readonly<Record<string, unknown>> {
    return this.#facts.config;
  }
  /** What this very step works on, such as a batch cursor; null for nothing. */
  get stepInputs(): unknown {
    return this.#facts.stepInputs;
  }
  /** In a compensation: what the step that is undone had answered. */
  get ownResult(): unknown {
    return this.#facts.ownResult;
  }
  /** Results of all steps before this one, by name. */
  get dependencyResults(): Readonly<Record<string, unknown>> {
    this.#results ??= Object.freeze(
      Object.fromEntries(
        this.#facts.namesBefore().map((name) => [name, this.#facts.resultOf(name)]),
      ),
    );
    return this.#results;
  }

  /** Retries so far: 0 in the first try. */
  get retryCount(): number {
    return this.#tools.attempt - 1;
  }
  /** Retries there may be: tries in all but the first. */
  get maxRetries(): number {
    return this.#tools.attemptsMax - 1;
  }
  isRetry(): boolean {
    return this.#tools.attempt > 1;
  }
  isLastRetry(): boolean {
    return this.#tools.attempt >= this.#tools.attemptsMax;
  }

  /** A member of the input; undefined when there is none. */
  getInput<T = unknown>(name: string): T | undefined {
    return memberOf(this.#facts.input, name) as T | undefined;
  }
  /** Undefined: no such step comes before this one, or it left no result. */
  getDependencyResult<T = unknown>(stepName: string): T | undefined {
    return this.#facts.resultOf(stepName) as T | undefined;
  }
  /** A member of a result, as deep as the path goes: `getDependencyField('cart', 'total')`. */
  getDependencyField<T = unknown>(
    stepName: string,
    ...path: readonly (string | number)[]
  ): T | undefined {
    let value = this.#facts.resultOf(stepName);
    for (const step of path) value = memberOf(value, step);
    return value as T | undefined;
  }
  /** Results of the steps whose names begin so, by name: those of all batches of a template. */
  getAllDependencyResults<T = unknown>(prefix = ''): Readonly<Record<string, T>> {
    const results: Record<string, T> = {};
    for (const name of this.#facts.namesBefore()) {
      if (name.startsWith(prefix)) results[name] = this.#facts.resultOf(name) as T;
    }
    return results;
  }

  /** What this try, or an earlier one, noted last; null for nothing. */
  get checkpoint(): unknown {
    return this.#checkpoint === null ? this.#facts.checkpoint : this.#checkpoint.value;
  }
  hasCheckpoint(): boolean {
    return this.checkpoint !== null;
  }
  get checkpointCursor(): unknown {
    return memberOf(this.checkpoint, 'cursor') ?? null;
  }
  get checkpointItemsProcessed(): number {
    const count = memberOf(this.checkpoint, 'itemsProcessed');
    return typeof count === 'number' ? count : 0;
  }
  get accumulatedResults(): unknown {
    return memberOf(this.checkpoint, 'accumulatedResults') ?? null;
  }

  get idempotencyKey(): string {
    return this.#tools.idempotencyKey;
  }
  get attempt(): number {
    return this.#tools.attempt;
  }
  get attemptsMax(): number {
    return this.#tools.attemptsMax;
  }
  get signal(): AbortSignal {
    return this.#tools.signal;
  }
  get log(): JobLog {
    return this.#tools.log;
  }
  get tx(): SqlTransaction | undefined {
    return this.#tools.tx;
  }

  // Getters that give a function: handlers take their context apart in the parameter list.
  get heartbeat(): () => void {
    return this.#tools.heartbeat;
  }
  /**
   * Notes how far the work is, durable when it resolves: the next try, after a failure or a crash,
   * finds it in `checkpoint`. Counts as a heartbeat.
   */
  get saveCheckpoint(): (checkpoint: Checkpoint) => Promise<void> {
    return async (checkpoint) => {
      this.#tools.heartbeat();
      await this.#facts.saveCheckpoint(checkpoint);
      this.#checkpoint = { value: checkpoint };
    };
  }
  /**
   * Gives a declared domain event its payload; it goes out if and when the result is stored.
   * @throws MillraceError HANDLER_FAILED when the step does not declare it.
   */
  get publishEvent(): (name: string, payload: unknown) => void {
    return (name, payload) => {
      if (!this.#facts.eventNames.includes(name)) throw this.#undeclared(name);
      this.#tools.publishEvent(name, payload);
    };
  }

  #undeclared(name: string): MillraceError {
    const { eventNames } = this.#facts;
    const known = eventNames.length === 0 ? 'none' : eventNames.join(', ');
    return new MillraceError(
      'HANDLER_FAILED',
      `Step '${this.stepName}' publishes '${name}' and declares ${known}.`,
      { fix: `Add '${name}' to publishes_events of the step.`, details: { event: name } },
    );
  }
}

function memberOf(value: unknown, member: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) {
    return undefined;
  }
  return (value as Readonly<Record<string | number, unknown>>)[member];
}

/** What the driver of a run knows of one of its steps, for the context of the handler. */
import { parseStored } from '../../core/json.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { RunInfo } from '../../ports/workflows.ts';
import type { StepFactsSource } from '../steps/step-context.ts';
import type { LiveGraph } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';

export interface SourceParts {
  readonly info: RunInfo;
  readonly input: unknown;
  readonly live: LiveGraph;
  saveCheckpoint(step: LiveStep, value: unknown): Promise<void>;
}

export class StepSource implements StepFactsSource {
  readonly #parts: SourceParts;
  readonly #step: LiveStep;
  /** In a compensation the step's own result is known as well. */
  readonly #undoing: boolean;
  #before: ReadonlySet<LiveStep> | null = null;

  constructor(parts: SourceParts, step: LiveStep, undoing = false) {
    this.#parts = parts;
    this.#step = step;
    this.#undoing = undoing;
  }

  get taskUuid(): string {
    return this.#parts.info.runId;
  }
  get stepUuid(): string {
    return stepUuid(this.#parts.info.runId, this.#step.no);
  }
  get correlationId(): string {
    return this.#parts.info.correlationId;
  }
  get namespace(): string {
    return this.#step.planned.elsewhere ?? this.#parts.info.namespace;
  }
  get input(): unknown {
    return this.#parts.input;
  }
  get config(): Readonly<Record<string, unknown>> {
    const { handler, compensate } = this.#step.planned.compiled;
    // A handler that undoes its own step has one configuration for both.
    return (this.#undoing && compensate !== null ? compensate : handler).initialization;
  }
  get stepInputs(): unknown {
    const { inputsJson } = this.#step;
    if (inputsJson === null) return null;
    const inputs = parseStored(inputsJson);
    if (this.#step.planned.elsewhere === null) return inputs;
    return withoutAddress(inputs);
  }
  get dependsOn(): readonly string[] {
    return this.#step.planned.compiled.dependencies;
  }
  get eventNames(): readonly string[] {
    return this.#step.planned.eventNames;
  }
  get ownResult(): unknown {
    return this.#undoing ? this.#step.value : undefined;
  }
  get checkpoint(): unknown {
    const { checkpointJson } = this.#step;
    return checkpointJson === null ? null : parseStored(checkpointJson);
  }

  resultOf(name: string): unknown {
    const { live } = this.#parts;
    const step = live.find(name);
    if (step !== undefined) {
      if (step === this.#step) return this.ownResult;
      return this.#comesBefore(step) ? step.value : undefined;
    }
    const planned = live.plan.step(name);
    if (planned?.compiled.type !== 'batch_worker') return undefined;
    const instances = live.instancesOf(planned.node).filter((one) => this.#comesBefore(one));
    return Object.freeze(instances.filter(({ satisfied }) => satisfied).map(({ value }) => value));
  }

  namesBefore(): readonly string[] {
    return [...this.#allBefore()]
      .filter(({ satisfied }) => satisfied)
      .sort((a, b) => a.no - b.no)
      .map(({ name }) => name);
  }

  saveCheckpoint(value: unknown): Promise<void> {
    return this.#parts.saveCheckpoint(this.#step, value);
  }

  #comesBefore(step: LiveStep): boolean {
    // Nearly always a direct one, and then nothing is gathered.
    return step.after.includes(this.#step) || this.#allBefore().has(step);
  }

  #allBefore(): ReadonlySet<LiveStep> {
    this.#before ??= this.#parts.live.before(this.#step);
    return this.#before;
  }
}

/** Where a step of another namespace was sent stands among its inputs, and is not for handlers. */
function withoutAddress(inputs: unknown): unknown {
  const { queue, try: no, ...rest } = inputs as Readonly<Record<string, unknown>>;
  return Object.keys(rest).length === 0 ? null : Object.freeze(rest);
}

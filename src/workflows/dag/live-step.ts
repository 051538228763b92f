/**
 * A step of a run while it is driven: its record as it will be once the draft at hand is stored,
 * and its place in the graph of the steps that there are.
 */
import type { JobErrorRecord } from '../../core/error-record.ts';
import { parseStored } from '../../core/json.ts';
import type { StepKind, StepRecord } from '../../core/workflow/run-record.ts';
import { isSatisfied, type StepState } from '../../core/workflow/states.ts';
import type { PlannedStep } from './plan.ts';

export class LiveStep implements StepRecord {
  readonly no: number;
  readonly name: string;
  readonly kind: StepKind;
  readonly template: string;
  readonly planned: PlannedStep;
  createdAt = 0;
  state: StepState = 'pending';
  attempts = 0;
  inputsJson: string | null = null;
  resultJson: string | null = null;
  error: JobErrorRecord | null = null;
  checkpointJson: string | null = null;
  wakeAt: number | null = null;
  startedAt: number | null = null;
  finishedAt: number | null = null;
  by: string | null = null;

  /** False: an outcome that counts no more created it, and none that counts did so again. */
  active = true;
  before: LiveStep[] = [];
  after: LiveStep[] = [];
  /** Of `before`, those that are not done. */
  waitingFor = 0;
  /** Of the try that is under way. */
  cancel: AbortController | null = null;
  /** In the list of those that may begin. */
  queued = false;
  #value: { readonly json: string; readonly value: unknown } | null = null;

  constructor(no: number, name: string, planned: PlannedStep) {
    const { type, name: template } = planned.compiled;
    this.no = no;
    this.name = name;
    this.kind = type;
    this.template = template;
    this.planned = planned;
  }

  static restore(record: StepRecord, planned: PlannedStep): LiveStep {
    const step = new LiveStep(record.no, record.name, planned);
    const { createdAt, state, attempts, inputsJson, resultJson, error } = record;
    const { checkpointJson, wakeAt, startedAt, finishedAt, by } = record;
    return Object.assign(step, {
      ...{ createdAt, state, attempts, inputsJson, resultJson, error },
      ...{ checkpointJson, wakeAt, startedAt, finishedAt, by },
    });
  }

  get dependsOn(): readonly string[] {
    return this.before.map(({ name }) => name);
  }
  get satisfied(): boolean {
    return isSatisfied(this.state);
  }
  /** A failed batch that shall not hold up the others: it is left for somebody to look into. */
  get isolated(): boolean {
    return this.state === 'error' && this.failureStrategy === 'isolate';
  }
  /** Steps that come after it need not wait for it any more. */
  get done(): boolean {
    return this.satisfied || this.isolated;
  }
  failureStrategy: 'continue_on_failure' | 'fail_fast' | 'isolate' | null = null;

  /** Its result, parsed once and frozen; undefined while there is none. */
  get value(): unknown {
    const { resultJson } = this;
    if (resultJson === null) return this.satisfied ? null : undefined;
    if (this.#value?.json !== resultJson) {
      this.#value = { json: resultJson, value: parseStored(resultJson) };
    }
    return this.#value?.value;
  }
}

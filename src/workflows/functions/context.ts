/**
 * What a durable function is called with, as types; `function-context.ts` makes the values. Each
 * member that waits has a key of its own in the run, under which its answer is kept: the function
 * may be called again at any time, and gets the answers that there are without anything running
 * twice.
 */
import type { BackoffOption } from '../../core/backoff.ts';
import type { EventDefinition } from '../../core/event.ts';
import type { JobLog } from '../../core/job-context.ts';
import type { StandardSchemaV1 } from '../../core/schema.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import type { WorkflowDefinition } from '../definition.ts';
import type { StepTools } from '../run/driver.ts';
import type { Duration } from './duration.ts';

export interface StepRetry {
  /** Tries in all; 3 by default. */
  readonly attempts?: number | undefined;
  /** Exponential from one second by default. */
  readonly backoff?: BackoffOption | undefined;
}

/** What the function of a step gets. `tx` is there with `transactional: true`. */
export interface FunctionStepTools<Transactional extends boolean = boolean>
  extends Omit<StepTools, 'tx'> {
  readonly tx: Transactional extends true ? SqlTransaction : undefined;
}

export type StepFunction<T, Transactional extends boolean = false> = (
  tools: FunctionStepTools<Transactional>,
) => T | Promise<T>;

/** Undoes a step. Runs as a step of its own, `undo:<key>`, and must bear being called again. */
export type Compensation<T> = (result: T, tools: FunctionStepTools<false>) => unknown;

export interface RunOptions<T, Transactional extends boolean = false> {
  readonly retry?: StepRetry | undefined;
  /** A try that takes longer has failed; 300,000 by default, 0 for no limit. */
  readonly timeoutMs?: number | undefined;
  /** True: what the step writes through `tools.tx` commits together with its result. */
  readonly transactional?: Transactional | undefined;
  /** Called with the step's result when the function fails later, in reverse order. */
  readonly compensate?: Compensation<T> | undefined;
  /** Of the compensation; as for the step by default. */
  readonly compensateRetry?: StepRetry | undefined;
  /**
   * False: a try whose end nobody saw, because its process died, is not repeated. The step fails
   * and an operator decides. Costs a commit before the step.
   */
  readonly idempotent?: boolean | undefined;
}

export interface WaitOptions<Otherwise> {
  /** Its place in the run; made of what is waited for by default. */
  readonly as?: string | undefined;
  /** Fails with WORKFLOW_TIMEOUT then. Without it the wait has no end. */
  readonly timeoutMs?: Duration | undefined;
  /** What the wait gives when its time is over, instead of failing. */
  readonly otherwise?: Otherwise | undefined;
}

export interface EventWaitOptions<Otherwise> extends WaitOptions<Otherwise> {
  /** Only events with this key; any by default. */
  readonly key?: string | undefined;
}

export interface SignalWaitOptions<T, Otherwise> extends WaitOptions<Otherwise> {
  /** Checks what was sent. What does not fit is refused, and waited for again. */
  readonly schema?: StandardSchemaV1<unknown, T> | undefined;
}

export interface ChildOptions {
  /** Its place in the run; made of the workflow's name by default. */
  readonly key?: string | undefined;
  readonly priority?: number | undefined;
}

export interface InvokeOptions extends ChildOptions {
  /** Fails with WORKFLOW_TIMEOUT then, and cancels the child. */
  readonly timeoutMs?: Duration | undefined;
}

export interface ApprovalOptions {
  /** What is asked; shown to whoever decides. */
  readonly message?: string | undefined;
  readonly timeoutMs?: Duration | undefined;
  /** When nobody decided in time; 'reject' by default. */
  readonly onTimeout?: 'approve' | 'reject' | 'fail' | undefined;
}

export interface Decision {
  readonly approved: boolean;
  /** Who decided; `timeout` when nobody did. */
  readonly by: string;
  readonly comment: string | null;
}

export interface MapOptions extends Omit<RunOptions<never>, 'compensate' | 'transactional'> {
  /** Items under way at once; 10 by default, at most 1,000. */
  readonly concurrency?: number | undefined;
}

/** `as` on its own, `otherwise` in the type of what is waited for. */
type Or<T, Otherwise> = [Otherwise] extends [never] ? T : T | Otherwise;

export interface WorkflowContext {
  readonly runId: string;
  readonly tenantId: string;
  readonly correlationId: string;
  /** 1, and one more each time an operator had the run tried again. */
  readonly attempt: number;
  /** Aborted when the run is cancelled or lost. */
  readonly signal: AbortSignal;
  readonly log: JobLog;

  /** A step: runs once, and its result is kept. Its key is unique in the run. */
  run<T>(key: string, step: StepFunction<T>): Promise<T>;
  run<T, Transactional extends boolean = false>(
    key: string,
    options: RunOptions<NoInfer<T>, Transactional>,
    step: StepFunction<T, Transactional>,
  ): Promise<T>;
  /** The same, options last: a compensation gets the type of the step's result this way. */
  run<T, Transactional extends boolean = false>(
    key: string,
    step: StepFunction<T, Transactional>,
    options: RunOptions<NoInfer<T>, Transactional>,
  ): Promise<T>;

  /** Goes on after that time, whatever becomes of the process meanwhile. */
  sleep(duration: Duration): Promise<void>;
  sleep(key: string, duration: Duration): Promise<void>;
  sleepUntil(moment: Date | number): Promise<void>;
  sleepUntil(key: string, moment: Date | number): Promise<void>;

  /**
   * Waits for a published event and gives its payload. Events that were published before the wait
   * began are not seen.
   */
  waitForEvent<P, Otherwise = never>(
    event: EventDefinition<P>,
    options?: EventWaitOptions<Otherwise>,
  ): Promise<Or<P, Otherwise>>;
  waitForEvent<P = unknown, Otherwise = never>(
    eventType: string,
    options?: EventWaitOptions<Otherwise>,
  ): Promise<Or<P, Otherwise>>;
  /** Waits for a signal to this run. Signals that came before are kept, in their order. */
  waitForSignal<T = unknown, Otherwise = never>(
    name: string,
    options?: SignalWaitOptions<T, Otherwise>,
  ): Promise<Or<T, Otherwise>>;

  /** Runs another workflow and waits for its result. It is cancelled with this run. */
  invoke<Input, Result>(
    definition: WorkflowDefinition<Input, Result>,
    input: NoInfer<Input>,
    options?: InvokeOptions,
  ): Promise<Result>;
  /** Starts another workflow and goes on; gives its run's id. It lives its own life. */
  start<Input, Result>(
    definition: WorkflowDefinition<Input, Result>,
    input: NoInfer<Input>,
    options?: ChildOptions,
  ): Promise<{ readonly runId: string }>;

  /** Waits until somebody decides. */
  approval(key: string, options?: ApprovalOptions): Promise<Decision>;

  /**
   * A step for each item, some at a time: `<key>[0]`, `<key>[1]`, … Results in the order of the
   * items. When one has failed for good no further ones begin, and its error is thrown.
   */
  map<Item, T>(
    key: string,
    items: readonly Item[],
    step: (item: Item, index: number, tools: FunctionStepTools<false>) => T | Promise<T>,
    options?: MapOptions,
  ): Promise<T[]>;
  /**
   * Branches that use the context side by side. When one fails the others go on to their end first,
   * then its error is thrown.
   */
  parallel<const Branches extends Readonly<Record<string, () => unknown>>>(
    branches: Branches,
  ): Promise<{ -readonly [Name in keyof Branches]: Awaited<ReturnType<Branches[Name]>> }>;

  /** True where the new code shall run: for runs that had not passed here when it was deployed. */
  patch(id: string): boolean;
  /** Milliseconds since 1970, the same at every replay. */
  now(): number;
  /** 0 up to 1, the same at every replay. With a key it needs no fixed order. */
  random(key?: string): number;
  /** A UUID, the same at every replay. With a key it needs no fixed order. */
  uuid(key?: string): string;

  /** Publishes an event that the workflow declares, once. */
  publishEvent(name: string, payload: unknown, options?: { readonly key?: string }): Promise<void>;
}

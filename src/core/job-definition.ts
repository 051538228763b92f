/**
 * Jobs as users define them: one definition gives the types of payload, result and progress to
 * whoever enqueues, handles and waits. Everything is checked here once; the members of a definition
 * are what the runtime calls for each job.
 */
import type { Backoff, BackoffOption } from './backoff.ts';
import type { Upcaster } from './event-definition.ts';
import type { NewJob } from './job.ts';
import type { BatchJob, JobBatchContext, JobContext } from './job-context.ts';
import {
  decodePayload,
  decodeSettings,
  type JobSettings,
  printProgress,
  printResult,
  usualSettings,
} from './job-decoding.ts';
import type { JobOptions } from './job-options.ts';
import { prepareJob } from './job-preparation.ts';
import { type JobBody, parseJobRules, type UniqueOption } from './job-rules.ts';
import type { DeepReadonly } from './json.ts';
import type { StandardSchemaV1 } from './schema.ts';

/** Frozen. `Input` is what the schema takes where that differs from the payload it gives. */
export interface JobDefinition<
  Payload = unknown,
  Result = unknown,
  Progress = unknown,
  Input = Payload,
> {
  readonly name: string;
  readonly queue: string;
  readonly version: number;
  readonly priority: number;
  /** Tries in all. */
  readonly attempts: number;
  readonly backoff: Backoff;
  /** 0 for no limit. */
  readonly timeoutMs: number;
  readonly transactional: boolean;
  readonly description: string | undefined;
  readonly body: JobBody;
  /**
   * Validates and prints what is enqueued. 1.2 µs beyond the schema for a payload of 235 bytes.
   * @throws MillraceError JOB_INVALID, PAYLOAD_NOT_JSON or JOB_TOO_LARGE, naming the field.
   */
  prepare(payload: Input | DeepReadonly<Input>, options?: JobOptions, nowMs?: number): NewJob;
  /**
   * A stored payload as the handler gets it: a copy of its own for each call.
   * @throws MillraceError JOB_VERSION_UNSUPPORTED, or JOB_INVALID for what upcasters gave.
   */
  decode(version: number, payloadJson: string): Payload;
  /** The definition with what the job itself says otherwise. Never throws for what was stored. */
  settings(optionsJson: string | null): JobSettings;
  /** @throws MillraceError RESULT_INVALID naming the path. Null for undefined. */
  printResult(value: unknown): string | null;
  decodeResult(resultJson: string | null): Result;
  /** @throws MillraceError HANDLER_FAILED naming the path. */
  printProgress(value: Progress): string;
}

// biome-ignore lint/suspicious/noExplicitAny: definitions of different payloads share one list
export type AnyJobDefinition = JobDefinition<any, any, any, any>;

/** What enqueue() takes for a definition. */
export type JobInput<D extends AnyJobDefinition> =
  D extends JobDefinition<infer _P, infer _R, infer _Q, infer Input>
    ? Input | DeepReadonly<Input>
    : never;
/** What its handler gets. */
export type JobPayload<D extends AnyJobDefinition> =
  D extends JobDefinition<infer Payload, infer _R, infer _Q, infer _I> ? Payload : never;
/** What its handler returns, as it reads after the store. */
export type JobResult<D extends AnyJobDefinition> =
  D extends JobDefinition<infer _P, infer Result, infer _Q, infer _I> ? Result : never;
export type JobProgress<D extends AnyJobDefinition> =
  D extends JobDefinition<infer _P, infer _R, infer Progress, infer _I> ? Progress : never;

interface DefineOptions<Payload, Input, ResultInput, Result, Progress> {
  /** 'default' by default. */
  readonly queue?: string | undefined;
  /** Of the payload. Without one the payload is what the handler's parameter says, unchecked. */
  readonly schema?: StandardSchemaV1<Input, Payload> | undefined;
  /** Checks what the handler returns, and gives its type. */
  readonly result?: StandardSchemaV1<ResultInput, Result> | undefined;
  readonly progress?: StandardSchemaV1<unknown, Progress> | undefined;
  /** 1 and up; raise it when stored payloads no longer fit the schema. */
  readonly version?: number | undefined;
  /** `{ 1: … }` turns a stored payload of version 1 into version 2, before the schema checks it. */
  readonly upcasters?: Readonly<Record<number, Upcaster>> | undefined;
  /** Smaller runs first; 0 by default. */
  readonly priority?: number | undefined;
  /** Tries in all; 3 by default. */
  readonly attempts?: number | undefined;
  /** Exponential from one second by default. */
  readonly backoff?: BackoffOption | undefined;
  /** A try that takes longer has failed; 300,000 by default, 0 for no limit. */
  readonly timeoutMs?: number | undefined;
  /** Fairness and limit key beside the tenant; none by default. */
  readonly key?: ((payload: Payload) => string | null | undefined) | undefined;
  readonly unique?: ((payload: Payload) => UniqueOption | null | undefined) | undefined;
  readonly description?: string | undefined;
}

/** Handled one by one: by `handler`, in a thread by `sandbox`, or by another process. */
export interface DefineJobOptions<
  Payload,
  Input,
  ResultInput,
  Result,
  Progress,
  Transactional extends boolean,
  Returned,
> extends DefineOptions<Payload, Input, ResultInput, Result, Progress> {
  /** True: `ctx.tx` is a transaction of the job's tenant, which commits with the completion. */
  readonly transactional?: Transactional | undefined;
  readonly batch?: undefined;
  readonly handler?:
    | ((
        payload: Payload,
        context: JobContext<Progress, Transactional>,
      ) => Returned | Promise<Returned>)
    | undefined;
  /** The module's default export is called with (payload, ctx) in a thread of its own. */
  readonly sandbox?:
    | { readonly module: URL | string; readonly memoryMbMax?: number | undefined }
    | undefined;
}

/** Handled many at a time. */
export interface DefineBatchJobOptions<Payload, Input, ResultInput, Result, Progress, Returned>
  extends DefineOptions<Payload, Input, ResultInput, Result, Progress> {
  /** `waitMs`: waits so long for a fuller batch; 0 by default. */
  readonly batch: { readonly max: number; readonly waitMs?: number | undefined };
  /** Answers with a result or an Error for each job, in order. */
  readonly handler: (
    jobs: readonly BatchJob<Payload, Progress>[],
    context: JobBatchContext,
  ) => readonly Returned[] | Promise<readonly Returned[]>;
  readonly transactional?: false | undefined;
  readonly sandbox?: undefined;
}

/**
 * Declares a job.
 * @example
 * const SendInvoice = defineJob('invoice.send', {
 *   queue: 'invoices',
 *   schema: z.object({ invoiceId: z.string() }),
 *   handler: async ({ invoiceId }, ctx) => ({ sentAt: await send(invoiceId, ctx.signal) }),
 * });
 * @throws MillraceError DEFINITION_INVALID, or CONFIG_INVALID for the backoff.
 */
export function defineJob<
  Payload = unknown,
  Input = Payload,
  Progress = unknown,
  ResultInput = unknown,
  Returned extends ResultInput | Error = ResultInput,
  Result = Exclude<Returned, Error>,
>(
  name: string,
  options: DefineBatchJobOptions<Payload, Input, ResultInput, Result, Progress, Returned>,
): JobDefinition<Payload, Result, Progress, Input>;
export function defineJob<
  Payload = unknown,
  Input = Payload,
  Progress = unknown,
  Transactional extends boolean = false,
  ResultInput = unknown,
  Returned extends ResultInput = ResultInput,
  Result = Returned,
>(
  name: string,
  options?: DefineJobOptions<
    Payload,
    Input,
    ResultInput,
    Result,
    Progress,
    Transactional,
    Returned
  >,
): JobDefinition<Payload, Result, Progress, Input>;
export function defineJob(name: string, options: object = {}): AnyJobDefinition {
  const rules = parseJobRules(name, options);
  const { queue, version, priority, attempts, backoff, timeoutMs, transactional } = rules;
  const usual = usualSettings(rules);
  return Object.freeze<AnyJobDefinition>({
    name,
    queue,
    version,
    priority,
    attempts,
    backoff,
    timeoutMs,
    transactional,
    description: rules.description,
    body: rules.body,
    prepare: (payload, options, nowMs = Date.now()) => prepareJob(rules, payload, options, nowMs),
    decode: (version, payloadJson) => decodePayload(rules, version, payloadJson),
    settings: (optionsJson) => decodeSettings(usual, optionsJson),
    printResult: (value) => printResult(rules, value),
    decodeResult: (resultJson) => (resultJson === null ? undefined : JSON.parse(resultJson)),
    printProgress: (value) => printProgress(rules, value),
  });
}

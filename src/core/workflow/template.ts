/**
 * A declared workflow after compiling: every default filled in, every name resolved, frozen. By
 * compile-template.ts from what a YAML file or a program wrote; drivers read nothing else. What is
 * stored with a run is `canonicalJson`, so a template that changes never changes a run.
 */
import type { JsonValue } from '../json.ts';
import type { StepType, TemplateGraph } from './graph.ts';
import type { IdentityStrategy } from './identity.ts';

export const deliveryModes = ['fire_and_forget', 'durable', 'acknowledged', 'broadcast'] as const;
export type DeliveryMode = (typeof deliveryModes)[number];

export const publishConditions = [
  'success',
  'failure',
  'retryable_failure',
  'permanent_failure',
  'always',
] as const;
export type PublishCondition = (typeof publishConditions)[number];

export const backoffNames = ['none', 'linear', 'exponential', 'fibonacci'] as const;
export type BackoffName = (typeof backoffNames)[number];

export const failureStrategies = ['continue_on_failure', 'fail_fast', 'isolate'] as const;
export type FailureStrategy = (typeof failureStrategies)[number];

export type JsonObject = { readonly [key: string]: JsonValue };

/** What to call: resolved by name when a process begins to work on the template. */
export interface CompiledHandler {
  readonly callable: string;
  /** Of a class; null: `call`. */
  readonly method: string | null;
  /** How the callable is found; null: by its name among the handlers of the process. */
  readonly resolver: string | null;
  /** Given to the handler as `stepConfig`. */
  readonly initialization: JsonObject;
}

export interface CompiledRetry {
  readonly retryable: boolean;
  /** Counts the first try; 1 when not retryable. */
  readonly maxAttempts: number;
  readonly backoff: BackoffName;
  readonly backoffBaseMs: number;
  readonly maxBackoffMs: number;
}

/** Of a batchable step. */
export interface CompiledBatch {
  readonly batchSize: number;
  /** Batches that run at a time. */
  readonly parallelism: number;
  readonly cursorField: string;
  /** Name of the batch_worker step. */
  readonly workerTemplate: string;
  readonly failureStrategy: FailureStrategy;
}

/** A domain event as a step publishes it. */
export interface PublishedEvent {
  readonly name: string;
  readonly description: string | undefined;
  /** JSON Schema of the payload: its own, or that of the template's `domain_events`. */
  readonly schema: JsonObject | undefined;
  /** Undefined: as the process that publishes has configured. */
  readonly delivery: DeliveryMode | undefined;
  readonly condition: PublishCondition;
  /** Name of a publisher with hooks; null: the payload is published as it is. */
  readonly publisher: string | null;
}

export interface DeclaredEvent {
  readonly name: string;
  readonly description: string | undefined;
  readonly schema: JsonObject | undefined;
}

export interface CompiledStep {
  /** Its place in the template, and its number in the graph. */
  readonly no: number;
  readonly name: string;
  readonly description: string | undefined;
  readonly type: StepType;
  readonly handler: CompiledHandler;
  /** Another namespace whose workers run it; null: where the run is. */
  readonly namespace: string | null;
  readonly systemDependency: string | null;
  readonly dependencies: readonly string[];
  readonly retry: CompiledRetry;
  /** Milliseconds of one try; 0: no limit. */
  readonly timeoutMs: number;
  readonly publishesEvents: readonly PublishedEvent[];
  /** Null unless batchable. */
  readonly batch: CompiledBatch | null;
  /** JSON Schema of what the handler answers. */
  readonly resultSchema: JsonObject | null;
  /** Kept as it was written; the engine does not read it. */
  readonly composition: JsonValue;
  /** Undoes the step when the run fails for good. */
  readonly compensate: CompiledHandler | null;
  /** The handler gets a transaction, which commits with its result. */
  readonly transactional: boolean;
}

/** Undefined: as it is configured. */
export interface CompiledLifecycle {
  readonly maxDurationMinutes: number | undefined;
  readonly maxWaitingForDependenciesMinutes: number | undefined;
  readonly maxWaitingForRetryMinutes: number | undefined;
  readonly maxStepsInProcessMinutes: number | undefined;
  readonly stalenessAction: 'dlq';
  readonly autoFailOnTimeout: boolean | undefined;
  readonly autoDlqOnTimeout: boolean | undefined;
}

/** As the queue knows limits. */
export interface CompiledLimits {
  readonly concurrency?: number;
  readonly rate?: { readonly max: number; readonly perMs: number };
}

export interface CompiledTemplate {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly description: string | undefined;
  readonly metadata: {
    readonly author: string | undefined;
    readonly tags: readonly string[];
    readonly documentationUrl: string | undefined;
    readonly createdAt: string | undefined;
    readonly updatedAt: string | undefined;
  };
  readonly systemDependencies: { readonly primary: string; readonly secondary: readonly string[] };
  readonly domainEvents: readonly DeclaredEvent[];
  /** JSON Schema of the input. */
  readonly inputSchema: JsonObject | null;
  readonly identity: IdentityStrategy;
  /** Smaller runs first. */
  readonly priority: number;
  /** Where the concurrency key stands in the input; null: there is none. */
  readonly keyPath: readonly string[] | null;
  /** Of all its runs. */
  readonly limits: CompiledLimits | null;
  /** Of the runs with one key. */
  readonly keyLimits: CompiledLimits | null;
  readonly lifecycle: CompiledLifecycle;
  /** By number, as they were written. */
  readonly steps: readonly CompiledStep[];
  readonly graph: TemplateGraph;
  /** Environment whose overrides are in it; null: none was asked for. */
  readonly environment: string | null;
  /** All of the above but the graph, with sorted keys: the same text means the same template. */
  readonly canonicalJson: string;
}

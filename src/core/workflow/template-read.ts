/** A template as its fields were read: names as in YAML, defaults filled in, nothing resolved. */
import type { JsonValue } from '../json.ts';
import type { StepType } from './graph.ts';
import type { IdentityStrategy } from './identity.ts';
import type {
  BackoffName,
  DeliveryMode,
  FailureStrategy,
  JsonObject,
  PublishCondition,
} from './template.ts';

export interface ReadHandler {
  readonly callable: string;
  readonly method?: string;
  readonly resolver?: string;
  readonly initialization: JsonObject;
}

export interface ReadRetry {
  readonly retryable: boolean;
  readonly max_attempts: number;
  readonly backoff: BackoffName;
  readonly backoff_base_ms: number;
  readonly max_backoff_ms?: number;
}

interface ReadPublished {
  readonly name: string;
  readonly description?: string;
  readonly schema?: JsonObject;
  readonly delivery?: DeliveryMode;
  readonly condition: PublishCondition;
  readonly publisher?: string;
}

export interface ReadStep {
  readonly name: string;
  readonly description?: string;
  readonly type: StepType;
  readonly handler: ReadHandler;
  readonly namespace?: string;
  readonly system_dependency?: string;
  readonly dependencies: readonly string[];
  readonly retry: ReadRetry;
  readonly timeout_seconds?: number;
  readonly publishes_events: readonly ReadPublished[];
  readonly batch_config?: {
    readonly batch_size: number;
    readonly parallelism: number;
    readonly cursor_field: string;
    readonly worker_template: string;
    readonly failure_strategy: FailureStrategy;
  };
  readonly result_schema?: JsonObject;
  readonly composition?: JsonValue;
  readonly compensate?: ReadHandler;
  readonly transactional: boolean;
}

/** What an environment says about one step, or about ALL. */
export interface ReadOverride {
  readonly name: string;
  readonly handler?: { readonly initialization?: JsonObject };
  readonly timeout_seconds?: number;
  readonly retry?: Partial<ReadRetry>;
}

export interface ReadTemplate {
  readonly name: string;
  readonly namespace_name: string;
  readonly version: string;
  readonly description?: string;
  readonly metadata: {
    readonly author?: string;
    readonly tags: readonly string[];
    readonly documentation_url?: string;
    readonly created_at?: string;
    readonly updated_at?: string;
  };
  readonly system_dependencies: { readonly primary: string; readonly secondary: readonly string[] };
  readonly domain_events: readonly {
    readonly name: string;
    readonly description?: string;
    readonly schema?: JsonObject;
  }[];
  readonly input_schema?: JsonObject;
  readonly identity: IdentityStrategy;
  readonly priority: number;
  readonly concurrency?: {
    readonly key?: string;
    readonly limit?: number;
    readonly total_limit?: number;
  };
  readonly rate?: {
    readonly limit: number;
    readonly period_seconds: number;
    readonly scope: 'workflow' | 'key';
  };
  readonly lifecycle: {
    readonly max_duration_minutes?: number;
    readonly max_waiting_for_dependencies_minutes?: number;
    readonly max_waiting_for_retry_minutes?: number;
    readonly max_steps_in_process_minutes?: number;
    readonly staleness_action: 'dlq';
    readonly auto_fail_on_timeout?: boolean;
    readonly auto_dlq_on_timeout?: boolean;
  };
  readonly steps: readonly ReadStep[];
  readonly environments: Readonly<
    Record<string, { readonly steps?: readonly ReadOverride[] } | undefined>
  >;
}

/** Of a template with faults any part may be missing: what was wrong is reported and left out. */
export type Partly<T> = T extends readonly (infer Item)[]
  ? readonly (Partly<Item> | null)[]
  : T extends object
    ? { readonly [K in keyof T]?: Partly<T[K]> | undefined }
    : T;

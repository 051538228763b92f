/**
 * From what a face is given to what the engine enqueues. A face knows no schema of its own; what it
 * leaves out is decided by the worker that runs the job, so the definitions here are for enqueueing
 * only and say nothing about attempts, backoff and time limits.
 */
import { describeKind } from '../core/describe.ts';
import { MillraceError } from '../core/errors.ts';
import { findTextFault } from '../core/event-fields.ts';
import { defineJob, type JobDefinition } from '../core/job-definition.ts';
import type { JobOptions } from '../core/job-options.ts';
import type { JobRequest } from './job.ts';

const definitions = new Map<string, JobDefinition>();
const definitionsMax = 1_000;
/** Enqueue stores what differs from the definition: no job asks for exactly this. */
const unlikely = { attempts: 997, timeoutMs: 2_073_599_997 } as const;

/** @throws MillraceError DEFINITION_INVALID when type or queue is not a name. */
export function definitionFor(queue: string, type: string): JobDefinition {
  const key = `${queue}\n${type}`;
  const known = definitions.get(key);
  if (known !== undefined) return known;
  const definition = defineJob(type, { queue, ...unlikely });
  if (definitions.size >= definitionsMax) definitions.clear();
  definitions.set(key, definition);
  return definition;
}

export interface Enqueue {
  readonly definition: JobDefinition;
  readonly payload: unknown;
  readonly options: JobOptions;
}

/** @throws MillraceError JOB_INVALID or DEFINITION_INVALID naming what is wrong. */
export function toEnqueue(queue: string, input: JobRequest, priorityOfQueue = 0): Enqueue {
  if (typeof input !== 'object' || input === null) {
    throw new MillraceError('JOB_INVALID', `The job is ${describeKind(input)}, not an object.`, {
      fix: "Give { type: 'invoice.processing', data: { … } }.",
    });
  }
  const { type, data, priority = priorityOfQueue, delay, attempts, backoff, timeout } = input;
  const { unique, dependsOn, metadata } = input;
  return {
    definition: definitionFor(queue, type),
    payload: data,
    options: {
      tenantId: input.tenantId ?? tenantIn(data),
      priority,
      delayMs: delay,
      attempts: attempts === 0 ? 1 : attempts,
      backoff: backoff === undefined ? undefined : toBackoff(backoff),
      timeoutMs: timeout,
      unique: typeof unique === 'string' ? { key: unique, mode: 'keep' } : unique,
      dependsOn,
      metadata: metadata as JobOptions['metadata'],
    },
  };
}

/** A number is what is waited each time: `retryDelay` and `backoff` of the faces mean that. */
export function toBackoff(backoff: NonNullable<JobRequest['backoff']>): JobOptions['backoff'] {
  if (typeof backoff !== 'number') return backoff as JobOptions['backoff'];
  return { kind: 'fixed', delayMs: backoff, jitter: 0 };
}

const tenantCharsMax = 128;

/** `data.tenantId`, where that is a name, else 'default'. */
export function tenantIn(data: unknown): string {
  const found = (data as { tenantId?: unknown } | null | undefined)?.tenantId;
  return findTextFault(found, tenantCharsMax) === null ? (found as string) : 'default';
}

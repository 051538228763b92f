/**
 * A job as people and programs look at it: the store's snapshot with its public id and its JSON
 * read. What a definition would refuse today is shown as it is stored: looking never fails.
 */
import { formatJobId, type JobOverrides } from '../core/job.ts';
import { type DeepReadonly, parseStored } from '../core/json.ts';
import type { JobSnapshot } from '../ports/job-queries.ts';

type Shown = Omit<
  JobSnapshot,
  'lane' | 'offset' | 'payloadJson' | 'optionsJson' | 'resultJson' | 'progressJson' | 'waitsFor'
>;

/** Times are ISO 8601; null where there is nothing to tell. */
export interface JobView<Payload = unknown, Result = unknown, Progress = unknown> extends Shown {
  readonly id: string;
  /** As stored, of `version`: upcasters run only when it is handled. */
  readonly payload: DeepReadonly<Payload>;
  /** What differs from its definition. */
  readonly options: JobOverrides;
  /** What its handler returned; null before, and when it returned nothing. */
  readonly result: DeepReadonly<Result> | null;
  readonly progress: DeepReadonly<Progress> | null;
  /** Ids of jobs that it waits for. */
  readonly waitsFor: readonly string[];
}

export function toJobView<Payload = unknown, Result = unknown, Progress = unknown>(
  snapshot: JobSnapshot,
): JobView<Payload, Result, Progress> {
  const { lane, offset, payloadJson, optionsJson, resultJson, progressJson, waitsFor, ...rest } =
    snapshot;
  return Object.freeze({
    id: formatJobId({ lane, offset }),
    ...rest,
    payload: parseStored(payloadJson) as DeepReadonly<Payload>,
    options: (optionsJson === null ? {} : parseStored(optionsJson)) as JobOverrides,
    result: readOptional<Result>(resultJson),
    progress: readOptional<Progress>(progressJson),
    waitsFor: waitsFor.map(formatJobId),
  });
}

function readOptional<T>(text: string | null): DeepReadonly<T> | null {
  return text === null ? null : (parseStored(text) as DeepReadonly<T>);
}

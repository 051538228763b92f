/**
 * `JobProcessor`: a class with one method that does a job. What it returns completes the job and is
 * its result; what it throws fails the try. Status notes are for people who look at the job: the
 * engine alone settles it, so a note can never lose or double one.
 */
import { JobError, messageOf } from './errors.ts';
import type { Job, StatusNote } from './job.ts';

/** Where notes about a running job go. */
export interface NoteBook {
  write(note: StatusNote): void | Promise<void>;
}

interface RunningJob {
  readonly notes: NoteBook;
  last: StatusNote;
}

const running = new WeakMap<object, Map<string, RunningJob>>();

export abstract class JobProcessor<J extends Job = Job> {
  /** Does the job. Obey `job.signal` in whatever takes long. */
  abstract process(job: J): Promise<unknown>;

  /**
   * Notes where a job of this processor stands, for `JobQueue.getJob` and everybody who looks;
   * resolves when that is stored. 'failed' is final for this try, which then fails even when
   * `process` returns; any other word is yours.
   * @throws JobError NOT_FOUND for a job that this processor is not working on; JOB_STATE after
   * 'failed'.
   */
  async updateJobStatus(jobId: string, status: string): Promise<void> {
    await this.#note(jobId, { status, at: new Date().toISOString() });
  }

  /**
   * Notes the error of a job. It settles nothing: throw the error on, and the job is tried again
   * by its policy, or fails for good.
   */
  async handleJobError(jobId: string, error: unknown): Promise<void> {
    const at = new Date().toISOString();
    await this.#note(jobId, { status: 'failed', at, error: messageOf(error).slice(0, 1_000) });
  }

  async #note(jobId: string, note: StatusNote): Promise<void> {
    const job = running.get(this)?.get(jobId);
    if (job === undefined) {
      throw new JobError('NOT_FOUND', `Job ${jobId} is not being processed here.`, {
        jobId,
        fix: 'Note the status of the job that process() was called with, before it returns.',
      });
    }
    if (job.last.status === 'failed' && note.status !== 'failed') {
      throw new JobError('JOB_STATE', `Job ${jobId} was noted as failed in this try.`, {
        jobId,
        fix: 'Throw the error on; the next try begins with a clean note.',
      });
    }
    job.last = note;
    await job.notes.write(note);
  }
}

/** A processor, or a function that does the same. */
export type Processor<J extends Job = Job> = JobProcessor<J> | ((job: J) => unknown);

/** One try of a job, with its notes. */
export async function runProcessor(
  processor: Processor,
  job: Job,
  notes: NoteBook,
): Promise<unknown> {
  if (typeof processor === 'function') return processor(job);
  const jobs = running.get(processor) ?? new Map<string, RunningJob>();
  running.set(processor, jobs);
  const entry: RunningJob = { notes, last: { status: 'processing', at: new Date().toISOString() } };
  jobs.set(job.id, entry);
  try {
    const result = await processor.process(job);
    if (entry.last.status !== 'failed') return result;
    const { error = 'no reason was given' } = entry.last;
    throw new JobError('HANDLER_FAILED', `Its processor noted it as failed: ${error}`, {
      jobId: job.id,
    });
  } finally {
    if (jobs.get(job.id) === entry) jobs.delete(job.id);
  }
}

/** JobProcessor: notes beside the engine, never instead of it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { QueueError, WorkerError } from './errors.ts';
import type { Job, StatusNote } from './job.ts';
import { JobProcessor, runProcessor } from './job-processor.ts';

class Scripted extends JobProcessor {
  readonly #script: (processor: Scripted, job: Job) => Promise<unknown>;

  constructor(script: (processor: Scripted, job: Job) => Promise<unknown>) {
    super();
    this.#script = script;
  }

  process(job: Job): Promise<unknown> {
    return this.#script(this, job);
  }
}

const job: Job = { id: '1-1', type: 'a', data: null };

async function run(script: (processor: Scripted, job: Job) => Promise<unknown>) {
  const notes: StatusNote[] = [];
  const processor = new Scripted(script);
  const result = runProcessor(processor, job, {
    write: (note) => void notes.push(note),
  });
  const error = await result.then(
    () => null,
    (error) => error,
  );
  return { error, notes: notes.map(({ status }) => status), last: notes.at(-1), processor };
}

describe('JobProcessor', () => {
  it('notes what its process says, and gives its result', async () => {
    const { error, notes } = await run(async (processor, { id }) => {
      await processor.updateJobStatus(id, 'validating');
      await processor.updateJobStatus(id, 'completed');
    });
    assert.equal(error, null);
    assert.deepEqual(notes, ['validating', 'completed']);
    assert.equal(await runProcessor(() => 7, job, { write() {} }), 7);
  });

  it('notes an error and lets it through', async () => {
    const thrown = new Error('the ledger is closed');
    const { error, last } = await run(async (processor, { id }) => {
      try {
        await processor.updateJobStatus(id, 'completed');
        throw thrown;
      } catch (error) {
        await processor.handleJobError(id, error);
        throw error;
      }
    });
    assert.equal(error, thrown);
    assert.deepEqual([last?.status, last?.error], ['failed', 'the ledger is closed']);
  });

  it('fails a try that was noted as failed, though it returned', async () => {
    const { error } = await run((processor, { id }) =>
      processor.handleJobError(id, new Error('no')),
    );
    assert.equal(error.code, 'HANDLER_FAILED');
    assert.match(error.message, /noted it as failed: no$/);
  });

  it('refuses to call a failed try completed', async () => {
    const { error } = await run(async (processor, { id }) => {
      await processor.updateJobStatus(id, 'failed');
      await processor.updateJobStatus(id, 'completed');
    });
    assert.equal(error.code, 'JOB_STATE');
    assert.ok(error instanceof WorkerError && !(error instanceof QueueError));
  });

  it('knows only the job that it is working on', async () => {
    const { processor } = await run(async () => {});
    await assert.rejects(processor.updateJobStatus('1-1', 'completed'), { code: 'NOT_FOUND' });
    const { error } = await run((other) => other.handleJobError('9-9', new Error('a')));
    assert.equal(error.code, 'NOT_FOUND');
  });
});

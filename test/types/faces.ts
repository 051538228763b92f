/** What must compile of the faces and what must not; checked by `tsc`, never run. */
import {
  CronScheduler,
  ErrorRecovery,
  type Job,
  JobProcessor,
  JobQueue,
  OneTimeScheduler,
  StepProcessor,
  WorkerManager,
  WorkerMetrics,
  type Workflow,
  WorkflowEngine,
  type WorkflowStep,
} from 'millrace';

interface InvoiceJob extends Job {
  type: 'invoice.processing';
  data: { invoiceId: string };
  priority: number;
}
class InvoiceProcessor extends JobProcessor<InvoiceJob> {
  async process(job: InvoiceJob): Promise<{ sent: boolean }> {
    return { sent: job.data.invoiceId !== '' };
  }
}

const queue = new JobQueue({ redis: { url: process.env.REDIS_URL }, queues: ['invoices'] });
await queue.process('invoices', new InvoiceProcessor());
await queue.process('invoices', (job: InvoiceJob) => job.data.invoiceId);
await queue.process('invoices', (job) => job.id);
// @ts-expect-error a job has a type
await queue.add('invoices', { data: {} });
// @ts-expect-error what a job holds is not known here
await queue.process('invoices', (job) => job.data.invoiceId);
// @ts-expect-error there is no such option
await queue.add('invoices', { type: 'a', data: 1, retries: 3 });

const manager = new WorkerManager({ concurrency: 5 });
manager.register('invoice.processing', new InvoiceProcessor()).register('other', () => 1);
manager.on('completed', ({ type, durationMs }) => [type.length, durationMs + 1]);
manager.on('metrics', ({ jobsProcessed }) => jobsProcessed + 1);
// @ts-expect-error nothing of this name happens
manager.on('finished', () => {});
// @ts-expect-error a job has an id
await manager.processJob({ type: 'a', data: 1 });

const metrics = await new WorkerMetrics({ metrics: ['jobs.failed'] }).getMetrics();
metrics.jobsFailed + 1;
// @ts-expect-error it was not asked for
metrics.jobsProcessed;
(await new WorkerMetrics().getMetrics()).queueLength + 1;
// @ts-expect-error there is no such metric
new WorkerMetrics({ metrics: ['jobs.lost'] });

interface InvoiceWorkflow extends Workflow {
  name: 'invoice';
  steps: WorkflowStep[];
  onSuccess?: (result: { total: number }) => void;
}
const workflow: InvoiceWorkflow = { name: 'invoice', steps: [{ name: 'a', processor: 'A' }] };
class Totals extends StepProcessor {
  async process(step: WorkflowStep, data: { lines: number[] }): Promise<{ total: number }> {
    return { total: data.lines.length + step.name.length };
  }
}
const engine = new WorkflowEngine({ workflows: [workflow] });
engine.registerStepProcessor('A', new Totals());
engine.registerStepProcessor('B', (_step, data: { total: number }) => data.total);
// @ts-expect-error a step has a processor
new WorkflowEngine({ workflows: [{ name: 'a', steps: [{ name: 'b' }] }] });

// @ts-expect-error a cron schedule has a job
await new CronScheduler().schedule('a', { cron: '@daily' });
// @ts-expect-error a moment is a Date
await new OneTimeScheduler().schedule('a', { executeAt: 5, job: { type: 'a', data: 1 } });
// @ts-expect-error there is no such action
new ErrorRecovery({ strategies: [{ errorType: 'E', action: 'explode' }] });

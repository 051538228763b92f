/**
 * Switches telemetry on for a platform: an observer in the engine, spans around the handlers of
 * events and jobs, counters of the rest. Called by connect() when the settings say so.
 */
import type { JobContext } from '../core/job-context.ts';
import type { TaskState } from '../core/workflow/states.ts';
import {
  type DomainEventMetrics,
  domainEventMetricNames,
  type ReportHandled,
} from '../events/domain/metrics.ts';
import type { JobMiddleware } from '../jobs/executor.ts';
import type { Tracing, TracingSwitch } from '../ports/tracing.ts';
import type { RunObserver } from '../workflows/run/observer.ts';
import type { TelemetrySettings } from './settings.ts';
import {
  type RelayLagReading,
  startTelemetry,
  type Telemetry,
  type TelemetrySources,
} from './telemetry.ts';

/** What telemetry needs of a platform. */
export interface Observed {
  readonly workerId: string;
  readonly tracing: TracingSwitch;
  readonly jobs: {
    use(middleware: JobMiddleware): void;
    totals(): object;
  };
  readonly workflows: {
    plug(plugs: { readonly observer: RunObserver }): void;
    counts(): Promise<ReadonlyMap<TaskState, number>>;
  };
  readonly events: {
    metrics(): DomainEventMetrics;
    reportHandled(report: ReportHandled): void;
  };
  totals(): object;
  /** Null or absent without a broker. */
  readonly broker?: {
    totals(): object;
    relayLag(): Promise<readonly RelayLagReading[]>;
  } | null;
}

export async function attachTelemetry(
  platform: Observed,
  settings: TelemetrySettings,
): Promise<Telemetry> {
  const sources: TelemetrySources = {
    workerId: platform.workerId,
    taskCounts: () => platform.workflows.counts(),
    totals: () => totalsOf(platform),
    relayLag: platform.broker ? () => relayLagOf(platform) : null,
  };
  const telemetry = await startTelemetry(settings, sources);
  platform.tracing.use(telemetry.tracing);
  platform.workflows.plug({ observer: telemetry.observer });
  platform.events.reportHandled(telemetry.eventHandled);
  platform.jobs.use((job, next) => aroundJob(telemetry.tracing, job, next));
  return telemetry;
}

function aroundJob(tracing: Tracing, job: JobContext, next: () => Promise<unknown>) {
  const { name, queue, attempt, traceparent, id, tenantId } = job;
  const attributes = {
    'millrace.job.id': id,
    'millrace.job.name': name,
    'millrace.job.attempt': attempt,
    'millrace.queue': queue,
    'tasker.tenant_id': tenantId,
  };
  return tracing.run({ name: 'job.handle', traceparent, attributes }, next);
}

async function relayLagOf({ broker }: Observed): Promise<readonly RelayLagReading[]> {
  return (await broker?.relayLag()) ?? [];
}

type Total = readonly [name: string, labels: Readonly<Record<string, string>>, value: number];

function totalsOf(platform: Observed): Total[] {
  const rows: Total[] = [];
  const plain = (prefix: string, numbers: object) => {
    for (const [name, value] of Object.entries(numbers)) {
      if (typeof value === 'number') rows.push([`millrace.${prefix}.${name}.total`, {}, value]);
    }
  };
  plain('events', platform.totals());
  plain('jobs', platform.jobs.totals());
  if (platform.broker) plain('broker', platform.broker.totals());
  const { handlerSeconds: _, ...counted } = platform.events.metrics();
  for (const [what, numbers] of Object.entries(counted)) {
    const name = domainEventMetricNames[what as keyof typeof counted];
    for (const [delivery, value] of Object.entries(numbers)) rows.push([name, { delivery }, value]);
  }
  return rows;
}

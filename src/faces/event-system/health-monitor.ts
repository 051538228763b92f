/** The health of a worker event system: asked for, and checked now and then to tell of changes. */
import type { WorkerEventSystemConfig } from '../../configuration/configuration.ts';
import type { Jobs } from '../../jobs/jobs.ts';
import { sleep } from '../../runtime/bell.ts';
import {
  type EventSystemMode,
  type HealthStatus,
  listensIn,
  pollsIn,
  type SystemHealth,
} from './event-driven-system.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import type { WorkerHealthUpdate } from './worker-queue-event.ts';

export interface HealthMonitorOptions {
  readonly system: {
    readonly systemId: string;
    readonly deploymentMode: EventSystemMode;
    readonly isRunning: boolean;
  };
  readonly jobs: Pick<Jobs, 'health'>;
  readonly config: WorkerEventSystemConfig;
  readonly counters: WorkerCounters;
  parts(): { readonly listening: boolean; readonly polling: boolean };
  onChange(health: WorkerHealthUpdate): void;
}

export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  #stopping = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #status: HealthStatus = 'stopped';
  #disconnectedSince: number | null = null;
  #shedBefore = 0;

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  start(): void {
    const { config } = this.#options;
    if (!config.healthMonitoringEnabled) return;
    this.#stopping = new AbortController();
    this.#loop = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async check(): Promise<SystemHealth> {
    const { system } = this.#options;
    const { systemId, deploymentMode } = system;
    const checkedAt = new Date().toISOString();
    const facts = { systemId, deploymentMode, checkedAt };
    if (!system.isRunning) return { status: 'stopped', problems: [], ...facts };
    const { unhealthy, degraded } = await this.#problems();
    const status: HealthStatus =
      unhealthy.length > 0 ? 'unhealthy' : degraded.length > 0 ? 'degraded' : 'healthy';
    return { status, problems: [...unhealthy, ...degraded], ...facts };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { config, onChange } = this.#options;
    while (!signal.aborted) {
      const health = await this.check();
      if (signal.aborted) return;
      if (health.status !== this.#status) {
        const before = this.#status;
        this.#status = health.status;
        onChange({ ...health, before });
      }
      await sleep(config.healthCheckIntervalMs, signal);
    }
  }

  async #problems(): Promise<{ unhealthy: readonly string[]; degraded: readonly string[] }> {
    const { config, counters, jobs, parts, system } = this.#options;
    const mode = system.deploymentMode;
    const engine = await jobs.health();
    const { polling } = parts();
    const unhealthy = engine.problems.filter((problem) => !problem.startsWith('the listener'));
    const degraded: string[] = [];
    if (counters.consecutiveErrors >= config.maxConsecutiveErrors) {
      unhealthy.push(`${counters.consecutiveErrors} messages failed in a row`);
    }
    const errors = counters.errors.inLastMinute();
    if (errors > config.errorRateThresholdPerMinute) {
      degraded.push(`${errors} messages failed within a minute`);
    }
    if (pollsIn(mode) && config.fallbackPoller.enabled && !polling) {
      unhealthy.push('the poller does not run');
    }
    if (
      listensIn(mode) &&
      config.listener.enabled &&
      this.#silentFor(engine.listening) > config.listener.connectionTimeoutMs
    ) {
      const problem = 'the listener is reconnecting';
      if (mode === 'EventDrivenOnly') unhealthy.push(problem);
      else degraded.push(problem);
    }
    const shed = counters.eventsShed + counters.eventsDropped;
    if (shed > this.#shedBefore) degraded.push(`${shed - this.#shedBefore} events were shed`);
    this.#shedBefore = shed;
    if (mode === 'Disabled') degraded.push('the mode is Disabled: no message is found');
    return { unhealthy, degraded };
  }

  #silentFor(connected: boolean): number {
    if (connected) this.#disconnectedSince = null;
    else this.#disconnectedSince ??= performance.now();
    return this.#disconnectedSince === null ? 0 : performance.now() - this.#disconnectedSince;
  }
}

/**
 * `WorkerHealthChecker`: whether a worker can do its work, as one answer to many questions. The
 * checks run side by side, each with a time limit: a check that hangs is a check that fails.
 */
import { sleep } from '../runtime/bell.ts';
import { Connection, type ConnectionOptions, type Engine } from './connection.ts';
import { messageOf, WorkerError } from './errors.ts';
import { Listeners } from './listeners.ts';
import { type MonitoringOptions, readMonitoring } from './settings.ts';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

export interface CheckResult {
  readonly status: HealthStatus;
  readonly error?: string | undefined;
}

export interface HealthCheck {
  readonly name: string;
  /** Throwing is unhealthy, too. `signal` is aborted at the time limit. */
  check(signal: AbortSignal): CheckResult | Promise<CheckResult>;
  /** Milliseconds; 5,000 by default. */
  readonly timeout?: number | undefined;
}

export interface HealthReport {
  /** The worst of the checks. */
  readonly status: HealthStatus;
  /** By name, in the order given; first those of the connection: 'store' and 'worker'. */
  readonly checks: Readonly<Record<string, CheckResult & { readonly durationMs: number }>>;
  /** ISO 8601. */
  readonly timestamp: string;
}

export interface WorkerHealthCheckerOptions extends ConnectionOptions {
  readonly checks?: readonly HealthCheck[] | undefined;
  readonly monitoring?: MonitoringOptions | undefined;
}

const timeoutMs = 5_000;
const order: readonly HealthStatus[] = ['healthy', 'degraded', 'unhealthy'];

export class WorkerHealthChecker {
  readonly #connection: Connection;
  readonly #checks: readonly HealthCheck[];
  readonly #everyMs: number;
  readonly #listeners = new Listeners<{ health: HealthReport }>();
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;

  /** Connects with the first check. @throws WorkerError CONFIG_INVALID for a name given twice. */
  constructor(options: WorkerHealthCheckerOptions = {}) {
    this.#checks = options.checks ?? [];
    const names = new Set(['store', 'worker']);
    for (const { name } of this.#checks) {
      if (!names.has(name)) names.add(name);
      else throw new WorkerError('CONFIG_INVALID', `There are two health checks '${name}'.`);
    }
    this.#everyMs = readMonitoring(options.monitoring).healthCheckInterval;
    this.#connection = new Connection('WorkerHealthChecker', options);
  }

  /** Never throws: what goes wrong is in the report. */
  checkHealth(): Promise<HealthReport> {
    return checkEngine(this.#connection.engine, this.#checks);
  }

  /** Checks every `healthCheckInterval` (HEALTH_CHECK_INTERVAL) and tells 'health' listeners. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Returns how to stop listening. */
  on(event: 'health', listener: (report: HealthReport) => void): () => void {
    return this.#listeners.on(event, listener);
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#connection.close();
  }

  /** The same as `close`. */
  stop(): Promise<void> {
    return this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#listeners.emit('health', await this.checkHealth());
      await sleep(this.#everyMs, signal);
    }
  }
}

/** The checks of the connection itself, and these. */
export async function checkEngine(
  engine: Engine,
  checks: readonly HealthCheck[],
): Promise<HealthReport> {
  const all = [...engineChecks(engine), ...checks];
  const results = await Promise.all(all.map(runCheck));
  const worst = Math.max(...results.map(({ status }) => order.indexOf(status)));
  return {
    status: order[worst] as HealthStatus,
    checks: Object.fromEntries(all.map(({ name }, i) => [name, results[i]])) as never,
    timestamp: new Date().toISOString(),
  };
}

function engineChecks(engine: Engine): HealthCheck[] {
  return [
    {
      name: 'store',
      async check() {
        await (await engine.jobs()).store.ping();
        return { status: 'healthy' };
      },
    },
    {
      name: 'worker',
      async check() {
        const { epoch, problems, ready } = await (await engine.jobs()).health();
        // A process that only enqueues has nothing to be ready for.
        if (ready || (problems.length === 0 && epoch === null)) return { status: 'healthy' };
        return { status: ready ? 'degraded' : 'unhealthy', error: problems.join('; ') };
      },
    },
  ];
}

async function runCheck(health: HealthCheck) {
  const startedAt = performance.now();
  const result = await answerOf(health);
  return { ...result, durationMs: Math.round(performance.now() - startedAt) };
}

async function answerOf({ name, check, timeout = timeoutMs }: HealthCheck): Promise<CheckResult> {
  const done = new AbortController();
  const late = AbortSignal.timeout(timeout);
  const tooLate = sleep(timeout, done.signal).then(
    (): CheckResult => ({ status: 'unhealthy', error: `No answer within ${timeout} ms.` }),
  );
  try {
    const answer = await Promise.race([check(late), tooLate]);
    if (order.includes(answer?.status)) return answer;
    return { status: 'unhealthy', error: `The check '${name}' gave no status.` };
  } catch (error) {
    return { status: 'unhealthy', error: messageOf(error) };
  } finally {
    done.abort();
  }
}

/**
 * Keeps as many workers as the work needs: looks at how busy they are and how many jobs wait, and
 * has its provider start or end some. Looks and steps take turns, so none acts on what another is
 * changing. In a process that a scaler started it rests: that process is one of the workers.
 */
import { MillraceError } from '../../core/errors.ts';
import type { WorkerInfo } from '../../ports/jobs.ts';
import { Bell } from '../../runtime/bell.ts';
import { messageOf, WorkerError } from '../errors.ts';
import { Listeners } from '../listeners.ts';
import type { PlaceOptions } from '../settings.ts';
import { LoadSource, type WorkerSource } from './load-source.ts';
import {
  type Decision,
  decide,
  type Load,
  parseScaling,
  type ScalingOptions,
  type ScalingSettings,
  utilizationOf,
} from './scaling-rule.ts';
import { isScaled } from './worker-command.ts';
import { WorkerProcesses, type WorkerProcessesOptions } from './worker-processes.ts';
import type { WorkerProvider } from './worker-provider.ts';

export interface WorkerScalerOptions extends PlaceOptions {
  readonly scaling?: ScalingOptions | undefined;
  /** Only their workers and jobs count; all by default. */
  readonly queues?: readonly string[] | undefined;
  /** What a worker process runs; this program once more by default. */
  readonly worker?: WorkerProcessesOptions | undefined;
  /** Instead of processes: `new KubernetesReplicas({ deployment: 'workers' })`. */
  readonly provider?: WorkerProvider | undefined;
  /** Instead of a connection of its own: a Jobs, or what answers like one. */
  readonly jobs?: WorkerSource | undefined;
}

export interface WorkerScalerEvents {
  readonly scaled: { readonly from: number; readonly to: number; readonly reason: string };
  readonly workerStarted: { readonly pid: number };
  readonly workerStopped: { readonly pid: number };
  readonly workerCrashed: {
    readonly pid: number | null;
    readonly reason: string;
    readonly restartMs: number;
  };
  /** A look or a step failed; the next one tries again. */
  readonly error: { readonly error: Error };
}

export interface ScalerStatus {
  /** False before start, after stop, and in processes that a scaler started. */
  readonly active: boolean;
  /** Workers there are meant to be; null before the first look. */
  readonly workers: number | null;
  /** What the last look saw. */
  readonly load: Load | null;
  /** Above 1 jobs wait; null when no worker is there. */
  readonly utilization: number | null;
  /** Why the last look changed the number, or left it. */
  readonly reason: string;
}

export class WorkerScaler {
  readonly settings: ScalingSettings;
  readonly #provider: WorkerProvider | null;
  readonly #listeners = new Listeners<WorkerScalerEvents>();
  readonly #bell = new Bell();
  readonly #source: LoadSource | null;
  #environment: Readonly<Record<string, string>> = {};
  #running: Promise<void> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();
  #active = false;
  #upAt = Number.NEGATIVE_INFINITY;
  #stepAt = Number.NEGATIVE_INFINITY;
  #seen: Omit<ScalerStatus, 'active'> = unseen;

  /** Nothing is started or connected yet. @throws WorkerError CONFIG_INVALID */
  constructor(options: WorkerScalerOptions = {}) {
    this.settings = parseScaling(options.scaling);
    const resting = isScaled();
    const { worker = {} } = options;
    // Where the jobs are is known when the first look has connected, and that is before any start.
    const given = worker.env;
    const env = () => ({
      ...this.#environment,
      ...(typeof given === 'function' ? given() : given),
    });
    const provider = resting ? null : (options.provider ?? new WorkerProcesses({ ...worker, env }));
    this.#provider = provider;
    this.#source = resting ? null : new LoadSource(options);
    this.#provider?.listen?.({
      onStarted: (worker) => this.#listeners.emit('workerStarted', worker),
      onStopped: (worker) => this.#listeners.emit('workerStopped', worker),
      onCrashed: (worker) => this.#listeners.emit('workerCrashed', worker),
    });
  }

  on<E extends keyof WorkerScalerEvents>(
    event: E,
    listener: (payload: WorkerScalerEvents[E]) => unknown,
  ): () => void {
    return this.#listeners.on(event, listener);
  }

  get status(): ScalerStatus {
    return { active: this.#active, ...this.#seen };
  }

  /**
   * Looks once, which starts `minWorkers` workers, and then every `interval`.
   * @throws what that first look met; nothing goes on then.
   */
  async start(): Promise<void> {
    const [provider, source] = [this.#provider, this.#source];
    if (provider === null || source === null || this.#active) return;
    this.#active = true;
    try {
      await this.#alone(() => this.#look(provider, source));
    } catch (error) {
      this.#active = false;
      throw error;
    }
    this.#running = this.#run(provider, source);
  }

  /**
   * Sets the number by hand, at once. Looking goes on from there, after the cooldowns.
   * @throws WorkerError REQUEST_INVALID outside minWorkers to maxWorkers; SCALING_FAILED
   */
  async scaleTo(workers: number): Promise<void> {
    const { minWorkers, maxWorkers } = this.settings;
    if (!Number.isInteger(workers) || workers < minWorkers || workers > maxWorkers) {
      const range = `from ${minWorkers} to ${maxWorkers}`;
      throw new WorkerError('REQUEST_INVALID', `${workers} workers: not a number ${range}.`, {
        fix: 'Give a number within scaling.minWorkers and scaling.maxWorkers, or change those.',
      });
    }
    const [provider, source] = [this.#provider, this.#source];
    if (provider === null || source === null) return;
    await this.#alone(async () => {
      this.#environment = await source.environment();
      const count = await provider.count();
      // Who is busy is good to know, and no reason to fail.
      const known = await source.measure().then(
        ({ workers }) => workers,
        () => [],
      );
      await this.#step(provider, count, { count: workers, reason: 'set by hand' }, known);
    });
  }

  /** Ends the looks, and worker processes with their grace; replicas of a cluster stay. */
  async stop(): Promise<void> {
    this.#active = false;
    this.#bell.ring();
    await this.#running;
    await this.#alone(async () => {
      await this.#provider?.close();
      await this.#source?.close();
    });
    this.#seen = unseen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(provider: WorkerProvider, source: LoadSource): Promise<void> {
    while (this.#active) {
      await this.#bell.wait(this.settings.interval);
      if (!this.#active) return;
      await this.#alone(() => this.#look(provider, source)).catch((error) => this.#report(error));
    }
  }

  async #look(provider: WorkerProvider, source: LoadSource): Promise<void> {
    this.#environment = await source.environment();
    const [count, { load, workers }] = await Promise.all([provider.count(), source.measure()]);
    const now = performance.now();
    const decision = decide(this.settings, {
      count,
      load,
      sinceUpMs: now - this.#upAt,
      sinceStepMs: now - this.#stepAt,
    });
    const { reason } = decision;
    this.#seen = { workers: count, load, utilization: utilizationOf(load), reason };
    await this.#step(provider, count, decision, workers);
  }

  async #step(
    provider: WorkerProvider,
    from: number,
    { count: to, reason, limit = false }: Decision,
    known: readonly WorkerInfo[],
  ): Promise<void> {
    if (from === to) return;
    await provider.scaleTo(to, known);
    this.#stepAt = performance.now();
    // Keeping a limit says nothing about the load: the next step up need not wait for it.
    if (to > from && !limit) this.#upAt = this.#stepAt;
    this.#seen = { ...this.#seen, workers: to, reason };
    this.#listeners.emit('scaled', { from, to, reason });
  }

  /** One at a time; what failed before is nothing to the next. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  #report(thrown: unknown): void {
    const error =
      thrown instanceof Error ? thrown : new MillraceError('SCALING_FAILED', messageOf(thrown));
    if (this.#listeners.emit('error', { error })) return;
    process.emitWarning(`Scaling failed: ${error.message}`, { type: 'MillraceWarning' });
  }
}

const unseen: Omit<ScalerStatus, 'active'> = Object.freeze({
  workers: null,
  load: null,
  utilization: null,
  reason: 'not looked yet',
});

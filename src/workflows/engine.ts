/**
 * The parts that hold and drive the runs of one process, put together, and their life: which epoch
 * they hold runs under, which queues they take jobs from, and in which order they start and stop.
 * `Workflows` is the face of it.
 */
import { MillraceError } from '../core/errors.ts';
import { type AnyJobDefinition, defineJob } from '../core/job-definition.ts';
import { snooze } from '../core/job-outcome.ts';
import type { DomainEvents } from '../events/domain/domain-events.ts';
import type { Subscription } from '../events/stream/subscription.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Store } from '../ports/store.ts';
import { sleep } from '../runtime/bell.ts';
import { Committer } from './committer.ts';
import { consoleRunLog } from './console-run-log.ts';
import { type AnyWorkflowDefinition, queueOf } from './definition.ts';
import { eventWaitsFor } from './event-waits.ts';
import { Finishes } from './finishes.ts';
import { Holder } from './holder.ts';
import { Messenger } from './messenger.ts';
import type { WorkflowsHealth, WorkflowsOptions } from './options.ts';
import { Registry } from './registry.ts';
import type { RunObserver } from './run/observer.ts';
import { remoteStepJob } from './run/remote-step.ts';
import { RemoteSteps } from './run/remote-steps.ts';
import { Starter } from './starter.ts';
import { Upkeep } from './upkeep.ts';

const concurrencyDefault = 500;
const weekMs = 7 * 86_400_000;
const holdMsMax = 2_000;

/** What workflows need of the platform around them. */
export interface WorkflowsSurroundings {
  readonly store: Store;
  readonly jobs: Jobs;
  /** Events were staged and are to be appended. */
  staged(): void;
  /** Domain events: workflows declare them, and steps publish them. */
  readonly domainEvents?: Pick<DomainEvents, 'declare' | 'steps'> | undefined;
  /** Sends a hint to all other processes. */
  tell(notice: string): void;
  /** Adds a stream group of this process; before or after the start. */
  subscribe(subscription: Subscription): void;
}

export class Engine {
  readonly registry: Registry;
  readonly observers: RunObserver[] = [];
  readonly finishes: Finishes;
  readonly holder: Holder;
  readonly starter: Starter;
  readonly messenger: Messenger;
  readonly remoteSteps: RemoteSteps;
  readonly #surroundings: WorkflowsSurroundings;
  readonly #options: WorkflowsOptions;
  readonly #committer: Committer;
  readonly #upkeep: Upkeep;
  readonly #queues = new Set<string>();
  readonly #eventTypes = new Set<string>();
  #epoch: number | null = null;
  #holding: Promise<void> = Promise.resolve();
  #state: 'new' | 'started' | 'stopped' = 'new';

  constructor(surroundings: WorkflowsSurroundings, options: WorkflowsOptions) {
    this.#surroundings = surroundings;
    this.#options = options;
    const { store, jobs } = surroundings;
    const { tenure, workerId } = jobs;
    this.registry = new Registry(store.workflows);
    const shared = {
      store: store.workflows,
      registry: this.registry,
      observers: this.observers,
      workerId,
      epoch: () => this.#epoch,
      log: options.log ?? consoleRunLog,
      woken: (queues: readonly string[]) => tenure.tell(queues),
      onError: (error: unknown, where: string) => options.onError?.(error, where),
    };
    this.#committer = this.#createCommitter();
    this.finishes = new Finishes({
      store: store.workflows,
      isHeld: (runId) => this.holder.find(runId) !== undefined,
      send: (notice) => tenure.send(notice),
      onError: (error) => shared.onError(error, 'results'),
    });
    this.messenger = new Messenger({ ...shared, nudge: (runIds) => this.holder.nudge(runIds) });
    this.holder = new Holder({
      ...shared,
      committer: this.#committer,
      finishes: this.finishes,
      stepEvents: surroundings.domainEvents?.steps,
      residencyMs: options.residencyMs ?? 5_000,
      rested: (wakeAt) => this.#upkeep.expect(wakeAt),
      staged: () => surroundings.staged(),
      cancelChildren: (runId) => this.messenger.cancelChildren(runId),
    });
    this.starter = new Starter({ ...shared, holder: this.holder, tracing: options.tracing });
    this.#upkeep = new Upkeep({
      ...shared,
      lookMs: options.lookMs ?? 1_000,
      ageingMs: options.ageingMs ?? 60_000,
      queues: () => [...this.#queues],
      retentionMs: options.retentionMs === undefined ? weekMs : options.retentionMs,
      nudge: () => this.holder.nudgeAll(),
    });
    this.remoteSteps = new RemoteSteps({
      ...shared,
      withTenant: (tenantId, work) => store.withTenant(tenantId, work),
      deliver: (messages) => this.messenger.deliver(messages),
      delivered: (runId, queues) => {
        this.holder.nudge([runId]);
        surroundings.tell(`run ${runId}`); // the store tells nobody of a caller's transaction
        tenure.tell(queues);
      },
    });
    this.#follow();
  }

  get isStopped(): boolean {
    return this.#state === 'stopped';
  }

  /** First its events: when they contradict others, nothing has happened. */
  add(definition: AnyWorkflowDefinition, works: boolean): void {
    const { namespace, name, version, publishesEvents, waitsFor } = definition;
    if (publishesEvents.length > 0) {
      this.#surroundings.domainEvents?.declare(namespace, publishesEvents, { name, version });
    }
    this.registry.add(definition, works);
    if (!works) return;
    this.workQueue(queueOf(definition));
    for (const type of waitsFor) this.#awaitEvents(type);
    if (this.#state === 'started') this.#prepare([definition]);
  }

  /** Of runs held at once; the largest that was asked for counts. @throws CONFIG_INVALID */
  resize(concurrency = this.#options.concurrency ?? concurrencyDefault): void {
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
      throw new MillraceError('CONFIG_INVALID', `concurrency is ${concurrency}.`, {
        fix: 'Give a whole number from 1 to 10,000.',
      });
    }
    this.holder.concurrency = Math.max(this.holder.concurrency, concurrency);
  }

  /** Takes runs and steps from that queue. */
  workQueue(queue: string): void {
    if (this.#queues.has(queue)) return;
    this.#queues.add(queue);
    const { jobs } = this.#surroundings;
    // Other parts of the program may work on other messages of the queue.
    const knows = (name: string) => name === remoteStepJob || name.startsWith('run ');
    const { concurrency } = this.holder;
    // Runs are held for long and mostly wait: one that is alone would stop all others.
    jobs.workQueue(queue, this.#runJob(queue), { concurrency, knows, solitary: false });
  }

  /** After the jobs were started. */
  async open(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'started';
    this.#prepare(this.registry.worked);
    this.#upkeep.start();
    // Or the first runs would go through their queues; without an answer they do.
    const held = new AbortController();
    await Promise.race([this.#holding, sleep(holdMsMax, held.signal)]);
    held.abort();
  }

  /** Before the jobs are stopped. Handlers may finish; what is not over goes on elsewhere. */
  async stop(graceMs = this.#options.graceMs ?? 30_000): Promise<void> {
    if (this.#state === 'stopped') return;
    const wasStarted = this.#state === 'started';
    this.#state = 'stopped';
    this.#surroundings.jobs.tenure.hold([...this.#queues]);
    await this.starter.close(); // first, so that what was being started is handed on as well
    await this.holder.stop(graceMs);
    await this.#committer.flush();
    await this.messenger.close();
    if (wasStarted) {
      await this.#upkeep.wakeNow().catch(() => null); // those that were handed on
      await this.#upkeep.stop();
    }
    this.finishes.close();
  }

  /** A notice of another process. */
  hear(notice: string): void {
    const [what, ...runIds] = notice.split(' ');
    if (what === 'run') this.holder.nudge(runIds);
    else if (what === 'run-events') this.holder.nudgeAll((run) => run.awaitsEvents);
  }

  health(): WorkflowsHealth {
    const { commits, batches } = this.#committer.totals;
    const { held, waiting, concurrency } = this.holder;
    return { held, waiting, concurrency, queues: [...this.#queues], commits, batches };
  }

  #createCommitter(): Committer {
    const { store, jobs } = this.#surroundings;
    return new Committer({
      store: store.workflows,
      batchMax: 500,
      heavyMax: 64,
      charsMax: 4_000_000,
      underWayMax: 1,
      isAlive: (epoch) => this.#epoch === epoch,
      onWoken: (queues) => jobs.tenure.tell(queues),
      onLost: (epoch, cause) => jobs.tenure.lose(epoch, cause),
      onError: (error) => this.#options.onError?.(error, 'commits'),
    });
  }

  #follow(): void {
    const { tenure } = this.#surroundings.jobs;
    tenure.follow({
      begun: (epoch) => {
        this.#holding = this.#begin(epoch);
      },
      lost: (epoch, cause) => {
        if (this.#epoch === epoch) this.#epoch = null;
        this.holder.lose(epoch, cause);
      },
    });
    tenure.hear((notice) => this.finishes.hear(notice));
  }

  async #begin(epoch: number): Promise<void> {
    const { store, jobs } = this.#surroundings;
    for (let delayMs = 50; jobs.tenure.epoch === epoch; delayMs *= 2) {
      try {
        await store.workflows.hold(epoch);
        if (jobs.tenure.epoch === epoch) this.#epoch = epoch;
        return;
      } catch (error) {
        this.#options.onError?.(error, 'holding runs');
        await sleep(Math.min(delayMs, 2_000));
      }
    }
  }

  /** Handles whatever stands in a queue of workflows, under whatever name. */
  #runJob(queue: string): AnyJobDefinition {
    return defineJob('workflow.run', {
      queue,
      attempts: 1_000,
      timeoutMs: 0,
      backoff: { kind: 'exponential', delayMs: 1_000, maxDelayMs: 60_000 },
      handler: async (payload: unknown, job) => {
        if (job.name === remoteStepJob) return this.remoteSteps.work(payload, job);
        const runId = (payload as { readonly runId?: unknown } | null)?.runId;
        if (typeof runId === 'string') return this.holder.claimed(runId, job);
        throw snooze(5_000, `No workflow here knows the job '${job.name}'.`);
      },
    });
  }

  #awaitEvents(type: string): void {
    if (this.#eventTypes.has(type)) return;
    this.#eventTypes.add(type);
    const { store, subscribe, tell, jobs } = this.#surroundings;
    const delivered = (queues: readonly string[]) => {
      jobs.tenure.tell(queues);
      this.holder.nudgeAll((run) => run.awaitsEvents);
      tell('run-events');
    };
    subscribe(eventWaitsFor(type, { store: store.workflows, delivered }));
  }

  /** What a definition needs in the store: its template, and the limits of its queue. */
  #prepare(definitions: readonly AnyWorkflowDefinition[]): void {
    const { jobs } = this.#surroundings;
    const report = (error: unknown) => this.#options.onError?.(error, 'definitions');
    this.registry.save(definitions).catch(report);
    for (const definition of definitions) {
      const { limits, keyLimits } = definition;
      if (limits === null && keyLimits === null) continue;
      jobs.configureQueue({ queue: queueOf(definition), limits, keyLimits }).catch(report);
    }
  }
}

/**
 * `WorkerEventSystem`: finds the step messages of some namespaces by notices, by looking, or both,
 * and has them claimed, handled and settled by the engine of `mill.jobs`. It conducts the queues of
 * its namespaces: what the engine's own wakers hear comes here first, and the mode says what of it
 * counts. The mode can be switched while messages flow.
 */
import type { WorkerEventSystemConfig } from '../../configuration/configuration.ts';
import { defaultConfiguration } from '../../configuration/load.ts';
import { MillraceError } from '../../core/errors.ts';
import { defineJob } from '../../core/job-definition.ts';
import type { ConductedQueue } from '../../jobs/conducting.ts';
import type { Millrace } from '../../millrace.ts';
import { sleep } from '../../runtime/bell.ts';
import { Listeners } from '../listeners.ts';
import { CatchUp } from './catch-up.ts';
import {
  checkSystemMode,
  type EventDrivenSystem,
  type EventSystemMode,
  listensIn,
  pollsIn,
  type SystemHealth,
} from './event-driven-system.ts';
import { HealthMonitor } from './health-monitor.ts';
import { sendToRun } from './run-results.ts';
import { StepDesk } from './step-desk.ts';
import type { TemplateRefresh, WorkerStatus } from './worker-command.ts';
import { WorkerCounters, type WorkerEventStatistics } from './worker-event-statistics.ts';
import { WorkerFallbackPoller } from './worker-fallback-poller.ts';
import { WorkerProcessor } from './worker-processor.ts';
import {
  queueOf,
  type StepMessage,
  type StepMessageHandler,
  type WorkerHealthUpdate,
  type WorkerNotification,
  type WorkerQueueEvent,
} from './worker-queue-event.ts';
import { WorkerQueueListener } from './worker-queue-listener.ts';

export interface WorkerEventSystemOptions {
  readonly mill: Millrace;
  /** Those of the configuration by default. Their queues are `{namespace}_queue`. */
  readonly namespaces?: readonly string[];
  /**
   * By the name of the message, such as `step`. What the process has defined itself goes first, and
   * so do the runs and steps of workflows that it works on.
   */
  readonly handlers?: Readonly<Record<string, StepMessageHandler>>;
  /** For every message that `handlers` does not name. */
  readonly executor?: StepMessageHandler;
  /** What is left out is as in the configuration files; see docs/configuration.md. */
  readonly config?: WorkerEventSystemSettings;
  /** What RefreshTemplateCache does; answers with the number of templates read. */
  readonly refreshTemplates?: (namespace: string | null) => Promise<number>;
  /** Told of errors that were survived. */
  readonly onError?: (error: unknown, where: string) => void;
}

/** The configuration in part. */
export type WorkerEventSystemSettings = Partial<
  Omit<WorkerEventSystemConfig, 'listener' | 'fallbackPoller' | 'backoff'>
> & {
  readonly listener?: Partial<WorkerEventSystemConfig['listener']>;
  readonly fallbackPoller?: Partial<WorkerEventSystemConfig['fallbackPoller']>;
  readonly backoff?: Partial<WorkerEventSystemConfig['backoff']>;
};

export interface WorkerSystemEvents {
  /** Every event and every change of health. */
  readonly notification: WorkerNotification;
  /** With event integration on: a step for something outside to execute. */
  readonly stepExecution: StepMessage;
  readonly modeChanged: { readonly from: EventSystemMode; readonly to: EventSystemMode };
}

export class WorkerEventSystem
  implements EventDrivenSystem<WorkerQueueEvent, WorkerEventStatistics>
{
  readonly systemId: string;
  readonly config: WorkerEventSystemConfig;
  readonly namespaces: readonly string[];
  readonly processor: WorkerProcessor;
  readonly #options: WorkerEventSystemOptions;
  readonly #counters = new WorkerCounters();
  readonly #events = new Listeners<WorkerSystemEvents>();
  readonly #queues = new Map<string, ConductedQueue>();
  readonly #desk: StepDesk;
  readonly #listener: WorkerQueueListener;
  readonly #poller: WorkerFallbackPoller;
  readonly #catchUp: CatchUp;
  readonly #monitor: HealthMonitor;
  #mode: EventSystemMode;
  #running = false;
  #employed = false;
  #pumps: Promise<unknown> = Promise.resolve();
  /** Start, stop and switches follow each other. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @throws MillraceError CONFIG_INVALID */
  constructor(options: WorkerEventSystemOptions) {
    this.#options = options;
    this.config = configOf(options.config);
    this.systemId = this.config.systemId;
    this.#mode = this.#checkMode(this.config.deploymentMode);
    this.namespaces = checkNamespaces(options.namespaces ?? this.config.supportedNamespaces);
    const { config, namespaces: supportedNamespaces } = this;
    const counters = this.#counters;
    const onError = (error: unknown, where: string) => this.#report(error, where);
    this.#desk = new StepDesk({
      counters,
      maxAgeMs: config.fallbackPoller.maxAgeMs,
      handlerOf: (name) => this.#handlerOf(name),
      sendToRun: (address, result) => sendToRun(options.mill, address, result),
      onHandedOut: (message) => void this.#events.emit('stepExecution', message),
      onEnded: (queue) => this.#catchUp.roomIn(queue),
    });
    this.#listener = new WorkerQueueListener({
      supportedNamespaces,
      config: config.listener,
      bufferSize: config.bufferSize,
      loadSheddingThreshold: config.loadSheddingThreshold,
      counters,
    });
    this.#catchUp = new CatchUp({
      listener: this.#listener,
      counters,
      everyMs: config.processingTimeoutMs,
      queue: (name) => this.#queues.get(name) ?? null,
      onError,
    });
    this.processor = this.#createProcessor();
    this.#poller = new WorkerFallbackPoller({
      jobs: options.mill.jobs,
      supportedNamespaces,
      config: config.fallbackPoller,
      counters,
      execute: ({ queueName, message }) =>
        this.processor.executeFound(queueName, message.messageId),
      lookForRows: (name) => this.#queues.get(name)?.claim([]),
      onError,
    });
    this.#monitor = new HealthMonitor({
      system: this,
      jobs: options.mill.jobs,
      config,
      counters,
      parts: () => ({ listening: this.#listener.isListening, polling: this.#poller.isPolling }),
      onChange: (health) => this.#tellHealth(health),
    });
  }

  get deploymentMode(): EventSystemMode {
    return this.#mode;
  }
  get isRunning(): boolean {
    return this.#running;
  }
  get isPolling(): boolean {
    return this.#poller.isPolling;
  }

  /** Begins to find messages as the mode says; starts the workers of `mill.jobs` with it. */
  start(): Promise<void> {
    return this.#inTurn(() => this.#start());
  }

  /** Finds nothing more, waits for handlers, hands back what was not started. */
  stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    return this.#inTurn(() => this.#stop(options.graceMs ?? 30_000));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  switchMode(mode: EventSystemMode): Promise<void> {
    return this.#inTurn(async () => {
      const from = this.#mode;
      this.#mode = this.#checkMode(mode);
      if (from === mode) return;
      if (this.#running) await this.#applyMode();
      this.#events.emit('modeChanged', { from, to: mode });
    });
  }

  /** @throws MillraceError SHUTTING_DOWN while it does not run */
  async processEvent(event: WorkerQueueEvent): Promise<void> {
    const { message } = event;
    const queue = this.#queues.get(message.queueName);
    if (!this.#running || queue === undefined) {
      throw new MillraceError('SHUTTING_DOWN', `Nothing works on ${message.queueName} here.`);
    }
    const counters = this.#counters;
    try {
      const room = await this.#catchUp.awaitRoom(queue, this.config.processingTimeoutMs);
      if (!room) {
        counters.eventsShed += 1;
        this.#listener.miss(message.queueName);
      } else {
        await this.processor.send({ type: 'ExecuteStepFromEvent', messageEvent: message });
        counters.eventsProcessed += 1;
        counters.processed.note();
      }
    } catch (error) {
      counters.eventsFailed += 1;
      throw error;
    } finally {
      this.#catchUp.roomIn(message.queueName);
    }
  }

  statistics(): WorkerEventStatistics {
    return this.#counters.read({
      reconnects: this.#options.mill.jobs.reconnects,
      running: this.#desk.running,
      commands: { ...this.processor.commands },
    });
  }

  health(): Promise<SystemHealth> {
    return this.#monitor.check();
  }

  on<Name extends keyof WorkerSystemEvents>(
    name: Name,
    listener: (event: WorkerSystemEvents[Name]) => unknown,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /** Notices count. With the listener off there are none, whatever the mode. */
  get #listens(): boolean {
    return listensIn(this.#mode) && this.config.listener.enabled;
  }

  #checkMode(mode: EventSystemMode): EventSystemMode {
    if (checkSystemMode(mode) !== 'EventDrivenOnly' || this.config.listener.enabled) return mode;
    throw new MillraceError('CONFIG_INVALID', 'EventDrivenOnly needs the listener that is off.', {
      fix: 'Set listener.enabled to true, or choose Hybrid or PollingOnly.',
      details: { path: 'listener.enabled' },
    });
  }

  #createProcessor(): WorkerProcessor {
    return new WorkerProcessor({
      mill: this.#options.mill,
      desk: this.#desk,
      counters: this.#counters,
      queue: (name) => (this.#running ? (this.#queues.get(name) ?? null) : null),
      status: () => this.#status(),
      health: () => this.health(),
      refreshTemplates: (namespace) => this.#refreshTemplates(namespace),
      shutdown: (graceMs) => this.stop(graceMs === undefined ? {} : { graceMs }),
    });
  }

  async #start(): Promise<void> {
    if (this.#running) return;
    const { mill } = this.#options;
    this.#employ();
    if (this.config.listener.enabled) this.#listener.start();
    for (const name of this.namespaces.map(queueOf)) this.#queues.set(name, this.#conduct(name));
    this.#running = true;
    this.#pumps = Promise.all([...this.#queues.keys()].map((name) => this.#pump(name)));
    try {
      await mill.jobs.start();
      await this.#applyMode();
    } catch (error) {
      await this.#stop(0);
      throw error;
    }
    this.#monitor.start();
  }

  async #stop(graceMs: number): Promise<void> {
    if (!this.#running) return;
    for (const queue of this.#queues.values()) queue.hold();
    this.#listener.stop();
    this.#catchUp.stop();
    await Promise.all([this.#monitor.stop(), this.#poller.stop()]);
    await this.#pumps;
    this.processor.refuseAll();
    await this.#idle(graceMs);
    const stopped = new MillraceError('SHUTTING_DOWN', 'The worker event system was stopped.');
    for (const queue of this.#queues.values()) queue.abort(stopped);
    await this.#idle(1_000);
    for (const queue of this.#queues.values()) queue.close();
    this.#queues.clear();
    this.#running = false;
  }

  async #idle(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs;
    const busy = () => [...this.#queues.values()].some(({ running }) => running > 0);
    while (busy() && performance.now() < until) await sleep(5);
  }

  /** Handlers and the watch around them, once: an engine cannot give them back. */
  #employ(): void {
    if (this.#employed) return;
    this.#employed = true;
    const { mill, handlers, executor } = this.#options;
    const names = new Set(this.namespaces.map(queueOf));
    mill.jobs.use((job, next) => {
      // A run in a slot is there for as long as it is held: no message, and nothing to measure.
      const mine = this.#running && names.has(job.queue) && !job.name.startsWith('run ');
      return mine ? this.#desk.watch(job, next) : next();
    });
    if (handlers === undefined && executor === undefined) return;
    const { config } = this;
    for (const queue of names) {
      const definition = defineJob('step', {
        queue,
        attempts: config.maxRetries + 1,
        backoff: {
          kind: 'exponential',
          delayMs: config.backoff.initialDelayMs,
          maxDelayMs: config.backoff.maxDelayMs,
          multiplier: config.backoff.multiplier,
          jitter: config.backoff.jitter,
        },
        timeoutMs: config.fallbackPoller.visibilityTimeoutMs,
        handler: (payload: unknown, job) => this.#desk.handle(payload, job),
      });
      mill.jobs.workQueue(queue, definition, { concurrency: config.maxConcurrentProcessors });
    }
  }

  #conduct(name: string): ConductedQueue {
    const conductor = {
      heard: (path: 'local' | 'notice' | 'poll', lanes: readonly number[]) => {
        if (this.#listens) this.#listener.hear(name, path, lanes);
      },
      claimed: (report: Parameters<WorkerProcessor['claimed']>[1]) =>
        this.processor.claimed(name, report),
    };
    const { maxConcurrentProcessors } = this.config;
    return this.#options.mill.jobs.conduct(name, conductor, maxConcurrentProcessors);
  }

  async #applyMode(): Promise<void> {
    const mode = this.#mode;
    const { fallbackPoller } = this.config;
    const disabled = mode === 'Disabled';
    const polls = pollsIn(mode) && (fallbackPoller.enabled || mode === 'PollingOnly');
    if (!polls) await this.#poller.stop();
    for (const queue of this.#queues.values()) {
      if (disabled) queue.hold();
      else queue.proceed();
    }
    // Whatever came while nobody heard.
    if (this.#listens) await this.#catchUp.lookEverywhere(this.#queues);
    if (polls) this.#poller.startPolling();
  }

  async #pump(name: string): Promise<void> {
    for await (const notification of this.#listener.notifications(name)) {
      this.#events.emit('notification', notification);
      if (notification.type !== 'Event') continue;
      await this.processEvent(notification.event).catch((error) => this.#report(error, name));
    }
  }

  #handlerOf(name: string): StepMessageHandler | null {
    const { handlers = {}, executor = null } = this.#options;
    return Object.hasOwn(handlers, name) ? (handlers[name] as StepMessageHandler) : executor;
  }

  #status(): WorkerStatus {
    const namespaces = this.namespaces.map((namespace) => {
      const queueName = queueOf(namespace);
      const { running = 0, buffered = 0 } = this.#queues.get(queueName) ?? {};
      const concurrency = this.config.maxConcurrentProcessors;
      return { namespace, queueName, running, buffered, concurrency };
    });
    return {
      systemId: this.systemId,
      workerId: this.#options.mill.jobs.workerId,
      isRunning: this.#running,
      deploymentMode: this.#mode,
      namespaces,
      statistics: this.statistics(),
    };
  }

  async #refreshTemplates(namespace: string | null): Promise<TemplateRefresh> {
    const namespaces = namespace === null ? this.namespaces : [namespace];
    const { refreshTemplates } = this.#options;
    if (refreshTemplates === undefined) return { refreshed: null, namespaces };
    return { refreshed: await refreshTemplates(namespace), namespaces };
  }

  #tellHealth(health: WorkerHealthUpdate): void {
    this.#events.emit('notification', { type: 'Health', health });
  }

  #report(error: unknown, where: string): void {
    this.#options.onError?.(error, where);
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => {});
    return done;
  }
}

function configOf(settings: WorkerEventSystemSettings = {}): WorkerEventSystemConfig {
  // Of the built-in values only: files are the program's to load.
  const { eventSystem } = defaultConfiguration();
  const config = {
    ...eventSystem,
    ...settings,
    listener: { ...eventSystem.listener, ...settings.listener },
    fallbackPoller: { ...eventSystem.fallbackPoller, ...settings.fallbackPoller },
    backoff: { ...eventSystem.backoff, ...settings.backoff },
  };
  const { bufferSize, maxConcurrentProcessors: most } = config;
  const counts = { bufferSize, maxConcurrentProcessors: most, ...config.fallbackPoller };
  for (const name of ['bufferSize', 'maxConcurrentProcessors', 'batchSize'] as const) {
    if (Number.isInteger(counts[name]) && counts[name] >= 1) continue;
    throw new MillraceError('CONFIG_INVALID', `${name} is ${counts[name]}.`, {
      fix: 'Give a whole number of 1 or more.',
      details: { path: name },
    });
  }
  return config;
}

function checkNamespaces(namespaces: readonly string[]): readonly string[] {
  const wrong = namespaces.find((name) => !/^[A-Za-z][\w.-]{0,63}$/.test(name));
  if (namespaces.length > 0 && wrong === undefined) return [...new Set(namespaces)];
  const problem = wrong === undefined ? 'No namespace is given.' : `'${wrong}' is no namespace.`;
  throw new MillraceError('CONFIG_INVALID', problem, {
    fix: 'Name them in `namespaces`, or as supported_namespaces in the configuration.',
    details: { path: 'namespaces' },
  });
}

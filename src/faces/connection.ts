/**
 * The engine that faces share. All faces of one process that name the same place use one, so that a
 * queue, a worker and a scheduler made apart see each other, and a job added here starts here at
 * once. It connects at the first call that needs it, and ends with the last face that is closed.
 *
 * An engine cannot stop working and go on enqueueing. When the worker of a place stops while other
 * faces stay, the engine is ended and the next call opens another one (`renew`).
 */
import { connectJobs } from '../connect.ts';
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobEventName, JobEvents } from '../jobs/lifecycle.ts';
import { WorkerError } from './errors.ts';
import { type Place, type PlaceOptions, readPlace } from './settings.ts';
import { Workshop } from './workshop.ts';

export interface ConnectionOptions extends PlaceOptions {
  /** An engine that is connected already, such as `mill.jobs`; it stays yours to stop. */
  readonly jobs?: Jobs | undefined;
}

export interface EndOptions {
  /** How long running jobs may go on before they are told to stop; 30,000 by default. */
  readonly graceMs?: number;
}

interface Subscription {
  readonly event: JobEventName;
  readonly listener: (event: never) => void;
  stop(): void;
}

export class Engine {
  readonly place: Place;
  readonly workshop: Workshop;
  readonly #given: Jobs | null;
  /** Of the engine that this place had before. */
  readonly #before: Promise<void>;
  readonly #subscriptions = new Set<Subscription>();
  #jobs: Promise<Jobs> | null = null;
  #current: Jobs | null = null;
  #ending: Promise<void> | null = null;
  #ended = new AbortController();
  /** Faces that use it. */
  holders = 0;

  constructor(place: Place, given: Jobs | null, before: Promise<void> = Promise.resolve()) {
    this.place = place;
    this.#given = given;
    this.#before = before;
    this.workshop = new Workshop(this);
  }

  /**
   * Connects if that has not happened. A failed connection is tried again by the next call. One
   * that ends is still good for what its last jobs want of it.
   */
  jobs(): Promise<Jobs> {
    this.#jobs ??= this.#connect().catch((error) => {
      this.#jobs = null;
      throw error;
    });
    return this.#jobs;
  }

  /** Asks the engine; asks the next one when this one ended in the meantime. */
  async call<T>(act: (jobs: Jobs) => T | Promise<T>): Promise<T> {
    const { signal } = this.#ended;
    const jobs = await this.jobs();
    try {
      return await act(jobs);
    } catch (error) {
      const over = isMillraceError(error) && error.code === 'SHUTTING_DOWN';
      if (!over || this.holders === 0 || (this.#ending === null && !signal.aborted)) throw error;
      await this.#ending;
      return act(await this.jobs());
    }
  }

  /** For work and for schedules: the engine also does its own part from now on. */
  async start(): Promise<Jobs> {
    await this.#ending;
    const jobs = await this.jobs();
    await jobs.start();
    return jobs;
  }

  on<Name extends JobEventName>(
    event: Name,
    listener: (event: JobEvents[Name]) => void,
  ): () => void {
    const subscription: Subscription = { event, listener, stop: () => {} };
    this.#subscriptions.add(subscription);
    if (this.#current !== null) subscribe(this.#current, subscription);
    return () => {
      subscription.stop();
      this.#subscriptions.delete(subscription);
    };
  }

  /** As `Jobs.result`, and through a renewal. */
  async result(
    id: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<unknown> {
    const { signal, timeoutMs } = options;
    const until = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
    for (;;) {
      const jobs = await this.jobs();
      const ended = this.#ended.signal;
      const left = until - performance.now();
      try {
        return await jobs.result(id, {
          signal: signal === undefined ? ended : AbortSignal.any([signal, ended]),
          ...(timeoutMs !== undefined && { timeoutMs: Math.max(0, left) }),
        });
      } catch (error) {
        if (!ended.aborted || error !== ended.reason || this.holders === 0) throw error;
      }
    }
  }

  /** Queues of two prefixes share nothing. In Redis the prefix stands before every key. */
  scoped(name: string): string {
    const { kind, prefix } = this.place;
    return prefix === null || kind === 'redis' ? name : `${prefix}:${name}`;
  }

  /** A scoped name as the faces call it; null for one of another prefix. */
  unscoped(name: string): string | null {
    const { kind, prefix } = this.place;
    if (prefix === null || kind === 'redis') return name;
    return name.startsWith(`${prefix}:`) ? name.slice(prefix.length + 1) : null;
  }

  /** Drains what works here and disconnects; the next call connects again. */
  renew(options: EndOptions = {}): Promise<void> {
    if (this.#jobs === null || this.#given !== null) return Promise.resolve();
    this.#ending ??= this.#end(this.#jobs, options).finally(() => {
      this.#ending = null;
      // Queues that still have a processor are worked on again at once.
      if (this.workshop.busy) void this.start().catch((error) => this.workshop.report(error));
    });
    return this.#ending;
  }

  async #end(ending: Promise<Jobs>, options: EndOptions): Promise<void> {
    const ended = this.#ended;
    try {
      const jobs = await ending.catch(() => null); // told to whoever wanted to connect
      this.workshop.letGo();
      await jobs?.stop(options);
    } finally {
      this.#jobs = null;
      this.#current = null;
      this.#ended = new AbortController();
      ended.abort(new MillraceError('SHUTTING_DOWN', 'The engine of this place was stopped.'));
    }
  }

  async #connect(): Promise<Jobs> {
    const jobs = this.#given ?? (await this.#open());
    this.#current = jobs;
    for (const subscription of this.#subscriptions) subscribe(jobs, subscription);
    this.workshop.furnish(jobs);
    return jobs;
  }

  async #open(): Promise<Jobs> {
    await this.#before.catch(() => {}); // told to whoever ended it
    const { kind, url, directory, prefix, keepMs, maxConnections } = this.place;
    return connectJobs(url === '' ? undefined : url, {
      directory,
      ...(kind === 'redis' && prefix !== null && { prefix }),
      ...(keepMs !== null && { retentionMs: keepMs }),
      ...(maxConnections !== null && { connectionsMax: maxConnections }),
    });
  }
}

function subscribe(jobs: Jobs, subscription: Subscription): void {
  subscription.stop = jobs.on(subscription.event, subscription.listener as never);
}

const engines = new Map<string, Engine>();
const enginesGiven = new WeakMap<Jobs, Engine>();
/** Engines that their last face has left, until they have ended. */
const endings = new Map<string, Promise<void>>();

/** A face's share of the engine of its place. */
export class Connection {
  readonly #face: string;
  readonly #engine: Engine;
  readonly #forget: (ending: Promise<void>) => void;
  #closing: Promise<void> | null = null;

  /** Nothing is connected yet. @throws MillraceError CONFIG_INVALID */
  constructor(face: string, options: ConnectionOptions) {
    this.#face = face;
    const { engine, forget } = engineOf(options);
    this.#engine = engine;
    this.#forget = forget;
    this.#engine.holders += 1;
  }

  /** @throws WorkerError SHUTTING_DOWN after `close`. */
  get engine(): Engine {
    if (this.#closing === null) return this.#engine;
    throw new WorkerError('SHUTTING_DOWN', `This ${this.#face} was closed.`, {
      fix: `Make a new ${this.#face}.`,
    });
  }

  get closed(): boolean {
    return this.#closing !== null;
  }

  /** The last of a place ends its engine, and resolves when that is done. */
  close(options: EndOptions = {}): Promise<void> {
    this.#closing ??= this.#release(options);
    return this.#closing;
  }

  #release(options: EndOptions): Promise<void> {
    this.#engine.holders -= 1;
    if (this.#engine.holders > 0) return Promise.resolve();
    const ending = this.#engine.renew(options);
    this.#forget(ending);
    return ending;
  }
}

function engineOf(options: ConnectionOptions) {
  const { jobs } = options;
  const place = readPlace(options);
  if (jobs !== undefined) {
    const engine = enginesGiven.get(jobs) ?? new Engine({ ...place, prefix: null }, jobs);
    enginesGiven.set(jobs, engine);
    return { engine, forget: () => void enginesGiven.delete(jobs) };
  }
  const { kind, url, directory, prefix } = place;
  const key = JSON.stringify([url === '' ? directory : url, kind, prefix]);
  const engine = engines.get(key) ?? new Engine(place, null, endings.get(key));
  engines.set(key, engine);
  const forget = (ending: Promise<void>) => {
    engines.delete(key);
    endings.set(key, ending);
    const over = () => {
      if (endings.get(key) === ending) endings.delete(key);
    };
    ending.then(over, over);
  };
  return { engine, forget };
}

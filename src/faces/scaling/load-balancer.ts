/**
 * Chooses a worker for each request, among those whose health checks succeed. The checks begin with
 * the first request or with `start()`, and never keep the process alive.
 */

import { WorkerError } from '../errors.ts';
import { Listeners } from '../listeners.ts';
import { readMonitoring } from '../settings.ts';
import {
  type Algorithm,
  algorithms,
  type Balancing,
  type Candidate,
  createBalancing,
} from './balancing.ts';
import {
  type HealthCheckOptions,
  type HealthCheckSettings,
  Judgement,
  probe,
} from './health-check.ts';
import { parseWorker, type WorkerEndpoint } from './worker-address.ts';

export interface LoadBalancerOptions {
  /** 'round-robin' by default. */
  readonly algorithm?: Algorithm | undefined;
  readonly workers: readonly (string | WorkerEndpoint)[];
  /** False: every worker counts as healthy, always. */
  readonly healthCheck?: HealthCheckOptions | false | undefined;
}

export interface LoadBalancerEvents {
  readonly healthy: { readonly worker: string };
  readonly unhealthy: { readonly worker: string; readonly error: Error };
  /** Every check, whatever it changes. */
  readonly checked: { readonly worker: string; readonly error: Error | null };
}

export interface WorkerState {
  readonly worker: string;
  readonly weight: number;
  /** Null before its first check; it is given out when that has succeeded. */
  readonly healthy: boolean | null;
  /** Given out and not released. */
  readonly connections: number;
}

/** A worker that was taken; `using` gives it back. */
export interface TakenWorker extends Disposable {
  readonly worker: string;
  release(): void;
}

interface Member extends Candidate {
  readonly judgement: Judgement;
}

export class LoadBalancer {
  readonly #algorithm: Algorithm;
  readonly #balancing: Balancing;
  readonly #check: HealthCheckSettings | null;
  readonly #listeners = new Listeners<LoadBalancerEvents>();
  #members: readonly Member[] = [];
  #rounds: AbortController | null = null;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #firstRound: Promise<void> = Promise.resolve();

  /** @throws WorkerError CONFIG_INVALID */
  constructor(options: LoadBalancerOptions) {
    const { algorithm = 'round-robin', workers, healthCheck = {} } = options;
    if (!algorithms.includes(algorithm)) {
      throw new WorkerError('CONFIG_INVALID', `'${algorithm}' is not a way to balance.`, {
        fix: `Use ${algorithms.join(', ')}.`,
      });
    }
    this.#algorithm = algorithm;
    this.#balancing = createBalancing(algorithm);
    this.#check = healthCheck === false ? null : readHealthCheck(healthCheck);
    for (const worker of workers) this.#add(worker);
    this.#balancing.change(this.#members);
  }

  on<E extends keyof LoadBalancerEvents>(
    event: E,
    listener: (payload: LoadBalancerEvents[E]) => unknown,
  ): () => void {
    return this.#listeners.on(event, listener);
  }

  /** Resolves when every worker was checked once. */
  async start(): Promise<void> {
    this.#stopped = false;
    if (this.#check !== null && this.#rounds === null) {
      this.#rounds = new AbortController();
      this.#firstRound = this.#round(this.#check, this.#rounds.signal);
    }
    await this.#firstRound;
  }

  /** No more checks until the next `start()`; workers stay as the last one found them. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#rounds?.abort();
    this.#rounds = null;
    await this.#firstRound;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * The address of the next healthy worker, as it was given. Call `release` with it where
   * connections count.
   * @param key for consistent-hash: what shall stay with one worker.
   * @throws WorkerError WORKER_UNAVAILABLE when none is healthy; REQUEST_INVALID without a key.
   */
  async getNextWorker(key?: string): Promise<string> {
    if (!this.#stopped) await this.start();
    const member = this.#balancing.next(key);
    if (member === null) throw this.#noneLeft();
    member.connections += 1;
    return member.address;
  }

  /** The same, as a handle to give back. */
  async take(key?: string): Promise<TakenWorker> {
    const worker = await this.getNextWorker(key);
    let taken = true;
    const release = () => {
      if (taken) this.release(worker);
      taken = false;
    };
    return { worker, release, [Symbol.dispose]: release };
  }

  /** The request that the worker was given out for has ended. */
  release(worker: string): void {
    const member = this.#find(worker);
    member.connections = Math.max(0, member.connections - 1);
  }

  /**
   * Checks now. The answer counts as one check: whether the worker is given out may take more.
   * @throws WorkerError NOT_FOUND for an address that is none of its workers.
   */
  async checkHealth(worker: string): Promise<boolean> {
    return this.#examine(this.#find(worker), this.#check ?? readHealthCheck({}));
  }

  /** Takes part as soon as its first check has succeeded. */
  addWorker(worker: string | WorkerEndpoint): void {
    const member = this.#add(worker);
    this.#balancing.change(this.#members);
    if (this.#check === null || this.#rounds === null) return;
    void this.#examine(member, this.#check, this.#rounds.signal);
  }

  /** Is given out no more, at once. */
  removeWorker(worker: string): void {
    const member = this.#find(worker);
    this.#members = this.#members.filter((other) => other !== member);
    this.#balancing.change(this.#members);
  }

  get workers(): readonly WorkerState[] {
    return this.#members.map(({ address, weight, judgement, connections }) => ({
      worker: address,
      weight,
      healthy: judgement.healthy,
      connections,
    }));
  }

  #add(given: string | WorkerEndpoint): Member {
    const worker = parseWorker(given);
    if (this.#members.some(({ address }) => address === worker.address)) {
      throw new WorkerError('CONFIG_INVALID', `The worker ${worker.address} is given twice.`, {
        fix: 'Give each address once, with a weight where it shall have more of the work.',
      });
    }
    const judgement = new Judgement(this.#check ?? { unhealthyAfter: 1, healthyAfter: 1 });
    if (this.#check === null) judgement.note(true);
    const available = judgement.healthy === true;
    const member = { ...worker, connections: 0, judgement, available };
    this.#members = [...this.#members, member];
    return member;
  }

  #find(worker: string): Member {
    const member = this.#members.find(({ address }) => address === worker);
    if (member !== undefined) return member;
    throw new WorkerError('NOT_FOUND', `${worker} is none of the workers.`, {
      fix: 'Give the address as the options have it, or add it with addWorker.',
    });
  }

  async #round(check: HealthCheckSettings, signal: AbortSignal): Promise<void> {
    await Promise.all(this.#members.map((member) => this.#examine(member, check, signal)));
    if (signal.aborted) return;
    // A little jitter, so that balancers started together do not ask together.
    const delay = check.interval * (0.9 + Math.random() * 0.2);
    this.#timer = setTimeout(() => void this.#round(check, signal), delay);
    this.#timer.unref();
  }

  async #examine(
    member: Member,
    check: HealthCheckSettings,
    signal?: AbortSignal,
  ): Promise<boolean> {
    let error: Error | null = null;
    try {
      await probe(member, check, signal);
    } catch (caught) {
      error = caught as Error;
    }
    if (signal?.aborted) return member.available; // stopped meanwhile: it says nothing
    const worker = member.address;
    this.#listeners.emit('checked', { worker, error });
    if (this.#check !== null && member.judgement.note(error === null)) {
      member.available = error === null;
      if (error === null) this.#listeners.emit('healthy', { worker });
      else this.#listeners.emit('unhealthy', { worker, error });
    }
    return error === null;
  }

  #noneLeft(): WorkerError {
    const { length } = this.#members;
    const found = length === 0 ? 'There are no workers' : `None of ${length} workers is healthy`;
    return new WorkerError('WORKER_UNAVAILABLE', `${found} (${this.#algorithm}).`, {
      details: { workers: this.workers },
    });
  }
}

const timerMsMax = 2_147_483_647;

function readHealthCheck(options: HealthCheckOptions): HealthCheckSettings {
  const { timeout = 5_000, path = '/health', unhealthyAfter = 2, healthyAfter = 2 } = options;
  const interval =
    options.interval === undefined ? readMonitoring().healthCheckInterval : options.interval;
  const check = (value: number, name: string, [min, max]: readonly [number, number]) => {
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    const problem = `healthCheck.${name} is ${value}, not a whole number from ${min} to ${max}.`;
    throw new WorkerError('CONFIG_INVALID', problem);
  };
  if (!path.startsWith('/')) {
    throw new WorkerError('CONFIG_INVALID', `healthCheck.path is '${path}': it begins with a /.`);
  }
  return {
    interval: check(interval, 'interval', [10, timerMsMax]),
    timeout: check(timeout, 'timeout', [1, timerMsMax]),
    path,
    unhealthyAfter: check(unhealthyAfter, 'unhealthyAfter', [1, 1_000]),
    healthyAfter: check(healthyAfter, 'healthyAfter', [1, 1_000]),
    headers: options.headers ?? {},
  };
}

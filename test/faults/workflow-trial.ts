/**
 * What every workflow fault has in common: a server, trips that are started while things go wrong,
 * effects that can be counted, and one judgement at the end: every trip that was acknowledged has
 * ended as an undisturbed one does.
 */
import assert from 'node:assert/strict';
import { connect, type Millrace } from 'millrace';
import type { Random } from '../support/random.ts';
import { eventually } from './eventually.ts';
import { Fleet } from './fleet.ts';
import { JobEffects } from './job-ledger.ts';
import { allowedMs, assertClean, record, type Verdict } from './ledger.ts';
import { type Placed, Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';
import { defineTrips, steps, type Trip } from './trips.ts';
import type { WorkflowWorkerOptions } from './workflow-worker.ts';

const script = new URL('./workflow-worker.ts', import.meta.url);
const idle = { worker: '', directory: '', rest: async () => {}, dieOnce: () => {} };
const kept = new Set(['hotel', 'pay']);

export type TripKind = 'function' | 'dag';

export class WorkflowTrial {
  readonly random: Random;
  readonly server: FaultServer;
  readonly mill: Millrace;
  readonly effects: JobEffects;
  readonly producer: Producer;
  readonly fleets: Fleet<WorkflowWorkerOptions>[] = [];
  /** Runs by the number of their trip. */
  readonly runs = new Map<number, { readonly runId: string; readonly kind: TripKind }>();
  readonly #trips = defineTrips(idle);
  #started = 0;

  private constructor(random: Random, server: FaultServer, mill: Millrace, effects: JobEffects) {
    this.random = random;
    this.server = server;
    this.mill = mill;
    this.effects = effects;
    const place = ({ seq }: Placed) => this.start(seq % 2 === 0 ? 'function' : 'dag');
    this.producer = new Producer(place, random, 1);
  }

  static async open(name: string): Promise<WorkflowTrial> {
    const random = announcedRandom(name);
    const server = await FaultServer.started();
    const mill = await connect(server.url());
    const trial = new WorkflowTrial(random, server, mill, await JobEffects.create(server));
    mill.workflows.register(Object.values(trial.#trips));
    return trial;
  }

  async fleet(
    count: number,
    options: Partial<WorkflowWorkerOptions> = {},
  ): Promise<Fleet<WorkflowWorkerOptions>> {
    const pace = { handlerMs: 5, heartbeatMs: 200, timeToLiveMs: 1_000 };
    const place = { url: this.server.url(), directory: this.effects.directory };
    const fleet = new Fleet<WorkflowWorkerOptions>({ ...pace, ...place, ...options }, { script });
    for (let i = 0; i < count; i += 1) fleet.start();
    await Promise.all(fleet.workers.map(({ ready }) => ready));
    this.fleets.push(fleet);
    return fleet;
  }

  /** Resolves with the trip's number when the run is durable. */
  async start(kind: TripKind, dieAt: string | null = null): Promise<number> {
    this.#started += 1;
    const trip: Trip = { n: this.#started, dieAt };
    const { runId } = await this.mill.workflows.start(this.#trips[kind] as never, trip as never, {
      key: `trip-${trip.n}`,
    });
    this.runs.set(trip.n, { runId, kind });
    return trip.n;
  }

  /** Waits for every run there is, compares each, records and asserts what faults promise. */
  async judge({ fault, times, deaths, drainMs = 60_000 }: Injected): Promise<void> {
    await this.producer.stop();
    const unended = async () => {
      const page = await this.mill.workflows.counts();
      return [...page].some(([state, count]) => count > 0 && !ended.has(state));
    };
    await eventually(
      'all runs have ended',
      allowedMs(drainMs),
      async () => !(await unended()),
    ).catch(() => {});
    const verdict = await this.#verdict(deaths);
    record({
      fault: `workflows: ${fault}`,
      seed: this.random.seed,
      injected: times,
      events: this.runs.size,
      verdict,
    });
    assert.deepEqual(this.producer.refusals, []);
    assertClean(verdict);
  }

  async #verdict(deaths: number): Promise<Partial<Verdict>> {
    let [lost, stuck] = [0, 0];
    for (const [n, { runId, kind }] of this.runs) {
      const run = await this.mill.workflows.get(runId);
      if (run === null) lost += 1;
      else if (run.state !== 'complete') stuck += 1;
      else assert.deepEqual(run.result, expected(kind, n), `run ${n}, ${runId}`);
    }
    const counts = new Map<string, number>();
    let unexpected = 0;
    for (const { stage, key, seq } of await this.effects.read()) {
      if (!this.runs.has(seq)) unexpected += 1;
      counts.set(`${stage} ${seq} ${key}`, (counts.get(`${stage} ${seq} ${key}`) ?? 0) + 1);
    }
    let duplicated = 0;
    let repeated = 0;
    for (const [n, { kind }] of this.runs) {
      for (const step of steps) {
        const found = counts.get(`${kind} ${n} ${step}`) ?? 0;
        if (found === 0) lost += 1;
        if (kept.has(step)) duplicated += Math.max(0, found - 1);
        else repeated += Math.max(0, found - 1);
      }
    }
    // Outside of transactions a step may run again when its worker died, and only then.
    if (deaths === 0) duplicated += repeated;
    return { lost, unexpected, duplicated, stuck };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fleet of this.fleets) await fleet[Symbol.asyncDispose]();
    await this.producer.stop();
    await this.mill.stop();
    await this.effects[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

export interface Injected {
  readonly fault: string;
  readonly times: number;
  /** Workers that died or were frozen. */
  readonly deaths: number;
  readonly drainMs?: number;
}

const ended: ReadonlySet<string> = new Set(['complete', 'error', 'cancelled', 'resolved_manually']);

function expected(kind: TripKind, n: number): unknown {
  return kind === 'function' ? steps.map((step) => `${step} ${n}`) : { ticket: `ticket ${n}` };
}

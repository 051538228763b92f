/**
 * What every job fault has in common: a server, a producer of jobs, effects that can be counted,
 * and at the end one judgement. A test says only what goes wrong meanwhile.
 */
import assert from 'node:assert/strict';
import { type ConnectJobsOptions, connectJobs, type Jobs } from 'millrace';
import type { Random } from '../support/random.ts';
import type { FleetSetup } from './fleet.ts';
import { type JobFleet, startJobFleet } from './job-fleet.ts';
import { describeLost, describeStuck, drainJobs, JobEffects, judgeJobs } from './job-ledger.ts';
import { placeJobs } from './job-orders.ts';
import type { JobWorkerOptions } from './job-worker.ts';
import { allowedMs, assertClean, record, type Verdict } from './ledger.ts';
import { type Place, Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { Recoveries } from './recoveries.ts';
import { FaultServer } from './server.ts';

const killedMsMax = 10_000;

export interface TrialOptions extends ConnectJobsOptions {
  /** Between the producer and the server: its port. */
  readonly through?: (server: FaultServer) => Promise<number>;
  readonly place?: (jobs: Jobs) => Place;
  /** Of a Redis that takes the place of the server. */
  readonly redisUrl?: string;
}

export interface Injected {
  readonly fault: string;
  /** How many times. */
  readonly times: number;
  readonly note?: string;
  /** How long the jobs may take to be done after the last fault. */
  readonly drainMs?: number;
  /** Workers were meant to end by themselves. */
  readonly crashing?: boolean;
  /** Workers stop in good order: jobs that wait again were not started. */
  readonly handsBack?: boolean;
  /** Until what was accepted before a fault is done; ten seconds is what a killed worker gets. */
  readonly recoveryMsMax?: number;
}

export class JobTrial {
  readonly random: Random;
  readonly #server: FaultServer | null;
  readonly #url: string;
  readonly jobs: Jobs;
  readonly effects: JobEffects;
  readonly producer: Producer;
  readonly recoveriesMs: number[] = [];
  readonly fleets: JobFleet[] = [];

  private constructor(
    random: Random,
    server: FaultServer | null,
    url: string,
    jobs: Jobs,
    effects: JobEffects,
    place: Place,
  ) {
    this.random = random;
    this.#server = server;
    this.#url = url;
    this.jobs = jobs;
    this.effects = effects;
    this.producer = new Producer(place, random);
  }

  static async open(name: string, options: TrialOptions = {}): Promise<JobTrial> {
    const { through, place = placeJobs, redisUrl, ...rest } = options;
    const random = announcedRandom(name);
    const server = redisUrl === undefined ? await FaultServer.started() : null;
    const url = redisUrl ?? (server as FaultServer).url();
    const jobs = await connectJobs(server?.url(await through?.(server)) ?? url, rest);
    return new JobTrial(random, server, url, jobs, await JobEffects.create(server), place(jobs));
  }

  get server(): FaultServer {
    if (this.#server) return this.#server;
    throw new Error('this trial runs on Redis');
  }

  async fleet(
    count: number,
    options: Partial<JobWorkerOptions> = {},
    setup: FleetSetup = {},
  ): Promise<JobFleet> {
    const { directory } = this.effects;
    const place = { url: this.#url, directory };
    const fleet = await startJobFleet(count, { ...place, ...options }, setup);
    this.fleets.push(fleet);
    return fleet;
  }

  /** A fault was injected right now: waits until what was accepted before it has been done. */
  async recover(withinMs = 30_000): Promise<void> {
    const recoveries = new Recoveries(this.effects.reached, this.producer);
    recoveries.noteFault();
    this.recoveriesMs.push(...(await recoveries.finish(withinMs)));
  }

  /** Ends the load, waits for the jobs, judges, records and asserts what all faults promise. */
  async judge(injected: Injected): Promise<Partial<Verdict>> {
    const { fault, times, note, drainMs = 30_000, crashing = false } = injected;
    const { recoveryMsMax = killedMsMax, handsBack = false } = injected;
    const { producer, jobs, effects, recoveriesMs, random } = this;
    const server = this.#server;
    await producer.stop();
    await drainJobs(jobs, drainMs);
    const taken = this.fleets.reduce((sum, fleet) => sum + fleet.count('recovered'), 0);
    const verdict = await judgeJobs(jobs, server, effects, producer, {
      interruptions: taken,
      handsBack,
    });
    if (server && verdict.stuck > 0) console.log('STUCK', await describeStuck(server));
    if (server && verdict.lost > 0) {
      console.log('LOST', await describeLost(server, effects, producer));
    }
    record({
      fault: `jobs: ${fault}`,
      seed: random.seed,
      injected: times,
      events: producer.acknowledgedCount,
      verdict,
      recoveriesMs,
      ...(note && { note }),
    });
    if (!crashing) for (const fleet of this.fleets) assert.deepEqual(fleet.crashes, []);
    assert.deepEqual(producer.refusals, []);
    assertClean(verdict);
    const worst = Math.max(0, ...recoveriesMs);
    assert.ok(worst <= allowedMs(recoveryMsMax), `recoveries ${recoveriesMs.map(Math.round)}`);
    return verdict;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fleet of this.fleets) await fleet[Symbol.asyncDispose]();
    await this.producer.stop();
    await this.jobs.stop();
    await this.effects[Symbol.asyncDispose]();
    await this.#server?.[Symbol.asyncDispose]();
  }
}

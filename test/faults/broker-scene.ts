/**
 * What every broker fault has in common: a Postgres of its own, workers in processes of their own
 * that get their events by the broker, orders published all the time, and at the end the ledger.
 *
 *   orders ─> publish() here ─> log ─> relay ─> broker ─> feed ─> ship, bill ─> effect table
 *            (accepted always)       (in the worker processes)
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Millrace } from 'millrace';
import type { BrokerSettings } from '../../src/ports/broker.ts';
import type { Random } from '../support/random.ts';
import { BrokerProbe } from './broker-probe.ts';
import type { BrokerWorkerOptions } from './broker-worker.ts';
import { eventually } from './eventually.ts';
import { Fleet } from './fleet.ts';
import { allowedMs, assertClean, drain, judge, record, scale, scaled } from './ledger.ts';
import { createEffects } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { Recoveries } from './recoveries.ts';
import { FaultServer } from './server.ts';

const script = new URL('./broker-worker.ts', import.meta.url);
const drainMs = 60_000;
/** publish() answers within this, whatever the broker does: it asks Postgres alone. */
const acceptedMsMax = 5_000;

/** Brokers take turns with the other faults on every commit; the whole list is for the night. */
export const ofTheNight: string | false =
  scale >= 2 ? false : 'only with MILLRACE_FAULTS_SCALE of 2 or more';

export interface SceneOptions extends Partial<BrokerWorkerOptions> {
  readonly broker: BrokerWorkerOptions['broker'] & BrokerSettings;
  readonly workers?: number;
  /** How to look at the broker itself; as the workers do, by default. */
  readonly probe?: BrokerSettings;
  readonly perSecond?: number;
}

/** What a fault has at hand. */
export interface Scene {
  readonly random: Random;
  readonly fleet: Fleet<BrokerWorkerOptions>;
  readonly producer: Producer;
  readonly server: FaultServer;
  /** Events that the broker brought to workers so far. */
  delivered(): number;
  relayed(): number;
  /** The fault was injected right now: from here the recovery is measured. */
  note(): void;
}

export interface Fault {
  readonly name: string;
  /** Does the harm and takes it back; answers how many times. */
  inject(scene: Scene): Promise<number>;
  /** 30 s by default, until what was accepted before the fault has reached the end. */
  readonly recoveryMsMax?: number;
}

export class BrokerScene {
  readonly fleet: Fleet<BrokerWorkerOptions>;
  readonly server: FaultServer;
  readonly #mill: Millrace;
  readonly #options: SceneOptions;
  readonly #name: string;
  readonly #probe: BrokerProbe;

  private constructor(
    name: string,
    server: FaultServer,
    mill: Millrace,
    fleet: Fleet<BrokerWorkerOptions>,
    options: SceneOptions,
    probe: BrokerProbe,
  ) {
    this.#probe = probe;
    this.#name = name;
    this.server = server;
    this.#mill = mill;
    this.fleet = fleet;
    this.#options = options;
  }

  /** Postgres and workers that run and get events by the broker; all of it ends with the test. */
  static async set(t: TestContext, name: string, options: SceneOptions): Promise<BrokerScene> {
    const server = await FaultServer.started();
    t.after(() => server[Symbol.asyncDispose]());
    const mill = await connect(server.url(), { partitions: 4 });
    t.after(() => mill.stop());
    await createEffects(server);
    const { workers = 3, perSecond: _, ...rest } = options;
    const pace = { handlerMs: 2, heartbeatMs: 500, timeToLiveMs: 2_500 };
    const fleet = new Fleet<BrokerWorkerOptions>(
      { ...pace, ...rest, url: server.url() },
      { script },
    );
    t.after(() => fleet[Symbol.asyncDispose]());
    for (let i = 0; i < workers; i += 1) fleet.start();
    await Promise.all(fleet.workers.map(({ ready }) => ready));
    assert.deepEqual(fleet.crashes, []);
    const probe = new BrokerProbe(options.probe ?? options.broker);
    t.after(() => probe.stop());
    await probe.start();
    return new BrokerScene(name, server, mill, fleet, options, probe);
  }

  /** Injects a fault under load; what was accepted must have its effects, once and in order. */
  async run({ name, inject, recoveryMsMax = 30_000 }: Fault): Promise<void> {
    const fault = `${this.#name}: ${name}`;
    const random = announcedRandom(fault);
    const { fleet, server } = this;
    // The round before was drained: what it left is judged already, and its keys begin again.
    await server.rows('truncate effect');
    const producer = new Producer(this.#mill, random);
    producer.start(this.#options.perSecond ?? 120);
    const before = fleet.count('delivered');
    const brings = (least: number) => () => fleet.count('delivered') >= least;
    await eventually('the broker brings events', allowedMs(30_000), brings(before + 50));
    const recoveries = new Recoveries(server, producer);
    const injected = await inject({
      random,
      fleet,
      producer,
      server,
      delivered: () => fleet.count('delivered'),
      relayed: () => fleet.count('relayed'),
      note: () => recoveries.noteFault(),
    });
    const taken = await recoveries.finish(allowedMs(recoveryMsMax) + 5_000);
    const after = fleet.count('delivered');
    const back = await eventually(
      'the broker brings events again',
      allowedMs(30_000),
      brings(after + 50),
    ).catch((error: unknown) => error as Error);
    await producer.stop();
    await drain(server, allowedMs(drainMs));
    const verdict = await judge(server, producer);
    const atBroker = await this.#atBroker();
    const brought = fleet.count('delivered') - before;
    record({
      fault,
      seed: random.seed,
      injected,
      events: producer.acknowledgedCount,
      verdict,
      recoveriesMs: taken,
      note:
        `${brought} deliveries, ${fleet.count('gaps')} from the log, ` +
        `${this.#probe.seen.repeated} stored twice, ${fleet.survived} errors survived, ` +
        `slowest publish ${Math.round(producer.slowestMs)} ms`,
    });
    assert.deepEqual(fleet.crashes, []);
    assert.deepEqual(producer.refusals, []);
    assertClean(verdict);
    assert.deepEqual(atBroker, { holes: [], missing: [] });
    assert.ok(!(back instanceof Error), String(back));
    assert.ok(
      taken.every((ms) => ms <= allowedMs(recoveryMsMax)),
      `recoveries ${taken}`,
    );
    assert.ok(producer.slowestMs <= allowedMs(acceptedMsMax), `publish ${producer.slowestMs} ms`);
  }

  /** Every partition of the topic ends with what the log ends with, and has all before it. */
  async #atBroker(): Promise<{ holes: readonly string[]; missing: readonly string[] }> {
    const rows = await this.server.rows<{ partition: number; head: string }>(
      'select "partition", max("offset") as head from millrace.event group by 1',
    );
    const missing = () =>
      rows.flatMap(({ partition, head }) => {
        const last = this.#probe.seen.last.get(partition) ?? 0;
        return last < Number(head) ? `${partition}: ${last} of ${head}` : [];
      });
    const complete = () => missing().length === 0;
    await eventually('the broker has it all', allowedMs(30_000), complete, 100).catch(() => {});
    return { holes: this.#probe.seen.holes, missing: missing() };
  }
}

/** Workers come and go all the time: killed, stopped, started, one a second. */
export async function comeAndGo({ fleet, random, note }: Scene, times: number): Promise<number> {
  for (let i = 0; i < times; i += 1) {
    const victim = random.pick(fleet.workers);
    victim.kill(i % 3 === 2 ? 'SIGTERM' : 'SIGKILL');
    note();
    const fresh = fleet.start();
    await Promise.all([fresh.ready, victim.exited, sleep(1_000)]);
  }
  return times;
}

/** The broker is away for long (CI: 10 s) while orders are accepted; then the relay drains. */
export function away(leave: () => Promise<void>, comeBack: () => Promise<void>): Fault {
  return {
    name: 'away',
    recoveryMsMax: 60_000,
    async inject({ note, producer, delivered }) {
      await leave();
      await sleep(500); // what was fetched before may still be on its way
      const [accepted, brought] = [producer.acknowledgedCount, delivered()];
      await sleep(Math.min(60_000, scaled(10) * 1_000));
      assert.ok(producer.acknowledgedCount > accepted + 100, 'orders are accepted meanwhile');
      const meanwhile = delivered() - brought;
      assert.ok(meanwhile <= 2_000, `${meanwhile} deliveries of a broker that is away`);
      note();
      await comeBack();
      return 1;
    },
  };
}

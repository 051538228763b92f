/**
 * A store that misbehaves by seed, around any real one: answers that get lost after the work was
 * done, errors before it, delays, and notices that are dropped, doubled or late. What the port
 * allows a store to do, this one does often. In the spirit of TigerBeetle's
 * src/testing/storage.zig.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../../src/core/errors.ts';
import type { NoticeChannel, NoticeHandlers } from '../../src/ports/notices.ts';
import type { Store } from '../../src/ports/store.ts';
import type { Settlement, SettlementTransaction, SettleResult } from '../../src/ports/streams.ts';
import { type Random, randomFrom } from './random.ts';

/** Probabilities, from 0 to 1; what is left out does not happen. */
export interface Faults {
  /** A write is done and its answer is lost: STORE_UNAVAILABLE. */
  readonly lostAnswer?: number;
  /** A call fails before anything is done: STORE_UNAVAILABLE. */
  readonly refused?: number;
  /** A call takes up to `delayMs` longer. */
  readonly delayed?: number;
  readonly delayMs?: number;
  readonly noticeDropped?: number;
  readonly noticeDoubled?: number;
}

export interface FaultyStore extends Store {
  /** How often each fault happened. */
  readonly injected: Record<'lostAnswer' | 'refused' | 'delayed' | 'dropped' | 'doubled', number>;
}

/** Calls whose outcome may get lost; the others are only refused and delayed. */
const writes = new Set(['append', 'settle', 'takeLease', 'releaseLease', 'heartbeat', 'sequence']);

/** Decides by seed what goes wrong, and counts it. */
class Injector {
  readonly injected = { lostAnswer: 0, refused: 0, delayed: 0, dropped: 0, doubled: 0 };
  readonly #random: Random;
  readonly #faults: Faults;

  readonly #onFault: () => void;

  constructor(seed: number, faults: Faults, onFault = () => {}) {
    this.#onFault = onFault;
    this.#random = randomFrom(seed);
    this.#faults = faults;
  }

  happens(fault: keyof FaultyStore['injected'], probability = 0): boolean {
    if (!this.#random.chance(probability)) return false;
    this.injected[fault] += 1;
    this.#onFault();
    return true;
  }

  async delay(): Promise<void> {
    const { delayed, delayMs = 20 } = this.#faults;
    if (this.happens('delayed', delayed)) await sleep(this.#random.next() * delayMs);
  }

  async call<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { refused, lostAnswer } = this.#faults;
    await this.delay();
    if (this.happens('refused', refused)) throw unavailable(`${name} was not done`);
    const answer = await work();
    if (writes.has(name) && this.happens('lostAnswer', lostAnswer)) {
      throw unavailable(`${name} was done, its answer is lost`);
    }
    return answer;
  }

  /** The same object, each of its methods through `call`. */
  wrap<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member = Reflect.get(object, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => this.call(String(name), () => member.apply(object, args));
      },
    });
  }

  unreliable({ onNotice, onLost }: NoticeHandlers): NoticeHandlers {
    const { noticeDropped, noticeDoubled } = this.#faults;
    return {
      onLost,
      onNotice: (notice) => {
        if (this.happens('dropped', noticeDropped)) return;
        const times = this.happens('doubled', noticeDoubled) ? 2 : 1;
        void this.delay().then(() => {
          for (let i = 0; i < times; i += 1) onNotice(notice);
        });
      },
    };
  }

  /** The port says: after an error of `settle` nothing is left open. */
  async settle(transaction: SettlementTransaction, settlement: Settlement): Promise<SettleResult> {
    let done = false;
    try {
      return await this.call('settle', () => {
        done = true;
        return transaction.settle(settlement);
      });
    } finally {
      if (!done) await transaction.rollback();
    }
  }
}

function unavailable(what: string): MillraceError {
  return new MillraceError('STORE_UNAVAILABLE', `A fault was injected: ${what}.`);
}

/** A channel of its own for a part of a store; `onFault` is called for each one. */
export function unreliableNotices(
  channel: NoticeChannel,
  seed: number,
  faults: Faults,
  onFault: () => void,
): NoticeChannel {
  const injector = new Injector(seed, faults, onFault);
  return {
    send: (notice) => channel.send(notice),
    listen: (handlers) => channel.listen(injector.unreliable(handlers)),
  };
}

export function faulty(store: Store, seed: number, faults: Faults): FaultyStore {
  const injector = new Injector(seed, faults);
  const streams = injector.wrap(store.streams);
  const begin = async (): Promise<SettlementTransaction> => {
    const transaction = await injector.call('begin', () => store.streams.begin());
    return {
      forTenant: (tenantId) => transaction.forTenant(tenantId),
      savepoint: () => transaction.savepoint(),
      settle: (settlement) => injector.settle(transaction, settlement),
      rollback: () => transaction.rollback(),
    };
  };
  return {
    ...store,
    injected: injector.injected,
    log: injector.wrap(store.log),
    staging: injector.wrap(store.staging),
    failures: injector.wrap(store.failures),
    streams: new Proxy(streams, {
      get: (object, name) => (name === 'begin' ? begin : Reflect.get(object, name)),
    }),
    notices: {
      send: (notice) => injector.call('send', () => store.notices.send(notice)),
      listen: (handlers) => store.notices.listen(injector.unreliable(handlers)),
    },
  };
}

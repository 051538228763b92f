/**
 * A store that misbehaves by seed, around any real one: answers that get lost after the work was
 * done, errors before it, delays, and notices that are dropped, doubled or late. What the port allows
 * a store to do, this one does often. In the spirit of TigerBeetle's src/testing/storage.zig.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../../src/core/errors.ts';
import type { NoticeHandlers, Store } from '../../src/ports/store.ts';
import type { Settlement, SettlementTransaction } from '../../src/ports/streams.ts';
import { createRandom } from '../faults/random.ts';

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

export function faulty(store: Store, seed: number, faults: Faults): FaultyStore {
  const random = createRandom(seed);
  const injected = { lostAnswer: 0, refused: 0, delayed: 0, dropped: 0, doubled: 0 };
  const happens = (fault: keyof typeof injected, probability = 0) => {
    if (!random.chance(probability)) return false;
    injected[fault] += 1;
    return true;
  };
  const unavailable = (what: string) =>
    new MillraceError('STORE_UNAVAILABLE', `A fault was injected: ${what}.`);
  const late = async () => {
    if (happens('delayed', faults.delayed)) await sleep(random.next() * (faults.delayMs ?? 20));
  };

  async function call<T>(name: string, work: () => Promise<T>): Promise<T> {
    await late();
    if (happens('refused', faults.refused)) throw unavailable(`${name} was not done`);
    const answer = await work();
    if (writes.has(name) && happens('lostAnswer', faults.lostAnswer)) {
      throw unavailable(`${name} was done, its answer is lost`);
    }
    return answer;
  }

  /** Every method that answers with a promise, through `call`. */
  function wrap<T extends object>(target: T): T {
    return new Proxy(target, {
      get(object, name) {
        const member = Reflect.get(object, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => call(String(name), () => member.apply(object, args));
      },
    });
  }

  const streams = wrap(store.streams);
  return {
    ...store,
    injected,
    log: wrap(store.log),
    staging: wrap(store.staging),
    failures: wrap(store.failures),
    streams: new Proxy(streams, {
      get(object, name) {
        if (name !== 'begin') return Reflect.get(object, name);
        return async (): Promise<SettlementTransaction> => {
          const transaction = await call('begin', () => store.streams.begin());
          return { ...transaction, settle: async (settlement) => settle(transaction, settlement) };
        };
      },
    }),
    notices: {
      send: (notice) => call('send', () => store.notices.send(notice)),
      listen: (handlers) => store.notices.listen(unreliable(handlers)),
    },
  };

  /** The port says: after an error of `settle` nothing is left open. */
  async function settle(transaction: SettlementTransaction, settlement: Settlement) {
    let done = false;
    try {
      return await call('settle', () => {
        done = true;
        return transaction.settle(settlement);
      });
    } finally {
      if (!done) await transaction.rollback();
    }
  }

  function unreliable({ onNotice, onLost }: NoticeHandlers): NoticeHandlers {
    return {
      onLost,
      onNotice: (notice) => {
        if (happens('dropped', faults.noticeDropped)) return;
        const times = happens('doubled', faults.noticeDoubled) ? 2 : 1;
        void late().then(() => {
          for (let i = 0; i < times; i += 1) onNotice(notice);
        });
      },
    };
  }
}

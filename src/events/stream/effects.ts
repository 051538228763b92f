/**
 * The transaction that the handlers of one partition share until it is settled. One handler at a
 * time is inside, behind a savepoint: what it wrote goes when it fails, and only that. Savepoints
 * nest and cannot interleave, hence the turns.
 */
import { MillraceError } from '../../core/errors.ts';
import type { SqlTransaction } from '../../ports/store.ts';
import type { SettlementTransaction, StreamStore } from '../../ports/streams.ts';

export interface EffectTurn {
  forTenant(tenantId: string): Promise<SqlTransaction>;
  /**
   * Ends the turn: keeps what was written, or undoes it. HANDLER_FAILED when it cannot be kept
   * because a statement failed; then it was undone.
   */
  end(keep: boolean): Promise<void>;
}

export class Effects {
  readonly #streams: StreamStore;
  #transaction: SettlementTransaction | null = null;
  #last: Promise<void> = Promise.resolve();
  #abandoned = false;
  /** Set when the transaction itself broke: the batch is lost, not the handler's event. */
  broken: unknown = null;

  constructor(streams: StreamStore) {
    this.#streams = streams;
  }

  /** Waits for a turn and begins the transaction if there is none. */
  async enter(): Promise<EffectTurn> {
    const leave = await this.#lock();
    try {
      if (this.#abandoned) throw turnIsOver();
      this.#transaction ??= await this.#streams.begin();
      const transaction = this.#transaction;
      if (this.#abandoned) {
        await this.rollback(); // begun too late: nobody else would ever end it
        throw turnIsOver();
      }
      const mark = await transaction.savepoint();
      let over = false;
      let entering: Promise<unknown> = Promise.resolve();
      return {
        // A handler that outlives its turn (its time was over) must not write into the next one.
        forTenant: async (tenantId) => {
          if (over) throw turnIsOver();
          const entered = transaction.forTenant(tenantId);
          entering = entered.catch(() => {});
          const tx = await entered;
          return {
            query: async (text, values) => {
              if (over) throw turnIsOver();
              return tx.query(text, values);
            },
          };
        },
        end: async (keep) => {
          over = true;
          await entering;
          try {
            await (keep ? mark.release() : mark.rollback());
          } catch (error) {
            // The handler let a failed statement pass: that is its failure, and undone with it.
            const undone =
              keep &&
              (await mark.rollback().then(
                () => true,
                () => false,
              ));
            if (undone) throw statementFailed(error);
            this.broken ??= error;
            throw error;
          } finally {
            leave();
          }
        },
      };
    } catch (error) {
      this.broken ??= error;
      leave();
      throw error;
    }
  }

  /** Nobody is inside while `work` runs; it gets the transaction, if one was begun, to end it. */
  async settle<T>(work: (transaction: SettlementTransaction | null) => Promise<T>): Promise<T> {
    const leave = await this.#lock();
    try {
      const transaction = this.#transaction;
      this.#transaction = null;
      return await work(transaction);
    } finally {
      leave();
    }
  }

  /** Undoes everything since the last settlement; nobody enters any more. */
  async rollback(): Promise<void> {
    this.#abandoned = true;
    const transaction = this.#transaction;
    this.#transaction = null;
    await transaction?.rollback();
  }

  async #lock(): Promise<() => void> {
    const before = this.#last;
    let leave: () => void = () => {};
    this.#last = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    return leave;
  }
}

function turnIsOver(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'The handler of this transaction has ended.', {
    fix: 'Await every query before the handler returns, and stop when ctx.signal says so.',
  });
}

function statementFailed(cause: unknown): MillraceError {
  const message = 'A statement of the handler failed, and the handler went on as if it had not.';
  return new MillraceError('HANDLER_FAILED', message, {
    cause,
    fix: 'Let the error of the statement pass, or put a savepoint of your own around it.',
  });
}

/**
 * Messages to runs: those that are sent at the same time are stored together. Runs of this process
 * look at once; others hear the store's notice, and resting ones get a job.
 */
import { MillraceError } from '../core/errors.ts';
import { taskStates } from '../core/workflow/states.ts';
import type { Delivery, MessageKind, NewMessage, WorkflowStore } from '../ports/workflows.ts';
import { GroupCommit } from './group-commit.ts';
import { type Observers, tellObservers } from './run/observer.ts';
import { cancelChild } from './run/verbs.ts';

export interface MessengerOptions {
  readonly store: WorkflowStore;
  readonly observers: Observers;
  nudge(runIds: readonly string[]): void;
  woken(queues: readonly string[]): void;
  onError(error: unknown, where: string): void;
}

const batchMax = 500;
const bufferMax = 50_000;
const patienceMs = 30_000;
const childrenMax = 1_000;
const openStates = taskStates.slice(0, taskStates.indexOf('complete'));

export class Messenger {
  readonly #options: MessengerOptions;
  readonly #group: GroupCommit<NewMessage, Delivery>;

  constructor(options: MessengerOptions) {
    this.#options = options;
    this.#group = new GroupCommit({
      batchMax,
      bufferMax,
      patienceMs,
      send: (messages, again) => this.#send(messages, again),
      onError: (error) => options.onError(error, 'messages'),
    });
  }

  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]> {
    return Promise.all(messages.map((message) => this.#group.add(message)));
  }

  /** @throws MillraceError NOT_FOUND, WORKFLOW_STATE when the run is over. */
  async tell(
    runId: string,
    kind: MessageKind,
    name: string,
    payload: unknown,
    messageId: string = crypto.randomUUID(),
  ): Promise<Delivery> {
    const payloadJson = JSON.stringify(payload) ?? 'null';
    const [delivery] = await this.deliver([{ runId, messageId, kind, name, payloadJson }]);
    if (delivery === 'unknown') {
      throw new MillraceError('NOT_FOUND', `There is no run ${runId}.`);
    }
    if (delivery === 'ended') {
      throw new MillraceError('WORKFLOW_STATE', `Run ${runId} has ended, and reads no more.`, {
        details: { runId },
      });
    }
    return delivery as Delivery;
  }

  /** Cancels what a run has started and that has not ended. */
  async cancelChildren(runId: string): Promise<void> {
    const { queries } = this.#options.store;
    let after: string | null = null;
    do {
      const filter = { parentRunId: runId, states: openStates };
      const page: Awaited<ReturnType<typeof queries.list>> = await queries.list(filter, {
        limit: childrenMax,
        after,
      });
      await this.deliver(page.runs.map((child) => cancelChild(runId, child.runId)));
      after = page.next;
    } while (after !== null);
  }

  async close(): Promise<void> {
    await this.#group.close();
  }

  async #send(messages: readonly NewMessage[], again: boolean): Promise<readonly Delivery[]> {
    const { store, observers, nudge, woken, onError } = this.#options;
    const answer = await store.deliver(messages);
    const arrived: string[] = [];
    // What is there already was delivered by the try whose answer was lost.
    const deliveries = again
      ? answer.deliveries.map((it) => (it === 'duplicate' ? 'delivered' : it))
      : answer.deliveries;
    for (const [i, delivery] of deliveries.entries()) {
      if (delivery !== 'delivered') continue;
      const message = messages[i] as NewMessage;
      arrived.push(message.runId);
      tellObservers(observers, onError, (it) => it.sent?.(message));
    }
    if (arrived.length > 0) nudge(arrived);
    if (answer.woken.length > 0) woken(answer.woken);
    return deliveries;
  }
}

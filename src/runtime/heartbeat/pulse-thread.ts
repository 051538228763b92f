/**
 * Main's side of the heartbeat's thread: one for all pulses of the process, opened with the first
 * and ended after the last. It never keeps the process alive.
 */
import type { Worker } from 'node:worker_threads';
import { openThread, threadEntry } from '../thread.ts';
import type { FromThread, PulseNews, PulseSettings, ToThread } from './messages.ts';

export interface PulseListener {
  onNews(news: PulseNews): void;
  /** The thread is gone, and this pulse with it. */
  onLost(cause: unknown): void;
}

export interface PulseHandle {
  stop(): Promise<void>;
}

interface Place {
  readonly listener: PulseListener;
  readonly stopped: PromiseWithResolvers<void>;
}

let shared: PulseThread | null = null;
let ids = 0;

/** @throws what the runtime says when it cannot start threads or cannot copy the settings. */
export function beatInThread(settings: PulseSettings, listener: PulseListener): PulseHandle {
  shared ??= new PulseThread();
  return shared.add(settings, listener);
}

class PulseThread {
  readonly #worker: Worker;
  readonly #places = new Map<number, Place>();
  #fault: unknown = null;
  #stopping = 0;

  constructor() {
    this.#worker = openThread(threadEntry('thread', import.meta.url), { name: 'heartbeat' });
    this.#worker.on('message', (message: FromThread) => this.#hear(message));
    this.#worker.on('error', (error) => {
      this.#fault = error;
    });
    this.#worker.on('exit', (code) => this.#onExit(code));
    this.#worker.unref(); // last: a listener would take it back
  }

  add(settings: PulseSettings, listener: PulseListener): PulseHandle {
    ids += 1;
    const id = ids;
    try {
      this.#send({ kind: 'start', id, settings });
    } catch (error) {
      this.#endWhenEmpty();
      throw error;
    }
    const place: Place = { listener, stopped: Promise.withResolvers<void>() };
    this.#places.set(id, place);
    return { stop: () => this.#stop(id, place) };
  }

  async #stop(id: number, { stopped }: Place): Promise<void> {
    if (this.#places.has(id)) this.#send({ kind: 'stop', id });
    this.#stopping += 1;
    this.#worker.ref(); // until it has answered
    await stopped.promise;
    this.#stopping -= 1;
    if (this.#stopping === 0) this.#worker.unref();
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromThread): void {
    const place = this.#places.get(message.id);
    if (message.kind === 'news') {
      place?.listener.onNews(message.news);
      return;
    }
    this.#places.delete(message.id);
    place?.stopped.resolve();
    this.#endWhenEmpty();
  }

  #endWhenEmpty(): void {
    if (this.#places.size > 0) return;
    if (shared === this) shared = null;
    void this.#worker.terminate();
  }

  #onExit(exitCode: number): void {
    if (shared === this) shared = null;
    const cause = this.#fault ?? new Error(`its thread ended with exit code ${exitCode}`);
    const places = [...this.#places.values()];
    this.#places.clear();
    for (const { listener, stopped } of places) {
      stopped.resolve();
      listener.onLost(cause);
    }
  }
}

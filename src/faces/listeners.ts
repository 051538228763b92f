/**
 * Who listens to a face. A listener that throws is reported and stops nobody: what it listens to
 * has happened already.
 */
import { messageOf } from './errors.ts';

/** `Events` maps each event to what its listeners are called with. */
export class Listeners<Events extends object> {
  readonly #byEvent = new Map<keyof Events, Set<(payload: never) => unknown>>();

  /** Returns how to stop listening. */
  on<E extends keyof Events>(event: E, listener: (payload: Events[E]) => unknown): () => void {
    const listeners = this.#byEvent.get(event) ?? new Set();
    this.#byEvent.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  off<E extends keyof Events>(event: E, listener: (payload: Events[E]) => unknown): void {
    this.#byEvent.get(event)?.delete(listener);
  }

  /** False when nobody listens. */
  emit<E extends keyof Events>(event: E, payload: Events[E]): boolean {
    const listeners = [...(this.#byEvent.get(event) ?? [])];
    for (const listener of listeners) {
      try {
        const answer = listener(payload as never);
        if (answer instanceof Promise) answer.catch(report);
      } catch (error) {
        report(error);
      }
    }
    return listeners.length > 0;
  }
}

function report(error: unknown): void {
  process.emitWarning(`A listener threw: ${messageOf(error)}`, { type: 'MillraceWarning' });
}

/**
 * Handlers for whatever stands in a queue. Several parts of a program may work on one queue: those
 * that say which names they know are asked first, and the last one that says nothing gets the rest.
 */
import type { AnyJobDefinition } from '../core/job-definition.ts';

export interface CatchAll {
  readonly definition: AnyJobDefinition;
  /** Null: any name. */
  readonly knows: ((name: string) => boolean) | null;
}

export class CatchAlls {
  readonly #byQueue = new Map<string, readonly CatchAll[]>();

  add(queue: string, catchAll: CatchAll): void {
    const known = this.#byQueue.get(queue) ?? [];
    const others = known.filter(({ knows }) => knows !== null || catchAll.knows !== null);
    this.#byQueue.set(queue, [...others, catchAll]);
  }

  find(queue: string, name: string): AnyJobDefinition | null {
    const known = this.#byQueue.get(queue);
    if (known === undefined) return null;
    const found =
      known.find(({ knows }) => knows?.(name)) ?? known.find(({ knows }) => knows === null);
    return found?.definition ?? null;
  }
}

/**
 * Where in a durable function a call stands: in the function itself or in a branch of `parallel`.
 * Names and numbers that nobody gave are counted in each of them by itself, so that they are the
 * same at every replay, whichever branch comes first.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { MillraceError } from '../../core/errors.ts';

export class Scope {
  /** '' or `branch/`. */
  readonly path: string;
  /** Calls that have not been answered. */
  open = 0;
  readonly #counts = new Map<string, number>();

  constructor(path: string) {
    this.path = path;
  }

  /**
   * A name for what has none of its own: `sleep`, then `sleep#2`.
   * @throws MillraceError WORKFLOW_INVALID beside another open call: their order is not certain.
   */
  name(base: string): string {
    if (this.open === 0) return this.label(base);
    throw new MillraceError(
      'WORKFLOW_INVALID',
      `${base} is called without a key while another call of the context is open.`,
      {
        fix: `Give ${base} a key, or use ctx.parallel({ … }), where branches count by themselves.`,
      },
    );
  }

  label(base: string): string {
    const count = (this.#counts.get(base) ?? 0) + 1;
    this.#counts.set(base, count);
    return `${this.path}${base}${count === 1 ? '' : `#${count}`}`;
  }
}

const current = new AsyncLocalStorage<{ readonly owner: object; readonly scope: Scope }>();

export function inScope<T>(owner: object, scope: Scope, run: () => T): T {
  return current.run({ owner, scope }, run);
}

/** The scope of the code that asks, if it belongs to that call of the function. */
export function scopeOf(owner: object): Scope | null {
  const store = current.getStore();
  return store?.owner === owner ? store.scope : null;
}

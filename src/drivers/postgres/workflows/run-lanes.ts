/**
 * Sees to it that the queues of runs are known before a run may need them. Later a run is woken in
 * all kinds of transactions, a caller's own among them: none of them shall be the one that makes
 * the lane and keeps others waiting for it until it commits.
 */
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

export interface QueuedIn {
  readonly queue: string;
  readonly tenantId: string;
}

export class RunLanes {
  readonly #database: Database;
  /** Queue and tenant of lanes that are there. */
  readonly #made = new Set<string>();

  constructor(database: Database) {
    this.#database = database;
  }

  async make(places: readonly QueuedIn[]): Promise<void> {
    const missing = new Map<string, QueuedIn>();
    for (const place of places) {
      const name = `${place.queue}\u0001${place.tenantId}`;
      if (!this.#made.has(name)) missing.set(name, place);
    }
    if (missing.size === 0) return;
    const list = [...missing.values()];
    await this.#database.rows(sql.rowLanes, [
      list.map(({ queue }) => queue),
      list.map(({ tenantId }) => tenantId),
    ]);
    for (const name of missing.keys()) this.#made.add(name);
  }
}

/**
 * A SQL transaction as handlers and callers see it. Stores give it, definitions name it in the
 * types of their handlers: the one shape of both, so it stands left of the ports.
 */

/** One SQL connection in a transaction, as handlers and callers see it. */
export interface SqlTransaction {
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

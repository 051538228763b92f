/**
 * Messages to runs: stored under a lock of the run, so that they are numbered one after the other
 * and none comes between a run's last look and its rest.
 */
import type { SqlTransaction } from '../../../core/sql-transaction.ts';
import type { Delivery, NewMessage, WorkflowStore } from '../../../ports/workflows.ts';
import { oid, textArray } from '../array-writer.ts';
import { type Database, type Statement, translate, type Values } from '../connection.ts';
import { sql } from '../statements.ts';
import type { RunAnnouncer } from './run-announcer.ts';

interface DeliveryRow {
  readonly deliveries: Delivery[];
  readonly woken: string[] | null;
  readonly told: string[] | null;
}

interface EventsRow {
  readonly delivered: number;
  readonly woken: string[] | null;
  readonly told: string[] | null;
}

/** Of one transaction, where the caller leaves that to us: it locks so many runs at most. */
const messagesMax = 500;

export function createDelivery(
  database: Database,
  announcer: RunAnnouncer,
): Pick<WorkflowStore, 'deliver' | 'deliverEvents'> {
  const ask = async <Row>(statement: Statement, values: Values, tx?: SqlTransaction) => {
    if (!tx) return (await database.records<Row>(statement, values))[0] as Row;
    const rows = await tx.query<Row>(statement.text, values).catch((error) => {
      throw translate(error);
    });
    return rows[0] as Row;
  };
  return {
    async deliver(messages, { tx } = {}) {
      const deliveries: Delivery[] = [];
      const queues = new Set<string>();
      const most = tx ? Math.max(1, messages.length) : messagesMax;
      for (let from = 0; from < messages.length; from += most) {
        const values = messageParameters(messages.slice(from, from + most));
        const row = await ask<DeliveryRow>(sql.deliverMessages, values, tx);
        for (const delivery of row.deliveries) deliveries.push(delivery);
        for (const queue of row.woken ?? []) queues.add(queue);
        // With a caller's transaction nobody knows when, or whether, they will be there.
        if (!tx) announcer.tell(row.told);
      }
      return { deliveries, woken: [...queues] };
    },
    async deliverEvents(events, { tx }) {
      if (events.length === 0) return { delivered: 0, woken: [] };
      const values = [
        events.map(({ eventId }) => eventId),
        events.map(({ tenantId }) => tenantId),
        events.map(({ eventType }) => eventType),
        events.map(({ key }) => key),
        textArray(
          oid.json,
          events.map(({ payloadJson }) => payloadJson),
          200,
        ),
      ];
      const row = await ask<EventsRow>(sql.deliverEvents, values, tx);
      if (!tx) announcer.tell(row.told);
      return { delivered: row.delivered, woken: row.woken ?? [] };
    },
  };
}

function messageParameters(messages: readonly NewMessage[]): Values {
  return [
    messages.map(({ runId }) => runId),
    messages.map(({ messageId }) => messageId),
    messages.map(({ kind }) => kind),
    messages.map(({ name }) => name),
    textArray(
      oid.json,
      messages.map(({ payloadJson }) => payloadJson),
      100,
    ),
  ];
}

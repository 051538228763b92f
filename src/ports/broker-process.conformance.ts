/**
 * A member in a process of its own, for cases that kill it: opens a broker as its argument says,
 * joins, prints what it is given as lines of JSON, and acknowledges nothing.
 */

import { once } from 'node:events';
import type { BrokerElsewhere } from './broker.fixtures.conformance.ts';
import type { Broker, BrokerSettings } from './broker.ts';

export interface ProcessOrder {
  readonly elsewhere: BrokerElsewhere;
  readonly group: string;
  readonly topics: readonly string[];
  readonly from: 'start' | 'end';
  readonly memberId: string | null;
  /** Joins at the first word on its input: a restart must not be as slow as a new process. */
  readonly waits: boolean;
}

export type ProcessReport =
  | { readonly ready: true }
  | { readonly assigned: readonly string[] }
  | { readonly revoked: readonly string[] }
  | { readonly ids: readonly string[] }
  | { readonly error: string };

const say = (report: ProcessReport) => process.stdout.write(`${JSON.stringify(report)}\n`);

async function main(order: ProcessOrder): Promise<void> {
  const { elsewhere, group, topics, from, memberId, waits } = order;
  const opened: unknown = await import(elsewhere.module);
  const open = (opened as Record<string, (settings: BrokerSettings) => Promise<Broker>>)[
    elsewhere.opener
  ];
  if (open === undefined) throw new Error(`${elsewhere.module} has no ${elsewhere.opener}`);
  const broker = await open(elsewhere.settings as BrokerSettings);
  const names = (partitions: readonly { topic: string; partition: number }[]) =>
    partitions.map(({ topic, partition }) => `${topic}/${partition}`);
  say({ ready: true });
  if (waits) await once(process.stdin, 'data');
  await broker.subscribe({
    ...{ group, topics, from },
    ...(memberId !== null && { memberId }),
    onDeliveries: (_, deliveries) => say({ ids: deliveries.map(({ event }) => `${event?.id}`) }),
    onAssigned: (partitions) => say({ assigned: names(partitions) }),
    onRevoked: (partitions) => say({ revoked: names(partitions) }) as never,
    onError: (error, where) => say({ error: `${where}: ${(error as Error).message}` }),
  });
}

process.stdin.resume().on('end', () => process.exit(0)); // with the test that started it
await main(JSON.parse(process.argv[2] as string));

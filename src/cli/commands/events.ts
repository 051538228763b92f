/** `millrace events list|show|tree`: the log as history. */
import type { Command } from 'commander';
import type { StoredEvent } from '../../core/event.ts';
import type { CausalNode } from '../../ports/history.ts';
import { colors as pc } from '../colors.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, placeOf, withPlace } from '../options.ts';
import { openApi } from '../platform.ts';
import { fields, table } from '../table.ts';
import { tenantsOf } from '../tenants.ts';

interface EventFlags extends PlaceFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly key?: string;
  readonly type?: string;
  readonly correlation?: string;
  readonly from?: string;
  readonly to?: string;
  readonly after?: string;
  readonly limit: number;
  readonly oldestFirst?: boolean;
}

export function addEvents(program: Command, cli: Cli): void {
  const events = program.command('events').description('look into the log');
  withPlace(events.command('list'))
    .description('events of a tenant, newest first')
    .option('--tenant <tenant>', 'one tenant; by default those that have exceptions, in turn')
    .option('--key <key>', 'what they are about, such as an exception or an order')
    .option('--type <types>', 'event types, separated by commas')
    .option('--correlation <id>', 'correlation id')
    .option('--from <time>', 'ISO 8601, inclusive')
    .option('--to <time>', 'ISO 8601, exclusive')
    .option('--limit <n>', 'events at most', integer(1, 1_000), 20)
    .option('--after <cursor>', 'continue after a page')
    .option('--oldest-first', 'from the beginning')
    .action((flags: EventFlags) => list(flags, cli));
  withPlace(events.command('show'))
    .description('one event, whole')
    .argument('<eventId>')
    .option('--tenant <tenant>', 'its tenant; by default those that have exceptions are asked')
    .action((id: string, flags: EventFlags) => show(id, flags, cli));
  withPlace(events.command('tree'))
    .description('the tree of causes that an event belongs to')
    .argument('<eventId>')
    .option('--tenant <tenant>', 'its tenant; by default those that have exceptions are asked')
    .action((id: string, flags: EventFlags) => tree(id, flags, cli));
}

async function list(flags: EventFlags, { io }: Cli): Promise<void> {
  const { key, type, correlation, from, to, after, limit } = flags;
  const newestFirst = flags.oldestFirst ? 'false' : 'true';
  const query = { key, type, correlation, from, to, after, limit, newestFirst };
  const api = await openApi(placeOf(flags));
  try {
    const items: StoredEvent[] = [];
    let next: string | null = null;
    for (const tenant of await tenantsOf(api, flags.tenant)) {
      const page: { items: StoredEvent[]; next: string | null } = await api.get('/api/events', {
        tenant,
        query: { ...query, limit: limit - items.length },
      });
      items.push(...page.items);
      next = page.next;
      if (items.length >= limit) break;
    }
    if (flags.json) return printJson(io, { items, next });
    line(
      io.stdout,
      table(
        ['time', 'tenant', 'type', 'key', 'event', 'at'],
        items.map(({ timestamp, tenantId, eventType, key: about, eventId, partition, offset }) => [
          timestamp,
          tenantId,
          eventType,
          about,
          eventId,
          `${partition}/${offset}`,
        ]),
      ),
    );
    if (next !== null)
      line(io.stdout, pc.dim(`  more: --tenant ${items.at(-1)?.tenantId} --after ${next}`));
  } finally {
    await api.close();
  }
}

async function show(id: string, flags: EventFlags, { io }: Cli): Promise<void> {
  const api = await openApi(placeOf(flags));
  try {
    const path = `/api/events/${encodeURIComponent(id)}`;
    const event = await findIn(await tenantsOf(api, flags.tenant), (tenant) =>
      api.get<StoredEvent>(path, { tenant }),
    );
    if (flags.json) return printJson(io, event);
    const { payload, metadata, ...rest } = event;
    line(io.stdout, fields(Object.entries(rest) as [string, string | number | null][]));
    line(io.stdout, `  ${pc.dim('payload')}\n${JSON.stringify(payload, null, 2)}`);
    if (Object.keys(metadata).length > 0) line(io.stdout, JSON.stringify(metadata, null, 2));
  } finally {
    await api.close();
  }
}

async function tree(id: string, flags: EventFlags, { io }: Cli): Promise<void> {
  const api = await openApi(placeOf(flags));
  try {
    const path = `/api/events/${encodeURIComponent(id)}/tree`;
    const { items } = await findIn(await tenantsOf(api, flags.tenant), (tenant) =>
      api.get<{ items: CausalNode[] }>(path, { tenant }),
    );
    if (flags.json) return printJson(io, { items });
    for (const { depth, event } of items) {
      const mark = event.eventId === id ? pc.green('●') : pc.dim('○');
      const lead = '  '.repeat(depth);
      line(
        io.stdout,
        `${lead}${mark} ${event.eventType}  ${pc.dim(`${event.timestamp}  ${event.eventId}`)}`,
      );
    }
  } finally {
    await api.close();
  }
}

/** The first tenant that has it; the last one's error when none has. */
async function findIn<T>(
  tenants: readonly string[],
  ask: (tenant: string) => Promise<T>,
): Promise<T> {
  let missing: unknown = null;
  for (const tenant of tenants) {
    try {
      return await ask(tenant);
    } catch (error) {
      if ((error as { code?: string }).code !== 'NOT_FOUND') throw error;
      missing = error;
    }
  }
  throw missing;
}

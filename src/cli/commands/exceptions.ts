/** `millrace exceptions list|show`: the present state of exceptions, and how one came there. */
import type { Command } from 'commander';
import type { StoredEvent } from '../../core/event.ts';
import { colors as pc } from '../colors.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, placeOf, withPlace } from '../options.ts';
import { type Api, openApi } from '../platform.ts';
import { type Cell, fields, table } from '../table.ts';
import { tenantsOf } from '../tenants.ts';

interface ExceptionFlags extends PlaceFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly domain?: string;
  readonly status?: string;
  readonly severity?: string;
  readonly type?: string;
  readonly stage?: string;
  readonly outcome?: string;
  readonly from?: string;
  readonly to?: string;
  readonly after?: string;
  readonly limit: number;
}

/** The members of an exception that this file names; all of them are printed. */
interface Exception extends Readonly<Record<string, unknown>> {
  readonly tenantId: string;
  readonly exceptionId: string;
}

interface Page {
  readonly items: Exception[];
  readonly total: number;
  readonly next: string | null;
}

export function addExceptions(program: Command, cli: Cli): void {
  const exceptions = program.command('exceptions').description('look at exceptions');
  withPlace(exceptions.command('list'))
    .description('exceptions, newest first')
    .option('--tenant <tenant>', 'one tenant; by default every one in turn')
    .option('--domain <domain>', 'domain pack')
    .option('--status <status>', 'OPEN, IN_PROGRESS, RESOLVED, ESCALATED, PENDING_APPROVAL')
    .option('--severity <severity>', 'LOW, MEDIUM, HIGH, CRITICAL')
    .option('--type <type>', 'exception type')
    .option('--stage <stage>', 'where it stands')
    .option('--outcome <outcome>', 'RESOLVED, ESCALATED, DEAD_LETTER, WAITING, UNDER_WAY')
    .option('--from <time>', 'created at or after, ISO 8601')
    .option('--to <time>', 'created before, ISO 8601')
    .option('--limit <n>', 'exceptions at most', integer(1, 100), 20)
    .option('--after <cursor>', 'continue after a page')
    .action((flags: ExceptionFlags) => list(flags, cli));
  withPlace(exceptions.command('show'))
    .description('one exception with its timeline')
    .argument('<exceptionId>')
    .option('--tenant <tenant>', 'its tenant; by default it is looked for')
    .action((id: string, flags: ExceptionFlags) => show(id, flags, cli));
}

async function list(flags: ExceptionFlags, { io }: Cli): Promise<void> {
  const { domain, status, severity, type, stage, outcome, after, limit } = flags;
  const query = {
    domain,
    status,
    severity,
    type,
    stage,
    outcome,
    after,
    created_from: flags.from,
    created_to: flags.to,
  };
  const api = await openApi(placeOf(flags));
  try {
    const items: Exception[] = [];
    let total = 0;
    let next: string | null = null;
    for (const tenant of await tenantsOf(api, flags.tenant)) {
      const left = Math.max(1, limit - items.length);
      const page: Page = await api.get(pathOf(tenant), { query: { ...query, limit: left } });
      total += page.total;
      if (items.length >= limit) continue;
      items.push(...page.items);
      next = page.next;
    }
    if (flags.json) return printJson(io, { items, total, next });
    const columns = ['tenantId', 'exceptionId', 'type', 'severity', 'status', 'stage', 'outcome'];
    const rows = items.map((item) => [
      ...columns.map((name) => item[name] as Cell),
      reasonOf(item),
    ]);
    line(io.stdout, table([...columns, 'note'], rows));
    line(
      io.stdout,
      pc.dim(`  ${items.length} of ${total}${next === null ? '' : `; more: --after ${next}`}`),
    );
  } finally {
    await api.close();
  }
}

function reasonOf({ lastError, reason, summary }: Exception): Cell {
  return (lastError ?? reason ?? summary) as Cell;
}

function pathOf(tenant: string, id?: string): string {
  const path = `/exceptions/${encodeURIComponent(tenant)}`;
  return id === undefined ? path : `${path}/${encodeURIComponent(id)}`;
}

async function show(id: string, flags: ExceptionFlags, { io }: Cli): Promise<void> {
  const api = await openApi(placeOf(flags));
  try {
    const exception = await find(api, id, flags.tenant);
    const path = `${pathOf(exception.tenantId, id)}/events`;
    const { items } = await api.get<{ items: StoredEvent[] }>(path, { query: { limit: 1_000 } });
    if (flags.json) return printJson(io, { exception, events: items });
    const { waiting, ...rest } = exception;
    line(io.stdout, fields(Object.entries(rest) as [string, Cell][]));
    const reasons = (waiting as { reasons?: readonly string[] } | null)?.reasons;
    if (reasons) line(io.stdout, `  ${pc.yellow('waits for a person')}: ${reasons.join('; ')}`);
    line(io.stdout);
    const rows = items.map((event) => [
      event.timestamp,
      event.eventType,
      aboutOf(event),
      event.eventId,
    ]);
    line(io.stdout, table(['time', 'event', 'about', 'id'], rows, 70));
  } finally {
    await api.close();
  }
}

/** The member of a payload that says most, whatever the type of the event. */
function aboutOf({ payload }: StoredEvent): Cell {
  const { decision, reason, stepName, text, tool, playbookId } = (payload ?? {}) as Record<
    string,
    Cell
  >;
  return decision ?? stepName ?? tool ?? reason ?? text ?? playbookId;
}

async function find(api: Api, id: string, named: string | undefined): Promise<Exception> {
  let missing: unknown = null;
  for (const tenant of await tenantsOf(api, named)) {
    try {
      return await api.get<Exception>(pathOf(tenant, id));
    } catch (error) {
      if ((error as { code?: string }).code !== 'NOT_FOUND') throw error;
      missing = error;
    }
  }
  throw missing;
}

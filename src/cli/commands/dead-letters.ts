/** `millrace dead-letters …`: look at what could not be handled, and decide what becomes of it. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseJson } from '../../core/json.ts';
import type { BulkResult } from '../../events/bulk.ts';
import type { DeadLetter } from '../../ports/failures.ts';
import { colors as pc } from '../colors.ts';
import { usage } from '../failure.ts';
import { hint, quote } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer, type PlaceFlags, withPlace } from '../options.ts';
import { fields, table } from '../table.ts';
import { tenantsOf } from '../tenants.ts';
import { withApi } from '../with-api.ts';

interface LetterFlags extends PlaceFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly group?: string;
  readonly type?: string;
  readonly exception?: string;
  readonly fingerprint?: string;
  readonly status?: string;
  readonly limit: number;
  readonly payload?: string;
  readonly dryRun?: boolean;
  readonly rate?: number;
}

const verbs = {
  retry: 'handle the event again; what waits behind it follows when it works',
  'retry-key': 'handle every dead letter of its key again, in order',
  skip: 'pass over the event; what waits behind it goes on',
  discard: 'give up the event and everything that waits behind it',
} as const;

export function addDeadLetters(program: Command, cli: Cli): void {
  const letters = program
    .command('dead-letters')
    .alias('dlq')
    .description('events that no retry could save');
  withPlace(letters.command('list'))
    .description('dead letters, newest first')
    .option('--tenant <tenant>', 'one tenant; by default every one in turn')
    .option('--group <group>')
    .option('--type <type>', 'event type')
    .option('--exception <id>')
    .option('--fingerprint <fingerprint>')
    .option('--status <status>', 'pending, retrying, discarded, skipped, succeeded')
    .option('--limit <n>', 'letters at most', integer(1, 500), 50)
    .action((flags: LetterFlags) => list(flags, cli));
  const one = (name: string, description: string) =>
    withPlace(letters.command(name))
      .description(description)
      .argument('<group>')
      .argument('<eventId>')
      .requiredOption('--tenant <tenant>', 'whose it is');
  one('show', 'one dead letter, whole').action((group: string, id: string, flags: LetterFlags) =>
    show({ group, id }, flags, cli),
  );
  for (const [verb, description] of Object.entries(verbs)) {
    one(verb, description).action((group: string, id: string, flags: LetterFlags) =>
      act({ group, id, verb }, flags, cli),
    );
  }
  one('edit', 'handle the event again with another payload; the log keeps the original')
    .requiredOption('--payload <json>', 'the new payload: JSON, or @file, or - for standard input')
    .action((group: string, id: string, flags: LetterFlags) =>
      act({ group, id, verb: 'edit-and-retry' }, flags, cli),
    );
  addBulk(letters, cli);
}

function addBulk(letters: Command, cli: Cli): void {
  withPlace(letters.command('bulk'))
    .description('one verb for all that failed alike')
    .argument('<verb>', 'retry, skip or discard')
    .requiredOption('--tenant <tenant>', 'whose they are')
    .requiredOption('--fingerprint <fingerprint>', 'as `dead-letters list` shows it')
    .option('--dry-run', 'count and show examples; change nothing')
    .option('--rate <n>', 'letters a second at most', integer(1, 10_000))
    .option('--limit <n>', 'letters at most', integer(1, 100_000), 10_000)
    .action((verb: string, flags: LetterFlags) => bulk(verb, flags, cli));
}

async function list(flags: LetterFlags, { io }: Cli): Promise<void> {
  const { group, type, exception, fingerprint, status, limit } = flags;
  const query = { group, type, exception, fingerprint, status };
  await withApi(flags, async (api) => {
    const items: DeadLetter[] = [];
    let more = false;
    for (const tenant of await tenantsOf(api, flags.tenant)) {
      if (items.length >= limit) break;
      const page = await api.get<{ items: DeadLetter[]; next: string | null }>('/ops/dlq', {
        tenant,
        query: { ...query, limit: limit - items.length },
      });
      items.push(...page.items);
      more ||= page.next !== null;
    }
    if (flags.json) return printJson(io, { items, more });
    if (items.length === 0) return line(io.stdout, 'There are no dead letters.');
    line(
      io.stdout,
      table(
        ['failed at', 'tenant', 'group', 'event', 'status', 'behind', 'reason', 'id'],
        items.map((letter) => [
          letter.failedAt,
          letter.tenantId,
          letter.group,
          letter.eventType,
          letter.status,
          letter.waiting,
          letter.failureReason,
          letter.eventId,
        ]),
      ),
    );
    const [first] = items;
    if (first) {
      const command = `show ${first.group} ${first.eventId} --tenant ${quote(first.tenantId)}`;
      line(io.stdout, hint(io, `dead-letters ${command}`, flags));
    }
    if (more) line(io.stdout, pc.dim(`  there are more than ${limit}: raise --limit or filter`));
  });
}

interface LetterRef {
  readonly group: string;
  readonly id: string;
}

function pathOf({ group, id }: LetterRef): string {
  return `/ops/dlq/${encodeURIComponent(group)}/${encodeURIComponent(id)}`;
}

async function show(ref: LetterRef, flags: LetterFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const letter = await api.get<DeadLetter>(pathOf(ref), { tenant });
    if (flags.json) return printJson(io, letter);
    const { payload, metadata: _, detail, ...rest } = letter;
    line(io.stdout, fields(Object.entries(rest)));
    line(io.stdout, `  ${pc.dim('payload')}\n${JSON.stringify(payload, null, 2)}`);
    if (detail !== null) line(io.stdout, pc.dim(detail));
    if (letter.status === 'pending') {
      const command = `retry ${ref.group} ${ref.id} --tenant ${quote(tenant ?? '')}`;
      line(io.stdout, hint(io, `dead-letters ${command}`, flags));
    }
  });
}

async function act(
  { verb, ...ref }: LetterRef & { readonly verb: string },
  flags: LetterFlags,
  cli: Cli,
): Promise<void> {
  const { tenant } = flags;
  const body = verb === 'edit-and-retry' ? { payload: await payloadOf(flags, cli) } : undefined;
  await withApi(flags, async (api) => {
    const answer = await api.post<{ status: string }>(`${pathOf(ref)}/${verb}`, { tenant, body });
    if (flags.json) return printJson(cli.io, answer);
    line(cli.io.stdout, `${verb}: ${ref.id} is ${pc.bold(answer.status)}`);
    if (answer.status === 'retrying' && api.url === null) {
      line(cli.io.stdout, pc.dim('  no server runs here: it is handled at the next `npm start`'));
    }
  });
}

async function payloadOf({ payload = '' }: LetterFlags, { io }: Cli): Promise<unknown> {
  if (payload === '-') {
    let text = '';
    for await (const chunk of io.stdin) text += String(chunk);
    return parseJson(text);
  }
  return parseJson(payload.startsWith('@') ? await readFile(payload.slice(1), 'utf8') : payload);
}

async function bulk(verb: string, flags: LetterFlags, { io }: Cli): Promise<void> {
  if (!['retry', 'skip', 'discard'].includes(verb)) {
    throw usage(`'${verb}' is no verb for many; it can be retry, skip or discard.`);
  }
  const { tenant, fingerprint, dryRun, rate, limit } = flags;
  await withApi(flags, async (api) => {
    const body = { fingerprint, verb, dryRun: dryRun ?? false, ratePerSecond: rate, limit };
    const result = await api.post<BulkResult>('/ops/dlq/bulk', { tenant, body });
    if (flags.json) return printJson(io, result);
    const { matched, changed, passedOver, examples } = result;
    const rest = passedOver > 0 ? `, ${passedOver} were dealt with by somebody else` : '';
    line(
      io.stdout,
      dryRun ? `${matched} would be changed` : `${changed} of ${matched} changed${rest}`,
    );
    for (const { eventId, failureReason } of examples)
      line(io.stdout, `  ${eventId}  ${failureReason}`);
  });
}

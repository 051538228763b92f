/** `millrace broker status|topics|lag`: how the broker does that carries the events. */
import type { Command } from 'commander';
import type { LinkStatus, RelayLag } from '../../brokers/link-status.ts';
import type { PartitionLag, TopicInfo } from '../../ports/broker.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes } from '../failure.ts';
import { hint } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, placeOf, withBroker, withPlace } from '../options.ts';
import { type Api, openApi } from '../platform.ts';
import { fields, table } from '../table.ts';

interface BrokerFlags extends PlaceFlags {
  readonly json?: boolean;
}

interface TopicFlags extends BrokerFlags {
  readonly create?: boolean;
  readonly tenant?: readonly string[];
}

interface TopicsAnswer {
  readonly template: string;
  readonly perTenant: boolean;
  readonly partitions: number;
  readonly items: readonly TopicInfo[];
}

interface LagAnswer {
  readonly group: string;
  readonly relay: readonly RelayLag[];
  readonly consumers: readonly PartitionLag[];
}

const awayFix =
  'Start it, or correct --broker or MILLRACE_BROKER. Events are accepted and wait in the log.';

export function addBroker(program: Command, cli: Cli): void {
  const broker = program.command('broker').description('the broker that carries the events');
  const command = (name: string) => withBroker(withPlace(broker.command(name)));
  command('status')
    .description('is it there, what was relayed and delivered; exit code 1 when it is away')
    .action((flags: BrokerFlags) => status(flags, cli));
  command('topics')
    .description('topics of the template that the broker has')
    .option('--create', 'make those that are missing, with as many partitions as the log has')
    .option('--tenant <tenant...>', 'whose topics to make, where each tenant has its own')
    .action((flags: TopicFlags) => topics(flags, cli));
  command('lag')
    .description('how far the relay is behind the log, and this platform behind the broker')
    .action((flags: BrokerFlags) => lag(flags, cli));
}

async function withBrokerApi(flags: PlaceFlags, work: (api: Api) => Promise<void>): Promise<void> {
  const api = await openApi(placeOf(flags), { broker: true });
  try {
    await work(api);
  } finally {
    await api.close();
  }
}

async function status(flags: BrokerFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  await withBrokerApi(flags, async (api) => {
    const found = await api.get<LinkStatus>('/broker');
    const { health, relay, feed, problems } = found;
    if (!health.ok) cli.exitCode = exitCodes.failure;
    if (flags.json) return printJson(io, { server: api.url, ...found });
    const behind = relay.lag.reduce((sum, { events }) => sum + events, 0);
    const oldest = Math.max(0, ...relay.lag.map(({ seconds }) => seconds));
    const word = health.ok ? pc.green('there') : pc.red('away');
    line(io.stdout, `${found.broker} ${word}  ${health.problem ?? ''}`.trimEnd());
    if (!health.ok) line(io.stdout, `  ${pc.dim('fix ')}  ${awayFix}`);
    line(
      io.stdout,
      fields([
        ['server', api.url ?? 'none runs: nothing is relayed or read by this command'],
        ['round trip', health.latencyMs === null ? null : `${health.latencyMs.toFixed(1)} ms`],
        ['topic', found.topic],
        ['group', found.group],
        ['relay behind', `${behind.toLocaleString('en-US')} events, ${oldest.toFixed(1)} s`],
        ['relayed', relay.relayed],
        ['retried', relay.retries],
        ['refused by it', relay.refused],
        ['delivered', feed.delivered],
        ['duplicates', feed.duplicates],
        ['gaps from the log', feed.gaps],
        ['partitions', feed.assigned.join(', ')],
        ['refused by us', feed.refused],
        ['last error', relay.lastError],
      ]),
    );
    for (const problem of problems) line(io.stdout, pc.yellow(problem));
    if (behind > 0) line(io.stdout, hint(io, 'broker lag', flags));
    else if (relay.refused > 0) line(io.stdout, hint(io, 'dlq list', flags));
  });
}

async function topics(flags: TopicFlags, { io }: Cli): Promise<void> {
  await withBrokerApi(flags, async (api) => {
    const body = { ...(flags.tenant && { tenants: flags.tenant }) };
    const found = flags.create
      ? await api.post<TopicsAnswer>('/broker/topics', { body })
      : await api.get<TopicsAnswer>('/broker/topics');
    if (flags.json) return printJson(io, found);
    if (found.items.length === 0) {
      line(io.stdout, `The broker has no topic of ${found.template}.`);
      const whose = found.perTenant ? ' --tenant acme' : '';
      return line(io.stdout, hint(io, `broker topics --create${whose}`, flags));
    }
    line(
      io.stdout,
      table(
        ['topic', 'partitions', 'fits'],
        found.items.map(({ topic, partitions }) => [
          topic,
          partitions,
          partitions === found.partitions ? 'yes' : `no: the log has ${found.partitions}`,
        ]),
        249,
      ),
    );
  });
}

async function lag(flags: BrokerFlags, { io }: Cli): Promise<void> {
  await withBrokerApi(flags, async (api) => {
    const found = await api.get<LagAnswer>('/broker/lag');
    if (flags.json) return printJson(io, found);
    const waiting = new Map<number, number>();
    for (const { partition, lag: messages } of found.consumers) {
      waiting.set(partition, (waiting.get(partition) ?? 0) + messages);
    }
    line(
      io.stdout,
      table(
        ['partition', 'log', 'relayed', 'relay behind', 'seconds', `${found.group} behind`],
        found.relay.map(({ partition, head, position, events, seconds }) => [
          partition,
          head,
          position,
          events,
          Math.round(seconds * 10) / 10,
          waiting.get(partition) ?? 0,
        ]),
      ),
    );
  });
}

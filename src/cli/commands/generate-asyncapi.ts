/** `millrace generate asyncapi`: the events of an application as an AsyncAPI 3.0 document. */
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { type AsyncApiServer, asyncApiDocument } from '../../brokers/async-api.ts';
import { BrokerMessageRefused } from '../../brokers/refusals.ts';
import { sharedTopicDefault } from '../../brokers/topics.ts';
import type { EventDefinition } from '../../core/event.ts';
import { controlEvents } from '../../events/control.ts';
import { exitCodes, usage } from '../failure.ts';
import { line } from '../io.ts';
import type { Cli } from '../options.ts';
import { loadApp } from '../platform.ts';

interface AsyncApiFlags {
  readonly out?: string;
  readonly check?: boolean;
  readonly format?: 'yaml' | 'json';
  readonly topic: string;
  readonly broker?: string;
  readonly title: string;
}

export function addGenerateAsyncApi(generate: Command, cli: Cli): void {
  generate
    .command('asyncapi')
    .description('an AsyncAPI 3.0 document of the events, for those who write consumers of them')
    .argument('[modules...]', 'modules that export definitions; the exception pipeline by default')
    .option('--out <file>', 'where to write it; standard output by default')
    .option('--check', 'write nothing; fail when the file is out of date (for CI)')
    .addOption(
      new Option('--format <format>', 'by the name of the file by default, else yaml').choices([
        'yaml',
        'json',
      ]),
    )
    .option('--topic <name>', 'as broker.topic', sharedTopicDefault)
    .option('--title <text>', 'of the document', 'Millrace')
    .addOption(new Option('--broker <url>', 'the server that it names').env('MILLRACE_BROKER'))
    .action((modules: string[], flags: AsyncApiFlags) => write(modules, flags, cli));
}

async function write(modules: readonly string[], flags: AsyncApiFlags, cli: Cli): Promise<void> {
  const { out, check, topic, title } = flags;
  const { stdout, stderr, env } = cli.io;
  const broker = flags.broker ?? env.MILLRACE_BROKER_URL;
  if (check && out === undefined) throw usage('--check needs --out: the file to compare with.');
  const definitions = [
    ...(modules.length > 0 ? await definitionsIn(modules) : (await loadApp()).exceptionEvents),
    ...controlEvents,
    BrokerMessageRefused,
  ] as readonly EventDefinition[];
  const document = asyncApiDocument({
    ...{ definitions, topic, title },
    ...(broker !== undefined && { servers: { broker: serverOf(broker) } }),
  });
  const text = print(document, flags.format ?? (out?.endsWith('.json') ? 'json' : 'yaml'));
  if (out === undefined) return stdout.write(text);
  const before = await readFile(out, 'utf8').catch(() => null);
  if (before === text) return line(stdout, `${out} is up to date`);
  if (!check) {
    await writeFile(out, text);
    return line(stdout, `${out}: ${definitions.length} event types`);
  }
  const problem = before === null ? 'is not there' : 'is out of date';
  line(stderr, `${out} ${problem}: run \`millrace generate asyncapi\` without --check.`);
  cli.exitCode = exitCodes.failure;
}

function print(document: object, format: 'yaml' | 'json'): string {
  if (format === 'json') return `${JSON.stringify(document, null, 2)}\n`;
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 100 });
}

const protocols: Readonly<Record<string, AsyncApiServer['protocol']>> = {
  'kafka:': 'kafka',
  'kafkas:': 'kafka-secure',
  'kafka+ssl:': 'kafka-secure',
  'amqp:': 'amqp',
  'amqps:': 'amqps',
  'redis:': 'redis',
  'rediss:': 'rediss',
};

/** Host and protocol alone: the document is for others, and the URL may hold a password. */
function serverOf(url: string): AsyncApiServer {
  const parts = /^([\w+-]+:)\/\/(?:[^@/]*@)?([^/?#]+)/.exec(url);
  const [, scheme = '', hosts = ''] = parts ?? [];
  const protocol = protocols[scheme] ?? (scheme === '' ? undefined : 'kafka-secure');
  const [host] = hosts.split(',');
  if (protocol !== undefined && host) return { host, protocol };
  throw usage(`'${url.slice(0, 20)}…' is not the URL of a broker.`, 'Give kafka://, amqp:// or so');
}

async function definitionsIn(modules: readonly string[]): Promise<readonly EventDefinition[]> {
  const found = new Set<EventDefinition>();
  for (const file of modules) {
    const module = (await import(pathToFileURL(resolve(file)).href).catch((cause: unknown) => {
      throw usage(`The module ${file} could not be loaded: ${messageOf(cause)}`);
    })) as Readonly<Record<string, unknown>>;
    const values = Object.values(module).flatMap((value) =>
      Array.isArray(value) ? value : [value],
    );
    for (const value of values) if (isDefinition(value)) found.add(value);
  }
  if (found.size > 0) return [...found];
  throw usage(
    'None of the modules exports an event definition.',
    'Export what defineEvent(…) gives: export const OrderPaid = defineEvent(…)',
  );
}

function isDefinition(value: unknown): value is EventDefinition {
  if (typeof value !== 'object' || value === null) return false;
  const { type, schema, upcast } = value as Partial<EventDefinition>;
  return typeof type === 'string' && schema !== undefined && typeof upcast === 'function';
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

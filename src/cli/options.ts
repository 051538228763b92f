/** What all commands share: their surroundings, and the options that say which database. */
import { type Command, Option } from 'commander';
import { loadConfiguration } from '../configuration/load.ts';
import type { ConnectOptions } from '../connect.ts';
import { connectOptions, connectUrl } from '../connect-options.ts';
import { usage } from './failure.ts';
import { dataDefault } from './hint.ts';
import type { Io } from './io.ts';
import type { Place } from './platform.ts';

export interface Cli {
  readonly io: Io;
  /** What a command wants as exit code when it did not fail. */
  exitCode: number;
}

/** Which configuration counts. */
export interface FileFlags {
  readonly config?: string;
  readonly env?: string;
}

export interface PlaceFlags extends FileFlags {
  readonly url?: string;
  readonly data?: string;
  readonly broker?: string;
}

export function withFiles(command: Command): Command {
  return command
    .option('--config <directory>', 'folder with base/*.toml and environments/<name>/*.toml')
    .option('--env <name>', 'environment whose files are read over those of base');
}

/** The options by which every command finds its database. */
export function withPlace(command: Command): Command {
  return withFiles(command)
    .addOption(
      new Option('--url <url>', 'a Postgres server of your own; for jobs also redis://…')
        .env('MILLRACE_URL')
        .conflicts('data'),
    )
    .addOption(
      new Option(
        '--data <directory>',
        `directory of the embedded Postgres (default: "${dataDefault}")`,
      ).env('MILLRACE_DATA'),
    )
    .option('--json', 'print one JSON document');
}

/** For commands that have to do with a broker. MILLRACE_BROKER is read with the configuration. */
export function withBroker(command: Command): Command {
  return command.option(
    '--broker <url>',
    'a broker that carries the events: kafka://…, amqp://… or redis://… (MILLRACE_BROKER)',
  );
}

/** What the flags say, else the configuration. @throws MillraceError CONFIG_INVALID */
export function placeOf({ url, data, config, env, broker }: PlaceFlags): Place {
  const { configuration } = loadConfiguration({ directory: config, environment: env });
  const options = connectOptions(configuration);
  return {
    url: data === undefined ? (url ?? connectUrl(configuration)) : url,
    data: data ?? configuration.store.data,
    options: broker === undefined ? options : withBrokerUrl(options, broker),
  };
}

function withBrokerUrl(options: ConnectOptions, url: string): ConnectOptions {
  const { broker } = options;
  return { ...options, broker: typeof broker === 'object' ? { ...broker, url } : url };
}

/** For options that take a number. */
export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw usage(`'${text}' is not a whole number from ${least} to ${most}.`);
  };
}

/** What all commands share: their surroundings, and the options that say which database. */
import { type Command, Option } from 'commander';
import { usage } from './failure.ts';
import { dataDefault } from './hint.ts';
import type { Io } from './io.ts';
import type { Place } from './platform.ts';

export interface Cli {
  readonly io: Io;
  /** What a command wants as exit code when it did not fail. */
  exitCode: number;
}

export interface PlaceFlags {
  readonly url?: string;
  readonly data: string;
}

/** The options by which every command finds its database. */
export function withPlace(command: Command): Command {
  return command
    .addOption(
      new Option('--url <url>', 'a Postgres server of your own; for jobs also redis://…')
        .env('MILLRACE_URL')
        .conflicts('data'),
    )
    .addOption(
      new Option('--data <directory>', 'directory of the embedded Postgres')
        .env('MILLRACE_DATA')
        .default(dataDefault),
    )
    .option('--json', 'print one JSON document');
}

export function placeOf({ url, data }: PlaceFlags): Place {
  return { url, data };
}

/** For options that take a number. */
export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw usage(`'${text}' is not a whole number from ${least} to ${most}.`);
  };
}

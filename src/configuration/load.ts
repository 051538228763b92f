/**
 * Loads the configuration: built-in defaults, overruled by the files of `base`, by those of the
 * environment, by environment variables. Everything wrong is reported at once.
 */
import { existsSync } from 'node:fs';
import * as path from 'node:path';
import { MillraceError } from '../core/errors.ts';
import { suggestName } from '../core/nearest-name.ts';
import { type Configuration, configurationOf } from './configuration.ts';
import { environmentsOf, type Problem, readDirectory, readVariables } from './layers.ts';
import { type Entry, resolve } from './resolve.ts';

export interface LoadOptions {
  /** Folder with `base` and `environments`; config/millrace by default, if that is there. */
  readonly directory?: string | undefined;
  /** MILLRACE_ENV by default, else development. */
  readonly environment?: string | undefined;
  /** The process's own by default. */
  readonly variables?: Readonly<Record<string, string | undefined>> | undefined;
}

export interface LoadedConfiguration {
  readonly configuration: Configuration;
  /** Every key with its value and where that comes from. */
  readonly entries: readonly Entry[];
  /** What is accepted and has no effect, with its file and line or variable. */
  readonly warnings: readonly Problem[];
  readonly directory: string;
  readonly environment: string;
}

export const directoryDefault = path.join('config', 'millrace');
export const environmentDefault = 'development';

/**
 * @example const { configuration } = loadConfiguration({ environment: 'production' });
 * @throws MillraceError CONFIG_INVALID with every problem, its file and line or variable.
 */
export function loadConfiguration(options: LoadOptions = {}): LoadedConfiguration {
  const { variables = process.env } = options;
  const directory = options.directory ?? directoryDefault;
  const environment = options.environment || variables.MILLRACE_ENV?.trim() || environmentDefault;
  const layers = readDirectory(directory, environment);
  const statements = [...layers.statements, ...readVariables(variables)];
  const { values, entries, problems, warnings } = resolve(statements);
  const all = [...placeProblems(options, directory), ...layers.problems, ...problems];
  if (all.length > 0) throw invalid(all);
  return {
    configuration: configurationOf(values, environment),
    entries,
    warnings,
    directory,
    environment,
  };
}

/** What is built in: no file and no variable. */
export function defaultConfiguration(): Configuration {
  return configurationOf(resolve([]).values, environmentDefault);
}

/** What was named and is not there. What nobody named may be missing. */
function placeProblems({ directory, environment }: LoadOptions, folder: string): Problem[] {
  if (directory !== undefined && !existsSync(directory)) {
    return [{ source: directory, message: 'there is no such directory' }];
  }
  if (environment === undefined || environment === '') return [];
  if (!/^[\w.-]+$/.test(environment)) {
    return [{ source: folder, message: `'${environment}' is not the name of an environment` }];
  }
  const known = environmentsOf(folder);
  if (known.includes(environment) || environment === environmentDefault) return [];
  const near = suggestName(environment, known) ?? 'There are none.';
  const hint = near.replace(/^[DT]/, (letter) => letter.toLowerCase());
  const message = `there is no environment '${environment}'; ${hint}`;
  return [{ source: path.join(folder, 'environments'), message }];
}

function invalid(problems: readonly Problem[]): MillraceError {
  const lines = problems.map(({ source, message }) => `${source}: ${message}`);
  const list = lines.map((one) => `  ${one}`).join('\n');
  const message =
    lines.length === 1
      ? `The configuration is wrong: ${lines[0]}.`
      : `The configuration has ${lines.length} problems:\n${list}`;
  return new MillraceError('CONFIG_INVALID', message, {
    fix: 'Correct what is named, or leave it out; docs/configuration.md has every key.',
    details: { problems },
  });
}

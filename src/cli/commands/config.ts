/** `millrace config show|check`: the configuration as it would be used, and where it comes from. */
import type { Command } from 'commander';
import { type LoadedConfiguration, loadConfiguration } from '../../configuration/load.ts';
import { printValue } from '../../configuration/print.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type FileFlags, withFiles } from '../options.ts';
import { table } from '../table.ts';

interface ConfigFlags extends FileFlags {
  readonly json?: boolean;
}

export function addConfig(program: Command, cli: Cli): void {
  const config = program.command('config').description('the configuration and where it comes from');
  withFiles(config.command('show'))
    .option('--json', 'print one JSON document')
    .description('every key with its value and the file and line, or variable, that gave it')
    .action((flags: ConfigFlags) => show(flags, cli));
  withFiles(config.command('check'))
    .option('--json', 'print one JSON document')
    .description('look for unknown keys, wrong values and contradictions, all at once')
    .action((flags: ConfigFlags) => check(flags, cli));
}

function load({ config, env }: ConfigFlags, { io }: Cli): LoadedConfiguration {
  return loadConfiguration({ directory: config, environment: env, variables: io.env });
}

function show(flags: ConfigFlags, cli: Cli): void {
  const { entries, directory, environment } = load(flags, cli);
  const items = entries.map(({ key, value, source }) => ({
    key,
    value: printValue(key, value),
    source,
  }));
  const rows = items.map(({ key, value, source }) => [key, value, source]);
  if (flags.json) printJson(cli.io, { directory, environment, items });
  else line(cli.io.stdout, table(['key', 'value', 'source'], rows, 100));
}

function check(flags: ConfigFlags, cli: Cli): void {
  const { entries, warnings, directory, environment } = load(flags, cli);
  const changed = entries.filter(({ source }) => source !== 'default').length;
  const of = `${changed} of ${entries.length} keys are set, environment ${environment}.`;
  if (flags.json) {
    printJson(cli.io, { ok: true, directory, environment, set: changed, warnings });
    return;
  }
  for (const { source, message } of warnings) {
    line(cli.io.stderr, `warning: ${source}: ${message}`);
  }
  line(cli.io.stdout, `The configuration is right: ${of}`);
}

/**
 * The command line as a function: arguments and streams in, exit code out. Each command is a file
 * in commands/ that adds itself; errors of all of them are reported in one place.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addBroker } from './commands/broker.ts';
import { addConfig } from './commands/config.ts';
import { addDeadLetters } from './commands/dead-letters.ts';
import { addEvents } from './commands/events.ts';
import { addExceptions } from './commands/exceptions.ts';
import { addGenerate } from './commands/generate.ts';
import { addGroups } from './commands/groups.ts';
import { addHealth } from './commands/health.ts';
import { addIngest } from './commands/ingest.ts';
import { addJobs } from './commands/jobs.ts';
import { addMode } from './commands/mode.ts';
import { addQueues } from './commands/queues.ts';
import { addSchedules } from './commands/schedules.ts';
import { addStart } from './commands/start.ts';
import { addTemplate } from './commands/template.ts';
import { addWorkers } from './commands/workers.ts';
import { addWorkflow } from './commands/workflow.ts';
import { exitCodes, reportFailure, usage } from './failure.ts';
import type { Io } from './io.ts';
import type { Cli } from './options.ts';

export async function runCli(args: readonly string[], io: Io): Promise<number> {
  const cli: Cli = { io, exitCode: exitCodes.ok };
  let help = '';
  const program = new Command('millrace')
    .description('Durable events, jobs and workflows on one log in Postgres.')
    .version(packageVersion(), '-V, --version', 'print the version')
    // Or the program would take `workflow run --version 2` for itself.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // Usage errors are printed by reportFailure, once; help for who named no verb below.
      writeErr: (text) => {
        help += text;
      },
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
    });
  const adders = [
    addStart,
    addIngest,
    addExceptions,
    addEvents,
    addDeadLetters,
    addGroups,
    addJobs,
    addQueues,
    addSchedules,
    addTemplate,
    addWorkers,
    addWorkflow,
    addGenerate,
    addHealth,
    addMode,
    addBroker,
    addConfig,
  ];
  for (const add of adders) add(program, cli);
  const json = args.includes('--json');
  try {
    if (args.length === 0) {
      program.outputHelp();
      return exitCodes.usage;
    }
    await program.parseAsync([...args], { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.ok;
      if (error.code === 'commander.help') {
        io.stderr.write(help);
        return exitCodes.usage;
      }
      const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
      const failure = usage(`${message}.`.replace(/([.?)])\.$/, '$1'));
      return reportFailure(failure, io, json, commandNamed(program, args));
    }
    return reportFailure(error, io, json, commandNamed(program, args));
  }
}

/** The words of the arguments that name a command, such as `jobs list`. */
function commandNamed(program: Command, args: readonly string[]): string {
  const words: string[] = [];
  let { commands } = program;
  for (const arg of args) {
    const found = commands.find((each) => each.name() === arg || each.aliases().includes(arg));
    if (found === undefined) break;
    words.push(found.name());
    commands = found.commands;
  }
  return words.join(' ');
}

function packageVersion(): string {
  const manifest = readFileSync(new URL(import.meta.resolve('millrace/package.json')), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

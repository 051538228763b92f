/**
 * The command line as a function: arguments and streams in, exit code out. Each command is a file
 * in commands/ that adds itself; errors of all of them are reported in one place.
 */
import { Command, CommanderError } from 'commander';
import { addBroker } from './commands/broker.ts';
import { addConfig } from './commands/config.ts';
import { addDeadLetters } from './commands/dead-letters.ts';
import { addEvents } from './commands/events.ts';
import { addExceptions } from './commands/exceptions.ts';
import { addGenerate } from './commands/generate.ts';
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
  const program = new Command('millrace')
    .description('Durable events, jobs and workflows on one log in Postgres.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // Usage errors are printed by reportFailure, once.
      writeErr: () => {},
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
    });
  const adders = [
    addStart,
    addIngest,
    addExceptions,
    addEvents,
    addDeadLetters,
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
      if (error.code === 'commander.help') return exitCodes.usage;
      const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
      return reportFailure(usage(`${message}.`.replace(/([.?)])\.$/, '$1')), io, json);
    }
    return reportFailure(error, io, json, args[0]);
  }
}

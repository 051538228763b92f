/** `millrace generate`: TypeScript types from the events of templates, and AsyncAPI documents. */
import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { deliveryDefault } from '../../core/workflow/domain-event.ts';
import { EventRegistry } from '../../events/domain/event-registry.ts';
import { printEventTypes } from '../../events/domain/event-types.ts';
import { compileSchema } from '../../workflows/template/json-schema.ts';
import { loadTemplates } from '../../workflows/template/load.ts';
import { exitCodes, usage } from '../failure.ts';
import { line } from '../io.ts';
import type { Cli } from '../options.ts';
import { addGenerateAsyncApi } from './generate-asyncapi.ts';

interface GenerateFlags {
  readonly out?: string;
  readonly check?: boolean;
}

export function addGenerate(program: Command, cli: Cli): void {
  const commands = program
    .command('generate')
    .description('files that are made from templates and definitions');
  addGenerateAsyncApi(commands, cli);
  commands
    .command('events')
    .description('TypeScript types of domain events, so that publish and subscribe know payloads')
    .argument('<templates...>', 'files, directories or globs of YAML templates')
    .option('--out <file>', 'where to write them; standard output by default')
    .option('--check', 'write nothing; fail when the file is out of date (for CI)')
    .action((templates: string[], flags: GenerateFlags) => generate(templates, flags, cli));
}

async function generate(paths: readonly string[], flags: GenerateFlags, cli: Cli): Promise<void> {
  const { out, check } = flags;
  const { stdout, stderr } = cli.io;
  if (check && out === undefined) throw usage('--check needs --out: the file to compare with.');
  const { text, count } = await typesOf(paths);
  if (out === undefined) return stdout.write(text);
  const before = await readFile(out, 'utf8').catch(() => null);
  if (before === text) return line(stdout, `${out} is up to date: ${count} events`);
  if (!check) {
    await writeFile(out, text);
    return line(stdout, `${out}: ${count} events`);
  }
  const problem = before === null ? 'is not there' : 'is out of date';
  line(stderr, `${out} ${problem}: run \`millrace generate events\` without --check.`);
  cli.exitCode = exitCodes.failure;
}

/** Every event of every template once, by the newest version that declares it. */
async function typesOf(paths: readonly string[]): Promise<{ text: string; count: number }> {
  const registry = new EventRegistry(compileSchema, deliveryDefault);
  for (const { namespace, name, version, steps, domainEvents } of await loadTemplates(paths)) {
    const published = steps.flatMap(({ publishesEvents }) => publishesEvents);
    const others = domainEvents.filter(
      (event) => !published.some((one) => one.name === event.name),
    );
    registry.declare(namespace, [...published, ...others], { name, version });
  }
  const events = registry.names().flatMap((name) => registry.describe(name) ?? []);
  return { text: printEventTypes(events), count: events.length };
}

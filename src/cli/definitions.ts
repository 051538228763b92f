/**
 * Workflows that a command brings along: a module that exports definitions, or YAML templates with
 * a module of handlers. The process of the command works on them while it runs.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { MillraceError } from '../core/errors.ts';
import { defineTemplates } from '../workflows/dag/define-templates.ts';
import type { AnyWorkflowDefinition } from '../workflows/definition.ts';
import { usage } from './failure.ts';

export interface DefinitionFlags {
  /** Modules (.ts, .js, .mjs), YAML files, directories or patterns of them. */
  readonly definitions?: readonly string[];
  readonly handlers?: string;
  readonly environment?: string;
}

export function withDefinitions(command: Command): Command {
  return command
    .option(
      '--definitions <file>',
      'a module that exports workflows, or YAML templates; this process works on them; repeatable',
      (file: string, files: readonly string[] = []) => [...files, file],
    )
    .option('--handlers <file>', 'a module that exports the handlers that templates name')
    .option('--environment <name>', 'whose overrides of the templates count');
}

/** Null when the command names none. @throws MillraceError USAGE, TEMPLATE_INVALID, … */
export async function loadDefinitions(
  flags: DefinitionFlags,
): Promise<readonly AnyWorkflowDefinition[] | null> {
  const { definitions: files = [], handlers, environment } = flags;
  if (files.length === 0) {
    if (handlers === undefined) return null;
    throw usage('--handlers needs --definitions.', 'Name the templates: --definitions flow.yaml');
  }
  const modules = files.filter(isModule);
  const templates = files.filter((file) => !isModule(file));
  const found = (await Promise.all(modules.map(definitionsIn))).flat();
  if (templates.length > 0) {
    const named = handlers === undefined ? {} : await handlersIn(handlers);
    found.push(...(await defineTemplates(templates, { handlers: named, environment })));
  }
  return found;
}

function isModule(file: string): boolean {
  return /\.[cm]?[jt]s$/.test(file);
}

async function load(file: string): Promise<Readonly<Record<string, unknown>>> {
  const path = resolve(file);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) {
    throw usage(`There is no file ${file}.`, 'Give the path of a module, such as ./workflows.ts');
  }
  try {
    return (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError('CONFIG_INVALID', `The module ${file} could not be loaded.`, {
      cause,
      fix: 'Read the cause; run `node` on the file to see all of it.',
    });
  }
}

async function definitionsIn(file: string): Promise<readonly AnyWorkflowDefinition[]> {
  const module = await load(file);
  const exported = Object.values(module).flatMap((value) =>
    Array.isArray(value) ? value : [value],
  );
  const found = [...new Set(exported.filter(isDefinition))];
  if (found.length > 0) return found;
  const names = Object.keys(module).join(', ') || 'nothing';
  throw usage(
    `${file} exports no workflow; it exports ${names}.`,
    'Export what defineWorkflow(…) gives: export const hello = defineWorkflow(…)',
  );
}

function isDefinition(value: unknown): value is AnyWorkflowDefinition {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, name, drive } = value as Partial<AnyWorkflowDefinition>;
  const known = kind === 'dag' || kind === 'function';
  return known && typeof name === 'string' && typeof drive === 'function';
}

/** Everything that a module exports; an export named `handlers` or a default object is spread. */
async function handlersIn(file: string): Promise<Record<string, never>> {
  const module = await load(file);
  const named: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(module)) {
    const isCallable = typeof (value as { callable?: unknown } | null)?.callable === 'string';
    if (typeof value === 'function') named[name] = value;
    else if (isCallable) named[(value as { callable: string }).callable] = value;
    else if (typeof value === 'object' && value !== null) Object.assign(named, listOf(value));
  }
  return named as Record<string, never>;
}

function listOf(value: object): Record<string, unknown> {
  if (!Array.isArray(value)) return value as Record<string, unknown>;
  const entries = value.map((one: { callable?: string; handlerName?: string; name?: string }) => [
    one.callable ?? one.handlerName ?? one.name,
    one,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

/**
 * Task templates from YAML files. Everything that is wrong with any of them is reported at once,
 * with file, line and column. Called by processes that work on templates, and by the command line.
 */
// By name `glob` would break the import on Node 20, before it can be told that it is too old.
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { MillraceError } from '../../core/errors.ts';
import {
  type CompileOptions,
  checkTemplate,
  compileTemplate,
} from '../../core/workflow/compile-template.ts';
import type { CompiledTemplate, DeliveryMode } from '../../core/workflow/template.ts';
import { type LocatedProblem, templateError } from '../../core/workflow/template-problems.ts';
import { checkSchema } from './json-schema.ts';
import { readYaml } from './yaml-source.ts';

export interface TemplateOptions {
  /** Whose overrides are applied; a template that does not know it is taken as it is. */
  readonly environment?: string | null | undefined;
  /** How events that say nothing about it are delivered; by default as it is configured. */
  readonly defaultDelivery?: DeliveryMode | undefined;
}

export interface ParseTemplateOptions extends TemplateOptions {
  /** What messages call the text. */
  readonly file?: string | undefined;
}

export interface LoadTemplateOptions extends TemplateOptions {
  /** Where relative paths begin: the working directory by default. */
  readonly directory?: string | undefined;
}

function compileOptions({ environment, defaultDelivery }: TemplateOptions): CompileOptions {
  return { environment, defaultDelivery, checkSchema };
}

export type ParseResult =
  | { readonly template: CompiledTemplate; readonly problems: readonly [] }
  | { readonly template: null; readonly problems: readonly LocatedProblem[] };

/** The same as parseTemplate without throwing. */
export function tryParseTemplate(text: string, options: ParseTemplateOptions = {}): ParseResult {
  const source = readYaml(text, options.file ?? 'template');
  if (source.problems.length > 0) return { template: null, problems: source.problems };
  const result = checkTemplate(source.value, compileOptions(options));
  if (result.template !== null) return { template: result.template, problems: [] };
  const problems = result.problems.map(source.locate);
  problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
  return { template: null, problems };
}

/**
 * One template from YAML text.
 * @throws MillraceError TEMPLATE_INVALID; `details.problems` has { file, line, column, path,
 * message, hint } of each problem.
 * @example parseTemplate(text, { file: 'orders.yaml', environment: 'production' })
 */
export function parseTemplate(text: string, options: ParseTemplateOptions = {}): CompiledTemplate {
  const { template, problems } = tryParseTemplate(text, options);
  if (template === null) throw templateError(problems);
  return template;
}

/**
 * One template that a program wrote, with the fields of YAML; its JSON Schemas are checked, too.
 * @throws MillraceError TEMPLATE_INVALID with paths instead of lines.
 */
export function compileTemplateValue(
  value: unknown,
  options: TemplateOptions = {},
): CompiledTemplate {
  return compileTemplate(value, compileOptions(options));
}

export interface CheckedFiles {
  readonly templates: readonly { readonly file: string; readonly template: CompiledTemplate }[];
  /** Of all files, in the order of files and lines. */
  readonly problems: readonly LocatedProblem[];
}

/**
 * Templates from files, directories (their *.yaml and *.yml, at any depth) and glob patterns, in
 * the order of paths. Two templates may not have one namespace, name and version.
 * @throws MillraceError TEMPLATE_INVALID with the problems of all files; CONFIG_INVALID when a path
 * leads to no file or to one that cannot be read.
 * @example await loadTemplates('workflows/*.yaml', { environment: 'production' })
 */
export async function loadTemplates(
  paths: string | readonly string[],
  options: LoadTemplateOptions = {},
): Promise<readonly CompiledTemplate[]> {
  const { templates, problems } = await checkTemplateFiles(paths, options);
  if (problems.length > 0) throw templateError(problems);
  return Object.freeze(templates.map(({ template }) => template));
}

/**
 * The same, with what is right beside what is wrong.
 * @throws MillraceError CONFIG_INVALID when a path leads to nothing that can be read.
 */
export async function checkTemplateFiles(
  paths: string | readonly string[],
  options: LoadTemplateOptions = {},
): Promise<CheckedFiles> {
  const templates: { file: string; template: CompiledTemplate }[] = [];
  const problems: LocatedProblem[] = [];
  const files = new Map<string, string>();
  for (const file of await findTemplateFiles(paths, options)) {
    const text = await readTemplateFile(file, options);
    const result = tryParseTemplate(text, { ...options, file });
    problems.push(...result.problems);
    if (result.template === null) continue;
    const { namespace, name, version } = result.template;
    const id = `${namespace}/${name}@${version}`;
    const other = files.get(id);
    if (other === undefined) {
      files.set(id, file);
      templates.push({ file, template: result.template });
      continue;
    }
    problems.push({
      ...{ file, line: 1, column: 1, path: 'name' },
      message: `${id} is in ${other}, too`,
      hint: 'Give one of them another version, name or namespace.',
    });
  }
  return { templates, problems };
}

/** The files that paths lead to, each once, sorted within each path. */
async function findTemplateFiles(
  paths: string | readonly string[],
  { directory = process.cwd() }: LoadTemplateOptions = {},
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const one of typeof paths === 'string' ? [paths] : paths) {
    const info = await fs.stat(path.resolve(directory, one)).catch(() => null);
    if (info?.isFile()) {
      found.add(one);
      continue;
    }
    const patterns = info?.isDirectory()
      ? ['yaml', 'yml'].map((ending) => path.join(one, '**', `*.${ending}`))
      : [one];
    const matches: string[] = [];
    for await (const match of fs.glob(patterns, { cwd: directory })) matches.push(match);
    matches.sort();
    if (matches.length === 0) {
      const wanted = info?.isDirectory()
        ? 'The directory holds no *.yaml or *.yml'
        : 'No file matches';
      throw new MillraceError('CONFIG_INVALID', `${wanted}: ${one}`, {
        fix: 'Correct the path; a relative one begins in the working directory.',
      });
    }
    for (const match of matches) found.add(match);
  }
  return [...found];
}

async function readTemplateFile(
  file: string,
  { directory = process.cwd() }: LoadTemplateOptions = {},
): Promise<string> {
  try {
    return await fs.readFile(path.resolve(directory, file), 'utf8');
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `The template ${file} cannot be read.`, {
      cause,
      fix: 'Check the path and its permissions.',
    });
  }
}

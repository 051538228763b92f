/**
 * What the layers of the configuration say, each as a list of statements with the place it stands
 * at: files of `base`, files of the environment, variables. Nothing is judged here but the files'
 * own syntax; keys and values are judged in resolve.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { keyAt, keyPaths } from './keys.ts';
import type { Key } from './kinds.ts';
import { tomlPlaces } from './toml-places.ts';

export interface Statement {
  readonly path: string;
  readonly raw: unknown;
  /** `config/millrace/base/events.toml:12`, or the name of a variable. */
  readonly source: string;
  /** Statements of one layer of one file, by a number: an alias must not overrule its like. */
  readonly group: string;
}

export interface Problem {
  readonly source: string;
  readonly message: string;
}

export interface Layers {
  readonly statements: readonly Statement[];
  readonly problems: readonly Problem[];
}

type Variables = Readonly<Record<string, string | undefined>>;

export function readDirectory(directory: string, environment: string): Layers {
  const files = [
    ...tomlFiles(path.join(directory, 'base')),
    ...tomlFiles(path.join(directory, 'environments', environment)),
  ];
  const read = files.map(readFile);
  return {
    statements: read.flatMap(({ statements }) => statements),
    problems: read.flatMap(({ problems }) => problems),
  };
}

/** Environments that the directory has files for. */
export function environmentsOf(directory: string): readonly string[] {
  const folder = path.join(directory, 'environments');
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function tomlFiles(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.toml'))
    .sort()
    .map((name) => path.join(folder, name));
}

export function readFile(file: string): Layers {
  const source = readFileSync(file, 'utf8');
  let document: Record<string, unknown>;
  try {
    document = parse(source) as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = 'it cannot be read'] = error.message.split('\n');
    const message = `${reason.replace(/^Invalid TOML document: /, '')} (column ${error.column})`;
    return { statements: [], problems: [{ source: `${file}:${error.line}`, message }] };
  }
  const places = tomlPlaces(source);
  const statements = [...leaves(document, '')].map(([name, raw]) => ({
    path: name,
    raw,
    source: `${file}:${lineOf(places, name)}`,
    group: file,
  }));
  return { statements, problems: [] };
}

/** A table is looked into, unless a key of its name is known: then that has a table for a value. */
function* leaves(table: Record<string, unknown>, prefix: string): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(table)) {
    const at = prefix === '' ? name : `${prefix}.${name}`;
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
    const inside = isTable && !(value instanceof Date) && keyAt(at) === undefined;
    if (inside) yield* leaves(value as Record<string, unknown>, at);
    else yield [at, value];
  }
}

function lineOf(places: ReadonlyMap<string, number>, name: string): number {
  for (let at = name; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const line = places.get(at);
    if (line !== undefined) return line;
  }
  return 1;
}

export const variablePrefix = 'MILLRACE__';

export function variableOf(name: string): string {
  return variablePrefix + name.toUpperCase().replaceAll('.', '__');
}

/** An empty variable counts as absent. The documented ones first, so that MILLRACE__… overrule. */
export function readVariables(variables: Variables): readonly Statement[] {
  const statements: Statement[] = [];
  for (const at of keyPaths) {
    const key = keyAt(at) as Key;
    const name = key.variables.find((one) => (variables[one]?.trim() ?? '') !== '');
    if (name === undefined) continue;
    statements.push(statement(at, variables[name] as string, name, key));
  }
  for (const name of Object.keys(variables).sort()) {
    const given = variables[name]?.trim() ?? '';
    if (!name.startsWith(variablePrefix) || given === '') continue;
    const at = name.slice(variablePrefix.length).toLowerCase().replaceAll('__', '.');
    statements.push(statement(at, given, name, keyAt(at)));
  }
  return statements;
}

function statement(at: string, given: string, name: string, key: Key | undefined): Statement {
  return { path: at, raw: key?.fromText(given) ?? given, source: name, group: name };
}

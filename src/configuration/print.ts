/** The configuration for people: values as in a file, example files, the table of the docs. */
import { newerLayout } from './aliases.ts';
import { fileOfSection, keyAt, keyPaths } from './keys.ts';
import { type Key, printDuration } from './kinds.ts';
import { variableOf } from './layers.ts';

/** As it would stand in a TOML file; `–` for what is not set. */
export function printValue(path: string, value: unknown): string {
  const key = keyAt(path) as Key;
  if (value === null) return key.default === undefined ? '–' : '"never"';
  if (key.secret) return '(set)';
  if (key.kind === 'duration') return `"${printDuration(value as number)}"`;
  return JSON.stringify(value).replaceAll(',', ', ');
}

/** A default as it stands in the example files. */
function printDefault({ default: value }: Key): string {
  return JSON.stringify(value).replaceAll(',', ', ');
}

const examples: Readonly<Record<string, string>> = {
  'store.url': '"postgres://user@localhost:5432/millrace"',
  'telemetry.otlp_endpoint': '"http://localhost:4318"',
  'telemetry.otlp_headers': '"authorization=Bearer token"',
};

/** Name → text of the commented files that hold all defaults. */
export function exampleFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const [section, file] of Object.entries(fileOfSection)) {
    files.set(file, exampleOf(section));
  }
  return files;
}

function exampleOf(section: string): string {
  const lines = ['# Everything here is the default. docs/configuration.md says what is allowed.'];
  let table = '';
  for (const path of keyPaths.filter((one) => one.startsWith(`${section}.`))) {
    const key = keyAt(path) as Key;
    const cut = path.lastIndexOf('.');
    if (path.slice(0, cut) !== table) {
      table = path.slice(0, cut);
      lines.push('', `[${table}]`);
    }
    lines.push(`# ${key.about}`);
    const name = path.slice(cut + 1);
    if (key.default === undefined) lines.push(`# ${name} = ${examples[path]}`);
    else lines.push(`${name} = ${printDefault(key)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The part of docs/configuration.md that is made from the keys. */
export function keyTables(): string {
  const parts: string[] = [];
  for (const [section, file] of Object.entries(fileOfSection)) {
    parts.push(`### \`[${section}]\`, in \`${file}\``, '');
    parts.push('| key | default | allowed | what it does |', '|---|---|---|---|');
    for (const path of keyPaths.filter((one) => one.startsWith(`${section}.`))) {
      const key = keyAt(path) as Key;
      const shown = key.default === undefined ? '–' : `\`${printDefault(key)}\``;
      const named = key.variables.map((name) => ` Also \`${name}\`.`).join('');
      parts.push(`| \`${path}\` | ${shown} | ${key.allowed} | ${key.about}${named} |`);
    }
    parts.push('');
  }
  parts.push('### The layout `worker.event_systems.worker`', '');
  parts.push('| name | means |', '|---|---|');
  for (const [name, path] of newerLayout) {
    parts.push(`| \`${name}\` | ${path === null ? 'nothing here; accepted' : `\`${path}\``} |`);
  }
  const example = variableOf('events.durable.max_delivery_attempts');
  parts.push('', `A variable's name is the key in capitals: \`${example}=5\`.`);
  return parts.join('\n');
}

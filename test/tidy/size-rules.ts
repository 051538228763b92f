/**
 * Sizes with a ratchet: what was too large when the rule came may stay, in a list, and the list may
 * only shrink. Functions are found by indentation, which the formatter guarantees.
 */
import type { SourceFile, Violation } from './source-tree.ts';

export const fileLinesMax = 500;
export const functionLinesMax = 70;

/** Present size by `path`, or by `path#function`. */
export type Exceptions = Readonly<Record<string, number>>;

export function checkFileSizes(files: readonly SourceFile[], exceptions: Exceptions): Violation[] {
  const sizes = new Map<string, Sized>();
  for (const file of files) {
    if (!file.path.endsWith('.ts') || file.isGenerated) continue;
    const size = file.lines.length - 1; // the last line ends with a newline
    sizes.set(file.path, { path: file.path, line: 1, size });
  }
  return ratchet('file-size', sizes, fileLinesMax, exceptions);
}

export function checkFunctionSizes(
  files: readonly SourceFile[],
  exceptions: Exceptions,
): Violation[] {
  const sizes = new Map<string, Sized>();
  for (const file of files) {
    if (!file.path.endsWith('.ts') || file.isGenerated) continue;
    for (const { name, line, size } of functionsOf(file.lines)) {
      sizes.set(`${file.path}#${name}`, { path: file.path, line, size });
    }
  }
  return ratchet('function-size', sizes, functionLinesMax, exceptions);
}

interface Sized {
  readonly path: string;
  readonly line: number;
  readonly size: number;
}

function ratchet(
  rule: string,
  sizes: ReadonlyMap<string, Sized>,
  limit: number,
  exceptions: Exceptions,
): Violation[] {
  const violations: Violation[] = [];
  for (const [id, { path, line, size }] of sizes) {
    const allowed = exceptions[id] ?? limit;
    if (size > allowed) {
      const problem = `${id} has ${size} lines, ${allowed} are allowed: divide it`;
      violations.push({ path, line, rule, problem });
    }
  }
  for (const [id, allowed] of Object.entries(exceptions)) {
    const found = sizes.get(id);
    const size = found?.size ?? 0;
    if (size === allowed && size > limit) continue;
    if (size > allowed) continue; // reported above
    const now = size > limit ? `set its exception to ${size}` : 'remove its exception';
    const problem = `${id} has shrunk to ${size} lines: ${now}`;
    violations.push({ path: found?.path ?? id, line: found?.line ?? 1, rule, problem });
  }
  return violations;
}

interface FoundFunction {
  readonly name: string;
  readonly line: number;
  readonly size: number;
}

const declaration = /^(?:export )?(?:default )?(?:async )?function\*? ?([\w$]*)/;
const method = /^(?:(?:static|async|get|set|public|private|override|readonly) )*(#?[\w$]+)[<(]/;
const arrow = /^(?:(?:export )?(?:const|let) )?([\w$.#]+)(?:: [^=()]*)?(?: =|:) (?:async )?\(/;
const statement = /^(if|for|while|switch|catch|return|do|else|try|with|await|void|throw)\b/;
/** A suite is a list of tests, not a function to be read as a whole. */
const suite = /^(describe|suite|eachPostgres)(\.\w+)?\(|^export function test[A-Z]/;

/** Functions with a body of their own lines. One inside another counts for both. */
export function functionsOf(lines: readonly string[]): FoundFunction[] {
  const found: FoundFunction[] = [];
  lines.forEach((text, index) => {
    const indent = text.length - text.trimStart().length;
    const code = text.trimStart();
    if (suite.test(code) || !opensBlock(lines, index, indent)) return;
    const name = nameOf(code, indent);
    if (name === null) return;
    const end = endOf(lines, index, indent);
    found.push({ name, line: index + 1, size: end - index + 1 });
  });
  return found;
}

function nameOf(code: string, indent: number): string | null {
  const declared = declaration.exec(code);
  if (declared !== null) return declared[1] || 'default';
  if (statement.test(code)) return null;
  if (/=> \{$/.test(code) || /[(=] ?(async )?\($/.test(code)) {
    return arrow.exec(code)?.[1] ?? code.slice(0, 40).trim();
  }
  return indent > 0 ? (method.exec(code)?.[1] ?? null) : null;
}

/** True when the line starts something whose body follows: `{` here, or after its parameters. */
function opensBlock(lines: readonly string[], start: number, indent: number): boolean {
  const text = lines[start] ?? '';
  if (/\{$/.test(text)) return true;
  if (!/\($/.test(text)) return false;
  const closing = lines.findIndex(
    (line, index) => index > start && indentOf(line) === indent && /^\s*\)/.test(line),
  );
  return closing > 0 && /\{$/.test(lines[closing] ?? '');
}

function endOf(lines: readonly string[], start: number, indent: number): number {
  for (let index = start + 1; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    // `}): Promise<void> {` closes the parameters, not the body.
    if (indentOf(line) === indent && /^\s*\}/.test(line) && !/\{$/.test(line)) return index;
  }
  return start;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

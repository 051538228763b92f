/** Links of the documentation: what a page points at in this repository is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import type { Violation } from './source-tree.ts';

export interface Page {
  readonly path: string;
  readonly text: string;
}

/** Folders that hold what others wrote, or what a build made. */
const foreign = new Set(['node_modules', 'dist', '.git', '.millrace']);

/** Every Markdown file of the repository. */
export function readPages(root: string, folder = ''): readonly Page[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const at = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) return foreign.has(entry.name) ? [] : readPages(root, at);
    if (!entry.name.endsWith('.md')) return [];
    return [{ path: at, text: readFileSync(path.join(root, at), 'utf8') }];
  });
}

const link = /\]\(([^()\s]+)\)/g;

/** @param find the text of a page, '' for any other file or folder, null for what is not there */
export function checkLinks(
  pages: readonly Page[],
  find: (target: string) => string | null,
): Violation[] {
  const violations: Violation[] = [];
  for (const page of pages) {
    proseOf(page.text).forEach((line, index) => {
      for (const [, target = ''] of line.matchAll(link)) {
        const problem = problemOf(page.path, target, find);
        if (problem === null) continue;
        violations.push({ path: page.path, line: index + 1, rule: 'links', problem });
      }
    });
  }
  return violations;
}

/** As `find` of `checkLinks`, on disk. */
export function findIn(root: string): (target: string) => string | null {
  return (target) => {
    const at = path.join(root, target);
    if (!existsSync(at)) return null;
    return target.endsWith('.md') ? readFileSync(at, 'utf8') : '';
  };
}

function problemOf(
  from: string,
  target: string,
  find: (target: string) => string | null,
): string | null {
  if (/^[a-z]+:/.test(target)) return null;
  const [file = '', fragment] = target.split('#');
  const at = file === '' ? from : path.posix.join(path.posix.dirname(from), file);
  const text = find(at);
  if (text === null) return `there is no ${at}`;
  if (fragment === undefined || !at.endsWith('.md')) return null;
  return anchorsOf(text).includes(fragment) ? null : `${at} has no heading #${fragment}`;
}

/** Lines with those of code blocks left empty: what looks like a link there is code. */
function proseOf(text: string): readonly string[] {
  let isCode = false;
  return text.split('\n').map((line) => {
    const isFence = /^\s*```/.test(line);
    if (isFence) isCode = !isCode;
    return isFence || isCode ? '' : line;
  });
}

/** Of headings, as GitHub makes them. */
function anchorsOf(text: string): readonly string[] {
  const headings = proseOf(text).flatMap((line) => /^#+ (.*)$/.exec(line)?.[1] ?? []);
  const slugs = headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
  return slugs.map((slug, at) => {
    const before = slugs.slice(0, at).filter((other) => other === slug).length;
    return before === 0 ? slug : `${slug}-${before}`;
  });
}

/**
 * Imported before anything else by the entries, for its effect: on a Node that is too old it says
 * so, where the first missing function would say something that nobody understands. npm warns of
 * the patch releases below `engines` in package.json; they are not refused.
 */
import { MillraceError } from './errors.ts';

const majorLeast = 22;

/** @throws MillraceError CONFIG_INVALID */
export function checkNode(version: string): void {
  if (Number(version.split('.')[0]) >= majorLeast) return;
  throw new MillraceError('CONFIG_INVALID', `Millrace needs Node 22.22 or newer, not ${version}.`, {
    fix: 'Install a newer Node, or try it with one: npx --package node@24 node your-program.js',
  });
}

checkNode(process.versions.node);

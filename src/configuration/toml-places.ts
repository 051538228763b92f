/**
 * In which line of a TOML file a key stands. The parser gives values only, so the lines are read
 * once more: headers, keys, and what stands in texts and lists of several lines is skipped.
 */

/** Path → line, counted from 1. Tables are there as well, for keys that stand in inline ones. */
export function tomlPlaces(source: string): ReadonlyMap<string, number> {
  const places = new Map<string, number>();
  let table: readonly string[] = [];
  let skipTo: RegExp | null = null;
  let depth = 0;
  for (const [index, line] of source.split('\n').entries()) {
    if (skipTo !== null) {
      if (skipTo.test(line)) skipTo = null;
      continue;
    }
    if (depth > 0) {
      depth += brackets(line);
      continue;
    }
    const header = /^\s*\[\[?([^\]]+)\]\]?/.exec(line);
    if (header) {
      table = splitPath(header[1] as string);
      note(places, table, index + 1);
      continue;
    }
    const found =
      /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(line);
    if (!found) continue;
    note(places, [...table, ...splitPath(found[1] as string)], index + 1);
    const rest = line.slice(found[0].length);
    skipTo = openText(rest);
    if (skipTo === null) depth = brackets(rest);
  }
  return places;
}

function note(places: Map<string, number>, path: readonly string[], line: number): void {
  const name = path.join('.');
  if (!places.has(name)) places.set(name, line);
}

function splitPath(path: string): string[] {
  const words = path.match(/[\w-]+|"[^"]*"|'[^']*'/g) ?? [];
  return words.map((word) => word.replace(/^["']|["']$/g, ''));
}

/** What ends a text of several lines that begins here. */
function openText(rest: string): RegExp | null {
  for (const mark of ['"""', "'''"]) {
    const parts = rest.split(mark).length - 1;
    if (parts % 2 === 1) return new RegExp(mark);
  }
  return null;
}

/** How many more brackets are opened than closed, outside of texts and comments. */
function brackets(text: string): number {
  const bare = text.replace(/"(?:\\.|[^"\\])*"|'[^']*'/g, '').replace(/#.*/, '');
  return (bare.match(/[[{]/g)?.length ?? 0) - (bare.match(/[\]}]/g)?.length ?? 0);
}

/**
 * Where things stand in a YAML document: from a path of the value back to the node, through aliases
 * and merge keys, and from there to line and column.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Pair,
  type ParsedNode,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import type { TemplateProblem } from '../../core/workflow/graph.ts';
import type { Place } from '../../core/workflow/template-field.ts';

export type Node = ParsedNode | null | undefined;

/** From offset to line and column. The parser's own counter misses lines of broken text. */
export function placesOf(text: string): (offset: number) => { line: number; column: number } {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    const within = Math.min(offset, text.length);
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] as number) <= within) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: within - (starts[low] as number) + 1 };
  };
}

export function resolve(document: Document.Parsed, node: Node): Node {
  return isAlias(node) ? (node.resolve(document) as Node) : node;
}

export function isMerge(pair: Pair): boolean {
  return isScalar(pair.key) && pair.key.value === '<<' && pair.key.type === 'PLAIN';
}

export function mergedMaps(document: Document.Parsed, pair: Pair): readonly Node[] {
  const value = resolve(document, pair.value as Node);
  return isSeq(value) ? value.items.map((item) => resolve(document, item as Node)) : [value];
}

/** Names that a field may have been written with. */
const otherNames: Readonly<Record<string, string>> = {
  dependencies: 'depends_on',
  type: 'step_type',
  delivery: 'delivery_mode',
};

/**
 * Where the value at the path begins, or its name; of what is not there, what it would be in. The
 * path comes back with the names that were written.
 */
export function findPlace(
  document: Document.Parsed,
  { path, at }: TemplateProblem,
): { readonly offset: number; readonly path: Place } {
  const written = [...path];
  let node = document.contents as Node;
  let offset = node?.range?.[0] ?? 0;
  for (const [index, part] of path.entries()) {
    const found = resolve(document, node);
    if (isSeq(found)) {
      node = found.items[part as number] as Node;
      offset = node?.range?.[0] ?? offset;
      continue;
    }
    if (!isMap(found)) break;
    const other = otherNames[part] ?? String(part);
    const pair =
      findPair(document, found as YAMLMap, String(part)) ??
      findPair(document, found as YAMLMap, other);
    if (pair === undefined) break;
    const key = pair.key as Scalar & Node;
    if (String(key.value) === other) written[index] = other;
    node = pair.value as Node;
    // An empty value stands nowhere: its name does.
    const { range } = node ?? {};
    const empty = range === undefined || range === null || range[0] === range[1];
    const name = empty || (at === 'name' && index === path.length - 1);
    offset = (name ? key : node)?.range?.[0] ?? offset;
  }
  return { offset, path: written };
}

function findPair(document: Document.Parsed, map: YAMLMap, name: string): Pair | undefined {
  const own = map.items.find(
    (pair) => !isMerge(pair) && isScalar(pair.key) && String(pair.key.value) === name,
  );
  if (own !== undefined) return own;
  for (const pair of map.items) {
    if (!isMerge(pair)) continue;
    for (const source of mergedMaps(document, pair)) {
      const found = isMap(source) ? findPair(document, source as YAMLMap, name) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

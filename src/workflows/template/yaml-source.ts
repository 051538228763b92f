/**
 * A YAML file as a plain value that remembers where everything stands. Anchors, aliases and merge
 * keys are resolved here, within a budget: a file of 1 kB can mean a billion values.
 *
 * Invariant: `readYaml` never throws; a value without problems is JSON.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import type { TemplateProblem } from '../../core/workflow/graph.ts';
import type { Place } from '../../core/workflow/template-field.ts';
import { type LocatedProblem, pathText } from '../../core/workflow/template-problems.ts';
import { findPlace, isMerge, mergedMaps, type Node, placesOf, resolve } from './yaml-places.ts';

export interface YamlSource {
  /** Undefined when there are problems. */
  readonly value: unknown;
  readonly problems: readonly LocatedProblem[];
  /** A problem found in the value, with the line and column of its place. */
  locate(problem: TemplateProblem): LocatedProblem;
}

export const yamlLimits = Object.freeze({
  /** Of one file. */
  characters: 1_048_576,
  /** After anchors are expanded. */
  values: 200_000,
  depth: 100,
  /** Problems of syntax that are reported: one brings others. */
  syntaxProblems: 10,
});

export function readYaml(text: string, file: string): YamlSource {
  const place = placesOf(text);
  const at = (offset: number) => ({ file, ...place(offset) });
  const fail = (...problems: LocatedProblem[]): YamlSource => ({
    value: undefined,
    problems,
    locate: (problem) => ({ file, line: 1, column: 1, ...plain(problem) }),
  });
  const whole = (message: string, hint: string | null) =>
    fail({ file, line: 1, column: 1, path: '', message, hint });
  if (text.length > yamlLimits.characters) {
    return whole(
      `the file has ${text.length} characters, ${yamlLimits.characters} are allowed`,
      'Divide the workflow, or move data out of the template.',
    );
  }
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { prettyErrors: false });
  } catch (error) {
    if (error instanceof RangeError) return whole(tooDeep, 'Flatten it.');
    return whole(`cannot be read as YAML: ${(error as Error).message}`, null);
  }
  const faults = [...document.errors, ...document.warnings].slice(0, yamlLimits.syntaxProblems);
  // The parser calls itself for each level, and reports what the engine says then as an error.
  if (faults.some(({ message }) => /call stack/.test(message)))
    return whole(tooDeep, 'Flatten it.');
  if (faults.length > 0) {
    return fail(
      ...faults.map(({ code, message, pos }) => ({
        ...at(pos[0]),
        path: '',
        ...explainSyntax(code, message, text.slice(pos[0], pos[0] + 100)),
      })),
    );
  }
  if (document.contents === null) {
    return whole('the file is empty', 'A template begins with name: and has steps:.');
  }
  const expansion = new Expansion(document);
  const value = expansion.valueOf(document.contents, [], 0);
  if (expansion.problems.length > 0) {
    return fail(
      ...expansion.problems.map(({ offset, path, message, hint }) => ({
        ...at(offset),
        path: pathText(path),
        message,
        hint,
      })),
    );
  }
  return {
    value,
    problems: [],
    locate: (problem) => {
      const { offset, path } = findPlace(document, problem);
      return { ...at(offset), ...plain({ ...problem, path }) };
    },
  };
}

const tooDeep = 'the file is nested too deeply';

function plain({ path, message, hint }: TemplateProblem) {
  return { path: pathText(path), message, hint };
}

const syntaxHints: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'Indent with spaces.',
  BAD_INDENT: 'Lines of one level begin in the same column.',
  DUPLICATE_KEY: 'Keep one of them.',
  MULTIPLE_DOCS: 'Write each template into a file of its own.',
  MISSING_CHAR: 'Close what was opened: a quote, a bracket or a brace.',
  BLOCK_IN_FLOW: 'Within { } and [ ] everything is separated by commas.',
  BAD_SCALAR_START: 'Put the value into quotes.',
  MULTILINE_IMPLICIT_KEY: 'Is there a colon missing, or a value without quotes?',
  BAD_ALIAS: 'Define the anchor with & before it is used with *.',
  TAG_RESOLVE_FAILED: 'Remove the tag: templates are plain data.',
  BLOCK_AS_IMPLICIT_KEY:
    'Put the value into quotes, or begin the block in the next line, indented.',
};

function explainSyntax(code: string, message: string, found: string) {
  const hint = syntaxHints[code] ?? null;
  const sentence = message.replaceAll('\n', ' ').replace(/[.:]$/, '');
  if (code === 'MULTIPLE_DOCS') return { message: 'a second document begins here', hint };
  if (code !== 'DUPLICATE_KEY') return { message: `is not YAML: ${sentence}`, hint };
  const name = /^[^:\n]*/.exec(found)?.[0].trim() ?? '';
  return { message: `'${name}' is written twice in one place`, hint };
}

interface Fault {
  readonly offset: number;
  readonly path: Place;
  readonly message: string;
  readonly hint: string | null;
}

/** Turns nodes into values and counts them. */
class Expansion {
  readonly problems: Fault[] = [];
  readonly #document: Document.Parsed;
  /** Anchors that are being expanded: one within itself would never end. */
  readonly #open = new Set<unknown>();
  #left = yamlLimits.values;

  constructor(document: Document.Parsed) {
    this.#document = document;
  }

  valueOf(node: Node, path: Place, depth: number): unknown {
    if (this.#left < 0) return undefined;
    this.#left -= 1;
    if (this.#left < 0) {
      return this.#complain(
        node,
        path,
        `expands to more than ${yamlLimits.values} values`,
        'Use fewer aliases of aliases.',
      );
    }
    if (depth > yamlLimits.depth) {
      const message = `is nested more than ${yamlLimits.depth} levels deep`;
      return this.#complain(node, path, message, 'Flatten it.');
    }
    if (isAlias(node)) return this.#alias(node as Node, path, depth);
    if (isMap(node)) return this.#map(node as YAMLMap.Parsed, path, depth);
    if (isSeq(node)) {
      return node.items.map((item, at) => this.valueOf(item as Node, [...path, at], depth + 1));
    }
    return isScalar(node) ? this.#scalar(node, path) : null;
  }

  #complain(node: Node, path: Place, message: string, hint: string | null): undefined {
    this.problems.push({ offset: node?.range?.[0] ?? 0, path, message, hint });
    return undefined;
  }

  #alias(node: Node, path: Place, depth: number): unknown {
    const target = resolve(this.#document, node);
    if (target === undefined) {
      const message = 'is an alias of an anchor that is not there';
      return this.#complain(node, path, message, syntaxHints.BAD_ALIAS as string);
    }
    if (this.#open.has(target)) {
      return this.#complain(node, path, 'contains itself', 'Remove the alias.');
    }
    this.#open.add(target);
    const value = this.valueOf(target, path, depth + 1);
    this.#open.delete(target);
    return value;
  }

  #map(map: YAMLMap.Parsed, path: Place, depth: number): unknown {
    const object: Record<string, unknown> = {};
    // Own members win over merged ones, and an earlier merge over a later one.
    for (const pair of map.items) {
      if (!isMerge(pair)) continue;
      for (const source of mergedMaps(this.#document, pair)) {
        const merged = isMap(source) ? this.valueOf(source as Node, path, depth + 1) : undefined;
        if (merged === undefined) {
          const message = 'merges what is not a map';
          this.#complain(pair.key as Node, path, message, 'Write <<: *name of an anchor on a map.');
          continue;
        }
        Object.assign(object, { ...(merged as object), ...object });
      }
    }
    for (const pair of map.items) {
      if (isMerge(pair)) continue;
      const { key } = pair;
      const name = isScalar(key) ? String(key.value) : '';
      const place = [...path, name];
      if (name === '' || name === '__proto__' || (isScalar(key) && key.value === null)) {
        this.#complain(
          key as Node,
          path,
          'has a member without a usable name',
          'Write name: value.',
        );
        continue;
      }
      object[name] = this.valueOf(pair.value as Node, place, depth + 1);
    }
    return object;
  }

  #scalar(node: Scalar, path: Place): unknown {
    const { value } = node;
    if (typeof value !== 'number') return typeof value === 'bigint' ? String(value) : value;
    if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) {
      return value;
    }
    const message = Number.isFinite(value)
      ? 'is an integer that loses digits'
      : `is ${node.source ?? value}, which JSON cannot hold`;
    return this.#complain(node as Node, path, message, 'Put it into quotes.');
  }
}

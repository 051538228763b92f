/**
 * Reads one YAML file and remembers where each value stands, so that every later complaint can name
 * file, line, column and field. Complaints are collected and thrown together: one run shows all.
 */
import { MillraceError } from 'millrace';
import { isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { suggest } from './suggest.ts';

export type Path = readonly (string | number)[];

export interface PackIssue {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly field: string;
  readonly message: string;
}

export interface PackSource<T> {
  readonly file: string;
  readonly value: T;
  /** Notes a complaint about the value at `path`. */
  complain(path: Path, message: string): void;
  /** `file:line` of the value at `path`, for evidence and messages. */
  place(path: Path): string;
  /** Throws `code` with every complaint, if there is one. */
  finish(code?: 'PACK_INVALID' | 'EXPRESSION_INVALID'): void;
}

/** `playbooks[2].steps[0].action` */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    text += typeof part === 'number' ? `[${part}]` : `${text === '' ? '' : '.'}${part}`;
  }
  return text === '' ? '(whole file)' : text;
}

function packError(code: 'PACK_INVALID' | 'EXPRESSION_INVALID', issues: readonly PackIssue[]) {
  const lines = issues
    .slice(0, 20)
    .map((issue) => `${issue.file}:${issue.line}:${issue.column} ${issue.field}: ${issue.message}`);
  if (issues.length > 20) lines.push(`… and ${issues.length - 20} more`);
  return new MillraceError(code, lines.join('\n'), {
    fix: 'Correct the named fields of the pack and load it again.',
    details: { issues },
  });
}

/** What zod found, in the words of someone who writes packs. */
function describeIssue(issue: z.core.$ZodIssue, input: unknown): string {
  const found = JSON.stringify(input)?.slice(0, 60) ?? 'nothing';
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    return `${found} is not one of ${values.join(', ')}${nearHint(input, values)}`;
  }
  if (issue.code === 'invalid_type') {
    if (input === undefined) return `is required and must be a ${issue.expected}`;
    return `${found} is not a ${issue.expected}`;
  }
  if (issue.code === 'invalid_union') return `${found} fits none of the allowed forms`;
  return `${found}: ${issue.message}`;
}

function nearHint(input: unknown, values: readonly string[]): string {
  if (typeof input !== 'string') return '';
  const hint = suggest(input, values);
  return hint.startsWith('; did') ? hint : '';
}

function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const part of path) {
    if (typeof here !== 'object' || here === null) return undefined;
    here = (here as Record<string | number, unknown>)[part];
  }
  return here;
}

/** Names that are allowed where an unknown one was found: the members of the object's schema. */
function knownMembers(schema: z.core.$ZodType, path: Path): readonly string[] {
  let here: z.core.$ZodType | undefined = schema;
  for (let depth = 0; here !== undefined && depth <= path.length; ) {
    const def = here._zod.def as unknown as Record<string, unknown>;
    if (def.innerType !== undefined) {
      here = def.innerType as z.core.$ZodType;
      continue;
    }
    if (def.type === 'lazy') {
      here = (def.getter as () => z.core.$ZodType)();
      continue;
    }
    const shape = def.shape as Record<string, z.core.$ZodType> | undefined;
    if (depth === path.length) return shape === undefined ? [] : Object.keys(shape);
    const part = path[depth++] as string | number;
    here = (shape?.[part] ?? def.valueType ?? def.element) as z.core.$ZodType | undefined;
  }
  return [];
}

/** Parses and checks a pack. Throws PACK_INVALID when the text is no YAML or not of the schema. */
export function readPack<T>(file: string, text: string, schema: z.ZodType<T>): PackSource<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const issues: PackIssue[] = [];

  const locate = (path: Path) => {
    for (let length = path.length; length >= 0; length--) {
      const offset = offsetOf(document, path.slice(0, length));
      if (offset !== undefined) return lines.linePos(offset);
    }
    return { line: 1, col: 1 };
  };
  const complain = (path: Path, message: string) => {
    const { line, col } = locate(path);
    issues.push({ file, line, column: col, field: formatPath(path), message });
  };
  const finish = (code: 'PACK_INVALID' | 'EXPRESSION_INVALID' = 'PACK_INVALID') => {
    if (issues.length > 0) throw packError(code, issues);
  };

  for (const error of document.errors) {
    const { line, col } = lines.linePos(error.pos[0]);
    issues.push({ file, line, column: col, field: '(yaml)', message: error.message });
  }
  finish();
  const input: unknown = document.toJS();
  const parsed = schema.safeParse(input);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const path = issue.path as Path;
      if (issue.code === 'unrecognized_keys') {
        const known = knownMembers(schema, path);
        for (const key of issue.keys) {
          complain([...path, key], `is not a known field${suggest(key, known)}`);
        }
      } else {
        complain(path, describeIssue(issue, valueAt(input, path)));
      }
    }
    finish();
  }
  return {
    file,
    value: parsed.data as T,
    complain,
    finish,
    place: (path) => `${file}:${locate(path).line}`,
  };
}

type Document = ReturnType<typeof parseDocument>;

/** Where the value at `path` begins; for a member of a map, where its name begins. */
function offsetOf(document: Document, path: Path): number | undefined {
  if (path.length === 0) return document.contents?.range?.[0] ?? undefined;
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const last = path[path.length - 1];
  if (isMap(parent)) {
    const pair = parent.items.find(
      (item) => isPair(item) && isNode(item.key) && String(item.key) === String(last),
    );
    const range = isNode(pair?.key) ? pair.key.range : undefined;
    if (range) return range[0];
    return undefined;
  }
  const node = document.getIn(path, true);
  return isNode(node) ? (node.range?.[0] ?? undefined) : undefined;
}

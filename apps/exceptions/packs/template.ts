/**
 * Placeholders in step parameters: `{exception.x}`, `{domain_pack.x}`, `{policy_pack.x}`. Templates
 * are cut into pieces when the pack is loaded; rendering joins them. A text that is one placeholder
 * keeps the value's type, so tools get numbers as numbers. A missing value is `n/a` inside a text
 * and null on its own. Unknown names are errors of the pack, found when it is loaded.
 */
import type { ExceptionSnapshot } from '../vocabulary.ts';
import { isPlainObject } from '../vocabulary.ts';
import { suggest } from './suggest.ts';

export interface TemplateInput {
  readonly tenantId: string;
  readonly exception: ExceptionSnapshot;
}

export type Template = (input: TemplateInput) => unknown;

export interface TemplateNames {
  /** Payload fields that may be named as `{exception.x}`. */
  readonly payloadFields: ReadonlySet<string>;
  readonly domainPack: Readonly<Record<string, string>>;
  readonly policyPack: Readonly<Record<string, string>>;
  /** Called with each payload field that is used, so that intake keeps it. */
  keep(field: string): void;
  complain(message: string): void;
}

const own: ReadonlySet<string> = new Set([
  'exceptionId',
  'tenantId',
  'source',
  'domain',
  'type',
  'severity',
  'occurredAt',
  'ingestedAt',
  'slaDeadline',
  'amount',
  'entity',
]);
/** Names of the original's records. */
const synonyms: Readonly<Record<string, string>> = {
  exception_id: 'exceptionId',
  tenant_id: 'tenantId',
  sourceSystem: 'source',
  source_system: 'source',
  exceptionType: 'type',
  exception_type: 'type',
  timestamp: 'occurredAt',
  sla_deadline: 'slaDeadline',
};
const placeholder = /\{(exception|domain_pack|policy_pack)\.([A-Za-z_][\w.]*)\}/g;

/** Compiles any JSON value; constants cost nothing to render. */
export function compileTemplate(value: unknown, names: TemplateNames): Template {
  if (typeof value === 'string') return compileText(value, names);
  if (Array.isArray(value)) {
    const items = value.map((item) => compileTemplate(item, names));
    return (input) => items.map((item) => item(input));
  }
  if (isPlainObject(value)) {
    const members = Object.entries(value).map(
      ([name, member]) => [name, compileTemplate(member, names)] as const,
    );
    return (input) => {
      const result: Record<string, unknown> = {};
      for (const [name, member] of members) result[name] = member(input);
      return result;
    };
  }
  return () => value;
}

function compileText(text: string, names: TemplateNames): Template {
  const pieces: (string | Template)[] = [];
  let end = 0;
  for (const found of text.matchAll(placeholder)) {
    if (found.index > end) pieces.push(text.slice(end, found.index));
    pieces.push(compilePlaceholder(found[1] as string, found[2] as string, names));
    end = found.index + found[0].length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  const stray = /\{[a-z_]+\.[^}]*\}/i.exec(pieces.filter((p) => typeof p === 'string').join(' '));
  if (stray !== null) {
    names.complain(`${stray[0]} is not a placeholder; use exception, domain_pack or policy_pack`);
  }
  if (pieces.every((piece) => typeof piece === 'string')) return () => text;
  const only = pieces[0];
  if (pieces.length === 1 && typeof only === 'function') return only;
  return (input) => {
    let result = '';
    for (const piece of pieces) {
      result += typeof piece === 'string' ? piece : (piece(input) ?? 'n/a');
    }
    return result;
  };
}

function compilePlaceholder(scope: string, written: string, names: TemplateNames): Template {
  if (scope !== 'exception') {
    const pack = scope === 'domain_pack' ? names.domainPack : names.policyPack;
    const value = pack[written];
    if (value === undefined) {
      names.complain(`{${scope}.${written}} is unknown${suggest(written, Object.keys(pack))}`);
    }
    return () => value ?? null;
  }
  const name = synonyms[written] ?? written;
  if (name === 'tenantId') return (input) => input.tenantId;
  if (own.has(name)) {
    const member = name as keyof ExceptionSnapshot;
    return (input) => input.exception[member];
  }
  if (names.payloadFields.size > 0 && !names.payloadFields.has(name)) {
    const known = [...own, ...names.payloadFields];
    names.complain(`{exception.${written}} is not a declared field${suggest(written, known)}`);
  }
  names.keep(name);
  return (input) => input.exception.context[name] ?? null;
}

/**
 * From statements to values: each key gets the last statement about it, or its default. Everything
 * wrong is collected, with its place, so that one run of `config check` shows all of it.
 */
import { suggestName } from '../core/nearest-name.ts';
import { knownPaths, meaningOf } from './aliases.ts';
import { type KeyPath, keyAt, keyPaths, type Values } from './keys.ts';
import { type Key, printDuration } from './kinds.ts';
import type { Problem, Statement } from './layers.ts';

export interface Entry {
  readonly key: KeyPath;
  readonly value: unknown;
  /** Where the value comes from: file and line, a variable, or 'default'. */
  readonly source: string;
}

export interface Resolution {
  readonly values: Values;
  readonly entries: readonly Entry[];
  readonly problems: readonly Problem[];
  /** Keys that are accepted and have no effect. */
  readonly warnings: readonly Problem[];
}

interface Standing {
  readonly value: unknown;
  readonly source: string;
  readonly group: string;
  readonly weak: boolean;
}

export function resolve(statements: readonly Statement[]): Resolution {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const standing = new Map<string, Standing>();
  for (const statement of statements) {
    const meaning = meaningOf(statement.path);
    if (meaning === undefined) {
      problems.push(unknownKey(statement));
      continue;
    }
    const { path, unitMs, weak } = meaning;
    if (path === null) {
      const message = `${statement.path} is accepted and has no effect here`;
      warnings.push({ source: statement.source, message });
      continue;
    }
    const key = keyAt(path) as Key;
    const read = readValue(key, statement, unitMs);
    if (!read.ok) {
      problems.push(read.problem);
      continue;
    }
    const before = standing.get(path);
    const sameGroup = before?.group === statement.group;
    if (sameGroup && weak && !before.weak) continue;
    if (sameGroup && weak === before.weak) {
      const message = `${statement.path} says what ${before.source} says already: ${path}`;
      problems.push({ source: statement.source, message });
      continue;
    }
    standing.set(path, { value: read.value, ...statement, weak });
  }
  const entries = keyPaths.map((path): Entry => {
    const found = standing.get(path);
    if (found !== undefined) return { key: path, value: found.value, source: found.source };
    return { key: path, value: defaultOf(keyAt(path) as Key), source: 'default' };
  });
  const values = Object.fromEntries(entries.map(({ key, value }) => [key, value])) as Values;
  if (problems.length === 0) problems.push(...contradictions(values, entries));
  return { values, entries, problems, warnings };
}

export function defaultOf(key: Key): unknown {
  return key.default === undefined ? null : key.schema.parse(key.default);
}

type Read = { ok: true; value: unknown } | { ok: false; problem: Problem };

function readValue(key: Key, { path, raw, source }: Statement, unitMs: number | null): Read {
  const given = unitMs === null ? raw : timed(raw, unitMs);
  const parsed = key.schema.safeParse(given);
  if (parsed.success) return { ok: true, value: parsed.data };
  const allowed = unitMs === null ? key.allowed : `a number of ${printDuration(unitMs)} in range`;
  const shown = key.secret ? 'a value that is not shown' : show(raw);
  return { ok: false, problem: { source, message: `${path} is ${shown}, not ${allowed}` } };
}

/** A number in a name that has the unit; a variable's text counts when it is one. */
function timed(raw: unknown, unitMs: number): unknown {
  const amount = typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : raw;
  return typeof amount === 'number' ? `${amount * unitMs}ms` : Number.NaN;
}

function show(raw: unknown): string {
  const text = JSON.stringify(raw) ?? String(raw);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function unknownKey({ path, source }: Statement): Problem {
  const near = suggestName(path, knownPaths) ?? suggestInSection(path);
  const hint = near === null ? '' : `; ${near.replace(/^D/, 'd').replace(/^T/, 't')}`;
  return { source, message: `${path} is not a key of the configuration${hint}` };
}

function suggestInSection(path: string): string | null {
  const cut = path.lastIndexOf('.') + 1;
  const section = path.slice(0, cut);
  const names = knownPaths.filter((known) => known.startsWith(section));
  const last = names.map((known) => known.slice(cut)).filter((name) => !name.includes('.'));
  return cut === 0 ? null : suggestName(path.slice(cut), last);
}

/** Values that are right by themselves and wrong together. */
function contradictions(values: Values, entries: readonly Entry[]): Problem[] {
  const sourceOf = (key: KeyPath) => entries.find((entry) => entry.key === key)?.source as string;
  const problems: Problem[] = [];
  const mode = values['event_system.deployment_mode'];
  const report = (key: KeyPath, message: string) =>
    problems.push({ source: sourceOf(key), message });
  if (mode === 'EventDrivenOnly' && !values['event_system.listener.enabled']) {
    report('event_system.listener.enabled', 'EventDrivenOnly needs the listener that is off');
  }
  if (mode === 'PollingOnly' && !values['event_system.fallback_poller.enabled']) {
    report('event_system.fallback_poller.enabled', 'PollingOnly needs the poller that is off');
  }
  const oldest = values['event_system.fallback_poller.max_age'];
  if (oldest !== null && values['event_system.fallback_poller.age_threshold'] >= oldest) {
    const key = 'event_system.fallback_poller.age_threshold';
    report(key, 'age_threshold is not below max_age, so every message would be put aside');
  }
  const [first, last] = ['backoff_initial_delay', 'backoff_max_delay'] as const;
  if (values[`event_system.${first}`] > values[`event_system.${last}`]) {
    report(`event_system.${first}`, `${first} is greater than ${last}`);
  }
  if (values['jobs.poll_least'] > values['jobs.poll_most']) {
    report('jobs.poll_least', 'poll_least is greater than poll_most');
  }
  if (values['jobs.heartbeat'] * 2 > values['jobs.time_to_live']) {
    report('jobs.heartbeat', 'heartbeat is more than half of time_to_live');
  }
  return problems;
}

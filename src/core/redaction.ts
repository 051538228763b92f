/**
 * Redaction: personal data and secrets leave an event before anything is written (P9-24). A
 * Redactor knows the rules of tenants and event types and gives a payload without them, with a note
 * of what was masked and why. Keys, tenants and ids of events are never touched.
 *
 * Invariant: with nothing to mask the very object that was given comes back; masking what was
 * masked changes nothing. Secrets are masked for every tenant, and only the definition of an event
 * type may say that a member of it is none.
 */
import { MillraceError } from './errors.ts';
import { type DefinitionRedaction, RedactionPlan, type RedactionRules } from './redaction-plan.ts';
import {
  type Mask,
  maskText,
  type Redacted,
  type RedactionNote,
  redactValue,
} from './redaction-walk.ts';
import { findSensitive } from './sensitive-text.ts';

export { type PersonalKind, personalKinds } from './personal-values.ts';
export type { DefinitionRedaction, RedactionNote, RedactionRules };

/** Of what is stored under `redaction` in the metadata. */
export const redactionVersion = 1;

export interface RedactionOptions {
  /** Of every tenant. */
  readonly default?: RedactionRules | undefined;
  /** Of single tenants, over the default: fields and keeps add up, the rest replaces. */
  readonly tenants?: Readonly<Record<string, RedactionRules>> | undefined;
  /**
   * A keyed hash of a value, so that equal values stay equal where they are masked. 16 characters
   * of hex; `pseudonyms(key)` makes one. Never used for secrets.
   */
  readonly pseudonym?: ((value: string, tenantId: string) => string) | undefined;
}

/** The part of an event definition that matters here. */
export interface RedactedDefinition {
  readonly type: string;
  readonly redaction?: false | DefinitionRedaction | undefined;
}

interface Plans {
  readonly rest: RedactionPlan;
  readonly tenants: ReadonlyMap<string, RedactionPlan>;
}

const warningsMax = 100;
const pseudonymPattern = /^[0-9a-f]{16}$/;

export class Redactor {
  #general: RedactionOptions | null = null;
  readonly #scoped = new Map<string, RedactionOptions>();
  readonly #plans = new Map<string, Plans | null>();
  #textPlan: RedactionPlan | null = null;
  readonly #warned = new Set<string>();
  /** Told of what redaction must leave as it is although it should not be there. */
  onWarning: (problem: string) => void = () => {};

  /** @throws MillraceError CONFIG_INVALID naming the rule that is none. */
  constructor(options?: RedactionOptions | undefined) {
    if (options !== undefined) this.#general = checked(options);
  }

  /** False while nobody asked for redaction: then it costs nothing. */
  get on(): boolean {
    return this.#general !== null || this.#scoped.size > 0;
  }

  /**
   * Rules for these event types, beside the general ones: what an application knows of the foreign
   * data that it takes in.
   */
  use(types: readonly string[], options: RedactionOptions): void {
    checked(options);
    for (const type of types) this.#scoped.set(type, options);
    this.#plans.clear();
    this.#textPlan = null;
  }

  /** Null when nothing is to be masked. `root` is what paths in notes begin with, '' for none. */
  redact<T>(
    definition: RedactedDefinition,
    tenantId: string,
    value: T,
    root = '',
  ): Redacted<T> | null {
    const plan = this.#planOf(definition, tenantId);
    if (plan === null) return null;
    const { type } = definition;
    return redactValue(plan, value, this.#mask(type, tenantId), type, root);
  }

  /** Tells once of each type that its key holds what would be masked elsewhere. */
  warnOfKey(type: string, kind: string): void {
    const about = `${type} ${kind}`;
    if (this.#warned.has(about) || this.#warned.size >= warningsMax) return;
    this.#warned.add(about);
    this.onWarning(
      `The key of ${type} holds personal data (${kind}); keys are stored as they are. ` +
        'Use an id as the key, or a pseudonym of the value.',
    );
  }

  /** Why a key should not be one: what it holds of personal data; null when there is nothing. */
  findInKey(definition: RedactedDefinition, tenantId: string, key: string): string | null {
    const plan = this.#planOf(definition, tenantId);
    return plan === null ? null : (findSensitive(key, plan.look)?.[0]?.kind ?? null);
  }

  /** Text that is about events and no event itself: reasons and stacks of failures. */
  text(tenantId: string, text: string): string {
    if (!this.on) return text;
    this.#textPlan ??= new RedactionPlan(
      [this.#general, ...this.#scoped.values()].flatMap((options) => options?.default ?? []),
      undefined,
    );
    return maskText(this.#textPlan, text, this.#mask('', tenantId), null);
  }

  #mask(type: string, tenantId: string): Mask {
    const { pseudonym } = this.#scoped.get(type) ?? this.#general ?? {};
    const { pseudonym: general } = this.#general ?? {};
    const hash = pseudonym ?? general;
    return (kind, value) => {
      if (hash === undefined || kind === 'secret') return `[redacted:${kind}]`;
      const text = hash(value, tenantId);
      if (pseudonymPattern.test(text)) return `[redacted:${kind}:${text}]`;
      throw new MillraceError('CONFIG_INVALID', 'redaction.pseudonym gave no 16 hex characters.', {
        fix: 'Use pseudonyms(key), or cut an HMAC-SHA256 in hex to 16 characters.',
      });
    };
  }

  #planOf(definition: RedactedDefinition, tenantId: string): RedactionPlan | null {
    let plans = this.#plans.get(definition.type);
    if (plans === undefined) {
      plans = this.#compile(definition);
      this.#plans.set(definition.type, plans);
    }
    return plans === null ? null : (plans.tenants.get(tenantId) ?? plans.rest);
  }

  #compile({ type, redaction }: RedactedDefinition): Plans | null {
    const sources = [this.#general, this.#scoped.get(type)].filter((source) => source != null);
    if (sources.length === 0 || redaction === false) return null;
    const defaults = sources.flatMap((source) => source.default ?? []);
    const tenants = new Map<string, RedactionPlan>();
    for (const tenantId of sources.flatMap((source) => Object.keys(source.tenants ?? {}))) {
      const own = sources.flatMap((source) => source.tenants?.[tenantId] ?? []);
      tenants.set(tenantId, new RedactionPlan([...defaults, ...own], redaction));
    }
    return { rest: new RedactionPlan(defaults, redaction), tenants };
  }
}

/** Compiles everything once, so that a wrong rule shows at the start and not at an event. */
function checked(options: RedactionOptions): RedactionOptions {
  const defaults = options.default === undefined ? [] : [options.default];
  new RedactionPlan(defaults, undefined);
  for (const own of Object.values(options.tenants ?? {})) {
    new RedactionPlan([...defaults, own], undefined);
  }
  return options;
}

/**
 * What to do for one tenant and event type, compiled: the verdict on a member's name is found once
 * and remembered, texts are looked through in one pass.
 */
import { MillraceError } from './errors.ts';
import type { PathStep } from './json-rules.ts';
import { type PersonalKind, personalKinds } from './personal-values.ts';
import { compileFields, type FieldRule, matchesPath, mayEndIn } from './redacted-fields.ts';
import { foldName, isSecretName } from './secrets.ts';
import { findSensitive, type Lookout } from './sensitive-text.ts';

export interface RedactionRules {
  /**
   * Members that are personal whatever they hold: names at any depth (`email`, `*_name`) or paths
   * from the root (`customer.*.phone`, `**.address.street`, `$.user`). Whole names; case does not
   * matter.
   */
  readonly fields?: readonly string[] | undefined;
  /** Members left as they are, but for secrets. They win over `fields` and `values`. */
  readonly keep?: readonly string[] | undefined;
  /** What is recognised inside texts; all but ipv4 by default, none with []. */
  readonly values?: readonly PersonalKind[] | undefined;
  /** Names of members that hold such values, as in `{ "a@b.org": 3 }`; kept by default. */
  readonly names?: 'keep' | 'mask' | undefined;
}

/** What a definition says of its own payload. */
export interface DefinitionRedaction {
  /** Members that even the search for secrets leaves alone, such as a `token` that is none. */
  readonly keep?: readonly string[] | undefined;
}

export const defaultValues: readonly PersonalKind[] = personalKinds.filter((k) => k !== 'ipv4');

export interface Verdict {
  /** Every value below is masked, for this reason. */
  readonly mask: 'secret' | FieldRule | null;
  /** The rest holds only where the path fits. */
  readonly fields: readonly FieldRule[] | null;
  readonly keep: readonly FieldRule[] | null;
  readonly free: readonly FieldRule[] | null;
  /** The name itself holds what is to be masked. */
  readonly name: boolean;
}

const nothing: Verdict = Object.freeze({
  mask: null,
  fields: null,
  keep: null,
  free: null,
  name: false,
});

const verdictsMax = 4_096;
const rememberedCharsMax = 64;

export class RedactionPlan {
  readonly look: Lookout;
  readonly masksNames: boolean;
  readonly #fields: readonly FieldRule[];
  readonly #keep: readonly FieldRule[];
  readonly #free: readonly FieldRule[];
  readonly #verdicts = new Map<string, Verdict>();

  /** Fields and keeps of all add up; for the rest the last one that says something counts. */
  constructor(rules: readonly RedactionRules[], definition: DefinitionRedaction | undefined) {
    this.#fields = compileFields(
      rules.flatMap(({ fields = [] }) => fields),
      'redaction.fields',
    );
    this.#keep = compileFields(
      rules.flatMap(({ keep = [] }) => keep),
      'redaction.keep',
    );
    this.#free = compileFields(definition?.keep ?? [], 'redaction.keep of the definition');
    const values = rules.findLast((rule) => rule.values !== undefined)?.values ?? defaultValues;
    checkKinds(values);
    const names = rules.findLast((rule) => rule.names !== undefined)?.names;
    this.masksNames = names === 'mask';
    const has = (kind: PersonalKind) => values.includes(kind);
    this.look = {
      secret: true,
      email: has('email'),
      phone: has('phone'),
      iban: has('iban'),
      card: has('card'),
      nationalId: has('national-id'),
      ipv4: has('ipv4'),
    };
  }

  /** The same object for names that nothing is to be said about. */
  verdictOn(name: string): Verdict {
    const known = this.#verdicts.get(name);
    if (known !== undefined) return known;
    const verdict = this.#judge(name);
    if (name.length <= rememberedCharsMax) {
      // Names that are data, such as ids, would occupy it for good otherwise.
      if (this.#verdicts.size >= verdictsMax) this.#verdicts.clear();
      this.#verdicts.set(name, verdict);
    }
    return verdict;
  }

  #judge(name: string): Verdict {
    const folded = foldName(name);
    const fitting = (rules: readonly FieldRule[]) => {
      const found = rules.filter((rule) => mayEndIn(rule, folded));
      return found.length === 0 ? null : found;
    };
    const secret = isSecretName(name);
    const [fields, keep, free] = [fitting(this.#fields), fitting(this.#keep), fitting(this.#free)];
    const holds = this.masksNames && findSensitive(name, this.look) !== null;
    if (!secret && !holds && fields === null && keep === null && free === null) return nothing;
    return { mask: secret ? 'secret' : null, fields, keep, free, name: holds };
  }
}

/** What a verdict means at this place: a reason to mask, 'keep', 'free', or nothing to say. */
export function decide(
  verdict: Verdict,
  path: readonly PathStep[],
): 'secret' | FieldRule | 'keep' | 'free' | null {
  if (verdict === nothing) return null;
  const fits = (rule: FieldRule) => matchesPath(rule, path);
  if (verdict.free?.some(fits)) return 'free';
  if (verdict.mask === 'secret') return 'secret';
  if (verdict.keep?.some(fits)) return 'keep';
  return verdict.fields?.find(fits) ?? null;
}

function checkKinds(values: readonly PersonalKind[]): void {
  const unknown = values.find((kind) => !personalKinds.includes(kind));
  if (unknown === undefined) return;
  throw new MillraceError('CONFIG_INVALID', `redaction.values names '${unknown}'.`, {
    fix: `Use ${personalKinds.join(', ')}.`,
  });
}

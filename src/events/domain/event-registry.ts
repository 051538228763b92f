/**
 * The domain events that this process knows: who declares each, its schema compiled, and how it is
 * delivered. Filled by `mill.events.declare`, by templates and by workflow definitions.
 *
 * Invariant: one name has one schema everywhere, but for the versions of one workflow, each of
 * which keeps its own: runs of an older version are still under way when the next one is deployed.
 */
import { MillraceError } from '../../core/errors.ts';
import { defineEvent, type EventDefinition } from '../../core/event.ts';
import {
  type DeliveryMode,
  type DomainEventDeclaration,
  deliveryModes,
  type PublishCondition,
  publishConditions,
} from '../../core/workflow/domain-event.ts';
import { checkEventName, checkNamespace, logTypeOf } from './name-pattern.ts';
import { type CompileSchema, canonicalText, payloadSchema } from './payload-schema.ts';

/** A declaration with `delivery` and `condition` left to their defaults. */
export type DeclarationInput = Omit<DomainEventDeclaration, 'delivery' | 'condition'> & {
  readonly delivery?: DeliveryMode | undefined;
  readonly condition?: PublishCondition | undefined;
};

/** With every default filled in. */
export type SettledDeclaration = DomainEventDeclaration & { readonly delivery: DeliveryMode };

/** The workflow whose declarations they are. */
export interface DeclaringWorkflow {
  readonly name: string;
  readonly version: string;
}

/** One declaration of one event. */
export interface DeclaredEvent {
  readonly name: string;
  readonly namespace: string;
  /** Null: declared in code, for no workflow. */
  readonly workflow: DeclaringWorkflow | null;
  readonly version: string;
  readonly declaration: SettledDeclaration;
  /** Of the log: type `domain.<namespace>.<name>`, and the schema of the payload. */
  readonly definition: EventDefinition<unknown>;
}

/** An event as `describe` shows it. */
export interface EventDescription {
  readonly name: string;
  readonly description: string | null;
  readonly schema: Readonly<Record<string, unknown>> | null;
  readonly delivery: DeliveryMode;
  readonly declaredBy: readonly {
    readonly namespace: string;
    readonly workflow: string | null;
    readonly version: string;
    readonly delivery: DeliveryMode;
    readonly condition: PublishCondition;
    /** The durable stream of the namespace, and its dead letters. */
    readonly stream: string;
    readonly deadLetters: string;
  }[];
}

interface Entry extends DeclaredEvent {
  readonly schemaText: string | null;
}

const codeVersion = '1.0.0';
export class EventRegistry {
  readonly #compile: CompileSchema;
  readonly #defaultDelivery: DeliveryMode;
  readonly #byName = new Map<string, Entry[]>();
  readonly #byType = new Map<string, DeclaredEvent>();

  constructor(compile: CompileSchema, defaultDelivery: DeliveryMode) {
    this.#compile = compile;
    this.#defaultDelivery = defaultDelivery;
  }

  /**
   * Adds declarations, all or none. The same ones again change nothing.
   * @throws MillraceError DEFINITION_INVALID
   */
  declare(
    namespace: string,
    declarations: readonly DeclarationInput[],
    workflow: DeclaringWorkflow | null,
  ): void {
    checkNamespace(namespace);
    // The same version of a workflow again is a reload: what it says now takes the place.
    const isOld = (entry: Entry) =>
      workflow !== null &&
      entry.namespace === namespace &&
      entry.workflow?.name === workflow.name &&
      entry.version === workflow.version;
    const others = (name: string) => (this.#byName.get(name) ?? []).filter((it) => !isOld(it));
    const added: Entry[] = [];
    for (const given of declarations) {
      const entry = this.#createEntry(namespace, given, workflow);
      const known = [...others(entry.name), ...added.filter(({ name }) => name === entry.name)];
      for (const other of known) refuseConflict(other, entry);
      if (!known.some((other) => isSame(other, entry))) added.push(entry);
    }
    for (const name of new Set(added.map((entry) => entry.name))) {
      this.#byName.set(name, [...others(name), ...added.filter((entry) => entry.name === name)]);
      const newest = this.find(name, namespace) as DeclaredEvent;
      this.#byType.set(newest.definition.type, newest);
    }
  }

  /** The newest declaration of the event in that namespace; in any, when it is left out. */
  find(name: string, namespace?: string | null): DeclaredEvent | undefined {
    let best: DeclaredEvent | undefined;
    for (const entry of this.#byName.get(name) ?? []) {
      if (namespace != null && entry.namespace !== namespace) continue;
      if (best === undefined || isNewer(entry, best)) best = entry;
    }
    return best;
  }

  /**
   * The declaration that somebody means who publishes from outside of steps.
   * @param preferred a namespace for names that several declare.
   * @throws MillraceError EVENT_UNKNOWN; EVENT_INVALID when the namespace must be said
   */
  resolve(name: string, namespace?: string, preferred?: string): DeclaredEvent {
    const spaces = this.namespacesOf(name);
    const wanted = namespace ?? (spaces.length > 1 ? preferred : spaces[0]);
    if (wanted === undefined && spaces.length > 1) {
      throw new MillraceError(
        'EVENT_INVALID',
        `${name} is declared in the namespaces ${spaces.join(', ')}.`,
        { fix: 'Say in which one it is published: { namespace }.' },
      );
    }
    const declared = this.find(name, wanted);
    if (declared) return declared;
    throw unknownEvent(name, namespace, this.names());
  }

  /** The declaration that holds for a run of that workflow; else the one of its namespace. */
  findFor(name: string, namespace: string, workflow: DeclaringWorkflow): DeclaredEvent | undefined {
    const own = this.#byName
      .get(name)
      ?.find(
        (entry) =>
          entry.namespace === namespace &&
          entry.workflow?.name === workflow.name &&
          entry.workflow.version === workflow.version,
      );
    return own ?? this.find(name, namespace);
  }

  /** True when that very version of the workflow declares it. */
  declares(name: string, namespace: string, { name: of, version }: DeclaringWorkflow): boolean {
    const entries = this.#byName.get(name) ?? [];
    return entries.some(
      ({ namespace: space, workflow }) =>
        space === namespace && workflow?.name === of && workflow.version === version,
    );
  }

  /** By the event type in the log. */
  findByType(eventType: string): DeclaredEvent | undefined {
    return this.#byType.get(eventType);
  }

  /** Namespaces that declare the event. */
  namespacesOf(name: string): readonly string[] {
    return [...new Set(this.#byName.get(name)?.map(({ namespace }) => namespace))];
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }

  namespaces(): readonly string[] {
    const all = [...this.#byName.values()].flat().map(({ namespace }) => namespace);
    return [...new Set(all)].sort();
  }

  describe(name: string): EventDescription | undefined {
    const newest = this.find(name);
    if (newest === undefined) return undefined;
    return {
      name,
      description: newest.declaration.description ?? null,
      schema: newest.declaration.schema ?? null,
      delivery: newest.declaration.delivery,
      declaredBy: (this.#byName.get(name) ?? []).map((entry) => ({
        namespace: entry.namespace,
        workflow: entry.workflow?.name ?? null,
        version: entry.version,
        delivery: entry.declaration.delivery,
        condition: entry.declaration.condition,
        stream: streamName(entry.namespace),
        deadLetters: deadLetterName(entry.namespace),
      })),
    };
  }

  #createEntry(
    namespace: string,
    given: DeclarationInput,
    workflow: DeclaringWorkflow | null,
  ): Entry {
    const name = checkEventName(given.name);
    const { schema } = given;
    const delivery = given.delivery ?? this.#defaultDelivery;
    const condition = given.condition ?? 'success';
    if (!deliveryModes.includes(delivery)) {
      throw refuse(`${name}: delivery is '${delivery}'; it can be ${deliveryModes.join(', ')}.`);
    }
    if (!publishConditions.includes(condition)) {
      const words = publishConditions.join(', ');
      throw refuse(`${name}: condition is '${condition}'; it can be ${words}.`);
    }
    return {
      name,
      namespace,
      workflow,
      version: workflow?.version ?? codeVersion,
      declaration: Object.freeze({ ...given, name, delivery, condition }),
      definition: defineEvent(logTypeOf(namespace, name), {
        schema: payloadSchema(name, schema, this.#compile),
        ...(given.description !== undefined && { description: given.description }),
      }),
      schemaText: schema === undefined ? null : canonicalText(schema),
    };
  }
}

export function streamName(namespace: string): string {
  return `${namespace}_domain_events`;
}

export function deadLetterName(namespace: string): string {
  return `${namespace}_domain_events_dlq`;
}

function isSame(a: Entry, b: Entry): boolean {
  return (
    a.name === b.name &&
    a.namespace === b.namespace &&
    a.workflow?.name === b.workflow?.name &&
    a.version === b.version &&
    a.schemaText === b.schemaText &&
    a.declaration.condition === b.declaration.condition &&
    a.declaration.publisher === b.declaration.publisher
  );
}

/** Another version of the same workflow may say something else; nobody else may. */
function refuseConflict(known: Entry, entry: Entry): void {
  const sameNamespace = known.namespace === entry.namespace;
  const versions =
    sameNamespace &&
    known.workflow !== null &&
    known.workflow.name === entry.workflow?.name &&
    known.version !== entry.version;
  if (versions) return;
  const both = `${placeOf(known)} and by ${placeOf(entry)}`;
  const [a, b] = [known.schemaText, entry.schemaText];
  if (a !== null && b !== null && a !== b) {
    throw refuse(
      `${entry.name} is declared with two schemas: by ${both}.`,
      'Use one schema for the name, or another name for one of the two.',
    );
  }
  if (sameNamespace && known.declaration.delivery !== entry.declaration.delivery) {
    const [one, other] = [known.declaration.delivery, entry.declaration.delivery];
    throw refuse(
      `${entry.name} is declared with two deliveries, ${one} and ${other}: by ${both}.`,
      'Give both the same delivery.',
    );
  }
}

function placeOf({ namespace, workflow }: Entry): string {
  return workflow === null ? namespace : `${namespace}/${workflow.name}@${workflow.version}`;
}

function isNewer(a: DeclaredEvent, b: DeclaredEvent): boolean {
  // A declaration without schema never hides one that has it.
  const [bare, other] = [a.declaration.schema === undefined, b.declaration.schema === undefined];
  if (bare !== other) return other;
  return compareVersions(a.version, b.version) > 0;
}

/** `1.10.0` is newer than `1.9.0`; what is no number is compared as text. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.'), b.split('.')];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const [x = '0', y = '0'] = [left[i], right[i]];
    const difference = Number(x) - Number(y);
    if (Number.isNaN(difference) ? x !== y : difference !== 0) {
      return Number.isNaN(difference) ? (x < y ? -1 : 1) : difference;
    }
  }
  return 0;
}

function unknownEvent(
  name: string,
  namespace: string | undefined,
  known: readonly string[],
): MillraceError {
  const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
  const some = known.slice(0, 10).join(', ') || 'none';
  return new MillraceError(
    'EVENT_UNKNOWN',
    `The domain event ${name} is not declared${where}. Known: ${some}.`,
    { fix: 'Correct the spelling, or declare it: mill.events.declare(namespace, [{ name, … }]).' },
  );
}

function refuse(message: string, fix?: string): MillraceError {
  return new MillraceError('DEFINITION_INVALID', message, { fix });
}

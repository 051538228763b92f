/**
 * Names of domain events and the patterns that subscriptions give, and how both become event types
 * of the log: `domain.<namespace>.<name>`, so that `domain.<namespace>.*` is the stream of one
 * namespace.
 */
import { MillraceError } from '../../core/errors.ts';

const namePattern = /^[a-z0-9_]+(\.[a-z0-9_]+)+$/;
const subscriptionPattern = /^(\*|[a-z0-9_]+)(\.(\*|[a-z0-9_]+))*$/;
const namespacePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const typeCharsMax = 128;
const prefix = 'domain.';

/** @throws MillraceError DEFINITION_INVALID */
export function checkEventName(name: unknown): string {
  if (typeof name === 'string' && namePattern.test(name)) return name;
  throw new MillraceError('DEFINITION_INVALID', `'${String(name)}' is not a name of an event.`, {
    fix: 'Use at least two segments of a-z, 0-9 and _, joined by dots: payment.charged.',
  });
}

/** @throws MillraceError DEFINITION_INVALID */
export function checkNamespace(namespace: unknown): string {
  if (typeof namespace === 'string' && namespacePattern.test(namespace)) return namespace;
  throw new MillraceError('DEFINITION_INVALID', `'${String(namespace)}' is not a namespace.`, {
    fix: 'Use letters, digits, _ . or -, beginning with a letter or digit.',
  });
}

/** The event type in the log. @throws MillraceError DEFINITION_INVALID when it is too long. */
export function logTypeOf(namespace: string, name: string): string {
  const type = `${prefix}${namespace}.${name}`;
  if (type.length <= typeCharsMax) return type;
  const room = typeCharsMax - prefix.length - 1;
  throw new MillraceError(
    'DEFINITION_INVALID',
    `Namespace and name of the event '${name}' have ${namespace.length + name.length} characters.`,
    { fix: `Shorten them: ${room} characters are allowed together.` },
  );
}

export function isDomainType(eventType: string): boolean {
  return eventType.startsWith(prefix);
}

/**
 * What a subscription listens to: `payment.charged`; `payment.*.done`, where `*` is one segment;
 * `payment.*`, where the last `*` is all that follows, one segment or more; `*`, everything.
 */
export class NamePattern {
  readonly text: string;
  readonly #segments: readonly string[];
  readonly #open: boolean;

  /** @throws MillraceError DEFINITION_INVALID */
  constructor(text: string) {
    const good = typeof text === 'string' && subscriptionPattern.test(text);
    // One segment that is no star would be a name, and names have two.
    if (!good || (text !== '*' && !text.includes('.'))) {
      throw new MillraceError(
        'DEFINITION_INVALID',
        `'${String(text)}' is not a pattern of event names.`,
        { fix: "Give a name, or one with * for a segment: 'payment.charged', 'payment.*', '*'." },
      );
    }
    this.text = text;
    const segments = text.split('.');
    this.#open = segments.at(-1) === '*';
    this.#segments = this.#open ? segments.slice(0, -1) : segments;
  }

  /** True when it stands for one name only. */
  get exact(): boolean {
    return !this.text.includes('*');
  }

  matches(name: string): boolean {
    if (this.exact) return name === this.text;
    const segments = name.split('.');
    const wanted = this.#segments;
    if (this.#open ? segments.length <= wanted.length : segments.length !== wanted.length) {
      return false;
    }
    return wanted.every((segment, i) => segment === '*' || segment === segments[i]);
  }

  /**
   * The filter for the log, which lets a little more pass: a `*` there is any text, dots as well,
   * and a namespace may have dots. `matches` decides.
   */
  logType(namespace: string | null): string {
    return `${prefix}${namespace ?? '*'}.${this.text}`;
  }
}

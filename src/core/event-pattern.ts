/**
 * Which event types a reader wants: names, and patterns in which `*` stands for any text, such as
 * `domain.payments.*`. A subscription to a pattern also gets types that nobody had thought of when
 * it was made. Stores filter by the same rule (`ReadRequest.types`).
 */
import type { EventDefinition } from './event.ts';

/** Enough of a Set to ask it. */
export interface TypeSet {
  has(eventType: string): boolean;
}

export function isTypePattern(type: string): boolean {
  return type.includes('*');
}

const rememberedMax = 10_000;

/** A plain Set where there is no pattern: readers ask it for each event. */
export function createTypeSet(types: readonly string[]): TypeSet {
  const exact = new Set(types.filter((type) => !isTypePattern(type)));
  const patterns = types.filter(isTypePattern).map(toRegExp);
  if (patterns.length === 0) return exact;
  const answers = new Map<string, boolean>();
  return {
    has(eventType) {
      const known = answers.get(eventType);
      if (known !== undefined) return known;
      const wanted = exact.has(eventType) || patterns.some((pattern) => pattern.test(eventType));
      if (answers.size >= rememberedMax) answers.clear();
      answers.set(eventType, wanted);
      return wanted;
    },
  };
}

function toRegExp(pattern: string): RegExp {
  const parts = pattern.split('*').map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`);
}

/**
 * Stands for every event whose type fits, where a subscription lists its events. They are handed on
 * as they are stored, whatever their version.
 */
export function eventsLike(pattern: string): EventDefinition<unknown> {
  return Object.freeze({
    type: pattern,
    version: 1,
    schema: {
      '~standard': {
        version: 1 as const,
        vendor: 'millrace',
        validate: () => ({ issues: [{ message: `'${pattern}' is for subscriptions only` }] }),
      },
    },
    key: () => null,
    upcast: (payload: unknown) => payload,
  });
}

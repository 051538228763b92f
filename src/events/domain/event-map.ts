/**
 * Payload types by event name, for the compiler only. `millrace generate events` writes a file that
 * adds to the map; from then on `publish` and `subscribe` know the payloads.
 */
import type { DomainEvent } from '../../core/workflow/domain-event.ts';

/**
 * Filled by declaration merging.
 * @example
 * declare module 'millrace' {
 *   interface DomainEventMap {
 *     'payment.charged': { readonly payment_id: string };
 *   }
 * }
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add its members
export interface DomainEventMap {}

/** What may be published under a name: unknown for names that are not in the map. */
export type PayloadOf<Name extends string> = Name extends keyof DomainEventMap
  ? DomainEventMap[Name]
  : unknown;

type Template<Pattern extends string> = Pattern extends `${infer Head}*${infer Tail}`
  ? `${Head}${string}${Template<Tail>}`
  : Pattern;

type KnownNames<Pattern extends string> = Extract<keyof DomainEventMap, Template<Pattern>>;

/**
 * What a subscription to a name or a pattern is called with. A pattern counts on the map: events
 * that it does not know are not in the union.
 */
export type DomainEventOf<Pattern extends string> = [KnownNames<Pattern>] extends [never]
  ? DomainEvent
  : NamedEvent<KnownNames<Pattern>>;

type NamedEvent<Name> = Name extends keyof DomainEventMap
  ? DomainEvent<Name, DomainEventMap[Name]>
  : never;

/**
 * When two requests mean the same run. strict: same input, same run; caller_provided: the caller
 * names it; always_unique: never. A key that comes with the request is more than any strategy.
 * Core has no hash function: the workflows layer gives its own.
 */
import { MillraceError } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';

export const identityStrategies = ['strict', 'caller_provided', 'always_unique'] as const;
/** strict: a hash of name and input. caller_provided: a key is required. always_unique: none. */
export type IdentityStrategy = (typeof identityStrategies)[number];

export interface IdentityRequest {
  readonly namespace: string;
  readonly name: string;
  readonly strategy: IdentityStrategy;
  /** JSON text of the input. */
  readonly inputJson: string;
  /** Idempotency key of the request. */
  readonly key?: string | undefined;
  /** Hex digest of a text; collisions must not be found on purpose, so SHA-256. */
  readonly hash: (text: string) => string;
}

const keyCharsMax = 255;

/**
 * The identity under which a store keeps at most one run of (tenant, namespace, name); null: any
 * number of runs. Begins with `key:` or `input:`, so that no key looks like a hash.
 *
 * strict counts input as data: order of members, spaces and the spelling of numbers do not matter.
 * The version of the workflow does not count: the same order placed after a deployment is the same.
 * @throws MillraceError WORKFLOW_INPUT_INVALID when a key is required and missing, or unusable.
 */
export function runIdentity(request: IdentityRequest): string | null {
  const { namespace, name, strategy, key } = request;
  if (key !== undefined) {
    if (key !== '' && key.length <= keyCharsMax && !key.includes('\0') && key.isWellFormed()) {
      return `key:${key}`;
    }
    throw new MillraceError(
      'WORKFLOW_INPUT_INVALID',
      `The idempotency key for ${namespace}/${name} is empty, longer than ${keyCharsMax}` +
        ' characters, or not text.',
      { fix: 'Give a short key that is the same whenever the same run is meant.' },
    );
  }
  switch (strategy) {
    case 'always_unique':
      return null;
    case 'strict':
      return `input:${request.hash(canonicalJson(JSON.parse(request.inputJson)))}`;
    case 'caller_provided':
      throw new MillraceError(
        'WORKFLOW_INPUT_INVALID',
        `${namespace}/${name} is started with an idempotency key, and none was given.`,
        { fix: 'Start it with { key }, or set identity: strict in its definition.' },
      );
  }
}

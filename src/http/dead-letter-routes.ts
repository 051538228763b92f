/**
 * The dead-letter queue for people (P9-15): look, understand by fingerprint, and act on one letter,
 * on one key, or on all that failed alike. A verb answers with the letter as it is afterwards.
 */
import { MillraceError } from '../core/errors.ts';
import { isUuid } from '../core/ids.ts';
import type { Millrace } from '../millrace.ts';
import type { DeadLetterFilter, DeadLetterRef } from '../ports/failures.ts';
import { choiceOf, flagOf, integerOf, membersOf, numberOf, textOf, uuidOf } from './parameters.ts';
import { type Route, type RouteRequest, requestInvalid } from './route.ts';

const statuses = ['pending', 'retrying', 'discarded', 'skipped', 'succeeded'] as const;
const bulkVerbs = ['retry', 'skip', 'discard'] as const;
const pageDefault = 100;

export function deadLetterRoutes({ deadLetters }: Millrace): readonly Route[] {
  const one = '/ops/dlq/:group/:eventId';
  /** A verb on one letter. */
  const verb = (
    name: string,
    act: (ref: DeadLetterRef, request: RouteRequest) => unknown,
  ): Route => ({
    method: 'POST',
    path: `${one}/${name}`,
    async handle(request) {
      const ref = refOf(request);
      const result = await act(ref, request);
      const changed = typeof result === 'number' ? result : undefined;
      const letter = await deadLetters.show(ref).catch(ignoreGone);
      return { body: { status: letter?.status ?? 'succeeded', changed, letter } };
    },
  });
  return [
    {
      method: 'GET',
      path: '/ops/dlq',
      query: ['group', 'type', 'exception', 'fingerprint', 'status', 'limit', 'after'],
      async handle(request) {
        const filter = filterOf(request);
        const limit = filter.limit ?? pageDefault;
        const found = await deadLetters.list({ ...filter, limit: limit + 1 });
        const items = found.slice(0, limit);
        const last = items.at(-1);
        const next =
          found.length > limit && last ? `${last.failedAt}~${last.eventId}~${last.group}` : null;
        return { body: { items, next } };
      },
    },
    {
      method: 'GET',
      path: '/ops/dlq/fingerprints',
      handle: async ({ tenantId }) => ({
        body: { items: await deadLetters.fingerprints(tenantId) },
      }),
    },
    {
      method: 'GET',
      path: '/ops/dlq/stats',
      handle: async ({ tenantId }) => ({ body: { items: await deadLetters.counts(tenantId) } }),
    },
    {
      method: 'GET',
      path: one,
      handle: async (request) => ({ body: await deadLetters.show(refOf(request)) }),
    },
    verb('retry', (ref) => deadLetters.retry(ref)),
    verb('retry-key', (ref) => deadLetters.retryKey(ref)),
    verb('skip', (ref) => deadLetters.skip(ref)),
    verb('discard', (ref) => deadLetters.discard(ref)),
    verb('edit-and-retry', (ref, { body }) => {
      const { payload } = membersOf(body, ['payload']);
      if (payload === undefined) {
        throw requestInvalid('payload is missing.', 'Send { "payload": { … } }, the whole of it.');
      }
      return deadLetters.editAndRetry(ref, payload);
    }),
    {
      method: 'POST',
      path: '/ops/dlq/bulk',
      handle: async (request) => ({ body: await deadLetters.bulk(bulkOf(request)) }),
    },
  ];
}

/** A letter that was retried at once may have been handled, and be gone, before we look again. */
function ignoreGone(error: unknown): null {
  if (error instanceof MillraceError && error.code === 'NOT_FOUND') return null;
  throw error;
}

function refOf({ tenantId, params }: RouteRequest): DeadLetterRef {
  return { tenantId, group: params.group ?? '', eventId: uuidOf(params, 'eventId') };
}

function filterOf({ tenantId, query }: RouteRequest): DeadLetterFilter {
  const { group, type, exception, fingerprint } = query;
  const status = choiceOf(query.status, 'status', statuses);
  const limit = integerOf(query, 'limit', [1, 500]);
  const after = afterOf(query.after);
  return {
    tenantId,
    ...(group !== undefined && { group }),
    ...(type !== undefined && { eventType: type }),
    ...(exception !== undefined && { exceptionId: exception }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(status !== undefined && { status }),
    ...(limit !== undefined && { limit }),
    ...(after !== undefined && { after }),
  };
}

function afterOf(after: string | undefined): DeadLetterFilter['after'] {
  if (after === undefined) return undefined;
  const [failedAt = '', eventId, group] = after.split('~');
  if (!Number.isNaN(Date.parse(failedAt)) && isUuid(eventId) && group !== undefined) {
    return { failedAt, eventId, group };
  }
  throw requestInvalid(`'${after}' is not the 'next' of an earlier page.`);
}

function bulkOf({ tenantId, body, signal }: RouteRequest) {
  const members = membersOf(body, ['fingerprint', 'verb', 'dryRun', 'ratePerSecond', 'limit']);
  const dryRun = flagOf(members, 'dryRun');
  const ratePerSecond = numberOf(members, 'ratePerSecond', [1, 10_000]);
  const limit = numberOf(members, 'limit', [1, 100_000]);
  const verb = choiceOf(members.verb, 'verb', bulkVerbs);
  if (verb === undefined)
    throw requestInvalid(`verb is missing; it can be ${bulkVerbs.join(', ')}.`);
  return {
    tenantId,
    fingerprint: textOf(members, 'fingerprint'),
    verb,
    signal,
    ...(dryRun !== undefined && { dryRun }),
    ...(ratePerSecond !== undefined && { ratePerSecond }),
    ...(limit !== undefined && { limit }),
  };
}

/** The log as history: by key, type, time and correlation, one event, and its tree of causes. */
import { MillraceError } from '../core/errors.ts';
import type { Millrace } from '../millrace.ts';
import { structuredReply, wantsStructured } from './cloud-event-binding.ts';
import { booleanOf, integerOf, listOf, uuidOf } from './parameters.ts';
import type { Route, RouteRequest } from './route.ts';

const filters = ['key', 'type', 'correlation', 'from', 'to', 'limit', 'after', 'newestFirst'];

export function eventRoutes({ history, store }: Millrace): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/events',
      query: filters,
      async handle(request) {
        const { events, next } = await history.list(filterOf(request));
        return { body: { items: events, next } };
      },
    },
    {
      method: 'GET',
      path: '/api/events/:id',
      async handle({ tenantId, params, headers }) {
        const event = await history.find(tenantId, uuidOf(params, 'id'));
        if (event === null) throw unknownEvent(params.id, tenantId);
        if (!wantsStructured(headers)) return { body: event };
        return structuredReply(event, { source: 'millrace', logId: store.logId });
      },
    },
    {
      method: 'GET',
      path: '/api/events/:id/tree',
      async handle({ tenantId, params }) {
        const items = await history.causalTree(tenantId, uuidOf(params, 'id'));
        if (items.length === 0) throw unknownEvent(params.id, tenantId);
        return { body: { items } };
      },
    },
  ];
}

function filterOf({ tenantId, query }: RouteRequest) {
  const { key, correlation, from, to, after } = query;
  const eventTypes = listOf(query, 'type');
  const limit = integerOf(query, 'limit', [1, 1_000]);
  const newestFirst = booleanOf(query, 'newestFirst');
  return {
    tenantId,
    ...(key !== undefined && { key }),
    ...(eventTypes && { eventTypes }),
    ...(correlation !== undefined && { correlationId: correlation }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(limit !== undefined && { limit }),
    ...(after !== undefined && { after }),
    ...(newestFirst !== undefined && { newestFirst }),
  };
}

function unknownEvent(id: string | undefined, tenantId: string): MillraceError {
  return new MillraceError('NOT_FOUND', `Tenant ${tenantId} has no event ${id}.`);
}

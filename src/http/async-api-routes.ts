/** `GET /asyncapi.json`: the events of this process, for those who write consumers of them. */
import { asyncApiDocument } from '../brokers/async-api.ts';
import type { Millrace } from '../millrace.ts';
import type { Route } from './route.ts';

export function asyncApiRoutes(mill: Millrace): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/asyncapi.json',
      tenant: 'none',
      handle() {
        const settings = mill.broker?.settings;
        const body = asyncApiDocument({
          title: 'Millrace',
          definitions: mill.definitions,
          groups: mill.subscriptions,
          partitions: mill.store.partitions,
          ...(settings !== undefined && { topic: settings.topic, brokerGroup: settings.group }),
        });
        return { body };
      },
    },
  ];
}

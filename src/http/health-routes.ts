/**
 * How the process is doing. `live`: it answers at all, restart it when not. `ready`: send it work.
 * `/health` says everything; it is 503 only when down: a degraded process keeps its traffic.
 * `/metrics` is what Prometheus reads.
 */

import { MillraceError } from '../core/errors.ts';
import type { Millrace } from '../millrace.ts';
import type { Route } from './route.ts';

export function healthRoutes(mill: Millrace): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/health',
      tenant: 'none',
      async handle() {
        const health = await mill.health();
        return { status: health.status === 'down' ? 503 : 200, body: health };
      },
    },
    {
      method: 'GET',
      path: '/health/live',
      tenant: 'none',
      handle: () => ({ body: { status: 'ok' } }),
    },
    {
      method: 'GET',
      path: '/health/ready',
      tenant: 'none',
      async handle() {
        const { ready, problems } = await mill.health();
        return { status: ready ? 200 : 503, body: { ready, problems } };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      tenant: 'none',
      async handle() {
        if (mill.telemetry === null) {
          throw new MillraceError('NOT_FOUND', 'Telemetry is switched off here.', {
            fix: 'Start the server with TELEMETRY_ENABLED=true.',
          });
        }
        return { body: await mill.telemetry.prometheus(), textType: 'text/plain; version=0.0.4' };
      },
    },
  ];
}

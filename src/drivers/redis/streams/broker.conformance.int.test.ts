/** Redis Streams against the suite of the broker port, when a server is given. */
import { describe } from 'node:test';
import { describeBroker } from '../../../ports/broker.conformance.ts';
import { fixtureOf } from './test-streams.ts';

const url = process.env.REDIS_URL;

if (url) describeBroker(fixtureOf(url));
else describe('broker port on Redis Streams', { skip: 'REDIS_URL is not set' }, () => {});

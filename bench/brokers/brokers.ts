/**
 * `npm run bench -- brokers`: our drivers against the bare clients, and the exception pipeline over
 * Kafka. A server that is not there is said on stderr, and its figures are null.
 */
import { thousands } from '../statistics.ts';
import { type Contest, type ContestFigures, measure, type Settings } from './contest.ts';
import { openKafkaContest } from './kafka.ts';
import { measurePipeline } from './pipeline.ts';
import { measurePostgres } from './postgres.ts';
import { openRabbitContest } from './rabbitmq.ts';
import { openRedisContest } from './redis.ts';

export interface BrokersOptions extends Settings {
  /** Of `parts`; all of them when empty. */
  readonly only: readonly string[];
}

const parts = ['kafka', 'rabbitmq', 'redis', 'postgres', 'pipeline'] as const;
type Part = (typeof parts)[number];

interface Contender {
  readonly part: Part;
  /** How its figures begin. */
  readonly prefix: string;
  readonly variable: string;
  readonly service: string;
  readonly open: (url: string) => Promise<Contest>;
}

const contenders: readonly Contender[] = [
  {
    part: 'kafka',
    prefix: 'kafka',
    variable: 'KAFKA_URL',
    service: 'kafka',
    open: openKafkaContest,
  },
  {
    part: 'rabbitmq',
    prefix: 'rabbit',
    variable: 'AMQP_URL',
    service: 'rabbitmq',
    open: openRabbitContest,
  },
  {
    part: 'redis',
    prefix: 'redis',
    variable: 'REDIS_URL',
    service: 'redis',
    open: openRedisContest,
  },
];

type Figures = Record<string, number | null | object>;

export async function benchBrokers(options: BrokersOptions): Promise<Figures> {
  const { only, seconds, log } = options;
  const unknown = only.filter((name) => !parts.includes(name as Part));
  if (unknown.length > 0) {
    throw new Error(`--only takes ${parts.join(', ')}; not ${unknown.join(', ')}`);
  }
  const isWanted = (part: Part) => only.length === 0 || only.includes(part);
  const figures: Figures = {};
  for (const { part, prefix, variable, service, open } of contenders) {
    const url = isWanted(part) ? urlOf(variable, service) : null;
    const found = url === null ? null : await measureOne(await open(url), options);
    Object.assign(figures, prefixed(prefix, found));
  }
  if (isWanted('postgres')) {
    log('postgres: measuring');
    const found = await measurePostgres(seconds);
    figures.postgresPublishPerSecond = found.publishPerSecond;
    figures.postgresConsumePerSecond = found.consumePerSecond;
    figures.postgresLatencyMsP50 = found.latencyMsP50;
  }
  const url = isWanted('pipeline') ? urlOf('KAFKA_URL', 'kafka') : null;
  const pipeline = url === null ? null : await measurePipeline(url, options);
  figures.kafkaPipelineEventsPerMinute = pipeline?.eventsPerMinute ?? null;
  if (pipeline !== null) {
    figures.kafkaPipelineNodeCpuSecondsPerMillion = pipeline.nodeCpuSecondsPerMillion;
    figures.kafkaPipelineCpuSecondsPerMillion = pipeline.cpuSecondsPerMillion;
    figures.kafkaPipelineVerified = pipeline.verified;
    log(`pipeline: ${thousands(pipeline.eventsPerMinute)} events/min over Kafka`);
  }
  return figures;
}

async function measureOne(contest: Contest, settings: Settings): Promise<ContestFigures> {
  try {
    return await measure(contest, settings);
  } finally {
    await contest.close();
  }
}

function urlOf(variable: string, service: string): string | null {
  const url = process.env[variable];
  if (url !== undefined && url !== '') return url;
  console.error(
    `${variable} is not set, so ${service} is not measured: ` +
      `eval "$(scripts/services.sh up ${service})" starts one.`,
  );
  return null;
}

/** `publishRatio` of Kafka is `kafkaPublishRatio`; all null where there was nothing to measure. */
function prefixed(prefix: string, found: ContestFigures | null): Figures {
  const names: readonly (keyof ContestFigures)[] = [
    'publishRatio',
    'consumeRatio',
    'publishPerSecond',
    'barePublishPerSecond',
    'consumePerSecond',
    'bareConsumePerSecond',
    'latencyMsP50',
  ];
  const entries = names.map((name) => {
    const capital = name.charAt(0).toUpperCase() + name.slice(1);
    return [prefix + capital, found?.[name] ?? null] as const;
  });
  return Object.fromEntries(entries);
}

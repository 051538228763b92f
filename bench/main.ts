/**
 * `npm run bench -- append|pipeline [--seconds N] [--partitions N] [--json]`,
 * `npm run bench -- jobs [--jobs N] [--rounds N] [--only a,b] [--quick] [--seed N] [--json]`,
 * `npm run bench -- workflows [--rounds N] [--only a,b] [--quick] [--json]`,
 * `npm run bench -- brokers [--seconds N] [--rounds N] [--only kafka,redis] [--json]`:
 * measures on an embedded Postgres of its own (brokers: beside the servers of KAFKA_URL, AMQP_URL
 * and REDIS_URL), prints a table for people and, last, one JSON object for scripts.
 */
import { parseArgs } from 'node:util';
import { benchAppend } from './append.ts';
import { benchBrokers } from './brokers/brokers.ts';
import { benchJobs } from './jobs/jobs.ts';
import { jobsTable } from './jobs/table.ts';
import { benchPipeline } from './pipeline.ts';
import { benchWorkflows } from './workflows/workflows.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    partitions: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
    jobs: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    seed: { type: 'string' },
  },
});

const number = (text: string | undefined, otherwise: number) => {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new Error(`'${text}' is not a positive number`);
  return value;
};

const partitions = number(values.partitions, 4);
const log = values.json ? () => {} : (line: string) => console.log(line);

async function jobs(): Promise<object> {
  const figures = await benchJobs({
    jobs: number(values.jobs, 200_000),
    rounds: number(values.rounds, 3),
    only: only(),
    quick: values.quick,
    seed: number(values.seed, Math.floor(Math.random() * 2 ** 31)),
    log: (line) => console.log(line), // it takes minutes: progress, and the figures last
  });
  console.log(jobsTable(figures));
  return figures;
}

const only = () => values.only.split(',').filter((name) => name !== '');

function workflows(): Promise<object> {
  const log = (line: string) => console.log(line); // as above
  return benchWorkflows({
    rounds: number(values.rounds, 3),
    quick: values.quick,
    only: only(),
    log,
  });
}

function brokers(): Promise<object> {
  return benchBrokers({
    seconds: number(values.seconds, 5),
    rounds: number(values.rounds, 5),
    only: only(),
    log,
  });
}

const benches: Readonly<Record<string, () => Promise<object>>> = {
  jobs,
  workflows,
  brokers,
  append: () => benchAppend({ seconds: number(values.seconds, 20), partitions }),
  pipeline: () => benchPipeline({ seconds: number(values.seconds, 60), partitions, log }),
};

const bench = benches[positionals[0] ?? ''];
if (bench === undefined) {
  console.error(`Say what to measure: npm run bench -- ${Object.keys(benches).join('|')}`);
  process.exit(2);
}
const figures = await bench();
if (!values.json) {
  const width = Math.max(...Object.keys(figures).map((name) => name.length));
  for (const [name, value] of Object.entries(figures)) {
    if (name === 'products' && 'redisRatioToBullMQ' in figures) continue; // the table showed them
    const shown = typeof value === 'number' ? value.toLocaleString('en-US') : JSON.stringify(value);
    console.log(`  ${name.padEnd(width)}  ${shown}`);
  }
}
console.log(JSON.stringify(figures));

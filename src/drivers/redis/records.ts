/**
 * Jobs as text. A record is name, version, options and payload with \u001f between them; a chunk is
 * up to 64 records with \u001e between them. JSON holds neither character, so nothing is escaped.
 */
import { MillraceError } from '../../core/errors.ts';
import type { NewJob } from '../../ports/jobs.ts';

const fieldEnd = '\u001f';
const recordEnd = '\u001e';

/** The scripts search a chunk for its first offset one by one, so it is small. */
const chunkJobsMax = 64;
/** Larger ones are copied too often when they are claimed bit by bit. */
const chunkTextMax = 32_768;

export interface JobRecord {
  readonly name: string;
  readonly version: number;
  readonly optionsJson: string | null;
  readonly payloadJson: string;
}

export function recordOf({ name, version, optionsJson, payloadJson }: JobRecord): string {
  const head = `${name}${fieldEnd}${version}${fieldEnd}${optionsJson ?? ''}${fieldEnd}`;
  const text = head + payloadJson;
  // A search of 200 bytes takes 15 ns; a record that ends too early would shift all after it.
  if (text.includes(recordEnd)) throw notJson();
  return text;
}

/** Size and text of each chunk, as the exchange script takes them. */
export function chunksOf(jobs: readonly NewJob[]): (string | number)[] {
  const chunks: (string | number)[] = [];
  let text = '';
  let count = 0;
  for (const job of jobs) {
    const record = recordOf(job);
    if (count === chunkJobsMax || (count > 0 && text.length + record.length > chunkTextMax)) {
      chunks.push(count, text);
      count = 0;
    }
    text = count === 0 ? record : text + recordEnd + record;
    count += 1;
  }
  if (count > 0) chunks.push(count, text);
  return chunks;
}

export function splitRecords(text: string): string[] {
  return text.split(recordEnd);
}

export function parseRecord(text: string): JobRecord {
  const name = text.indexOf(fieldEnd);
  const version = text.indexOf(fieldEnd, name + 1);
  const options = text.indexOf(fieldEnd, version + 1);
  return {
    name: text.slice(0, name),
    version: Number(text.slice(name + 1, version)),
    optionsJson: options === version + 1 ? null : text.slice(version + 1, options),
    payloadJson: text.slice(options + 1),
  };
}

function notJson(): MillraceError {
  return new MillraceError(
    'REQUEST_INVALID',
    'A job holds the character U+001E, which neither a name nor JSON can.',
    { fix: 'Enqueue through Jobs, which prints payloads itself.' },
  );
}

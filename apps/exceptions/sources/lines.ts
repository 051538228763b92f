/**
 * Input as chunks of bytes and as lines, in bounded memory: a line beyond the limit is dropped
 * while it is read and stands in the result as null. UTF-8, or UTF-16 with a byte order mark; bytes
 * that are neither become U+FFFD.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { TextDecoder } from 'node:util';
import { MillraceError } from 'millrace';

export type SourceInput = string | AsyncIterable<Uint8Array | string>;

export interface OpenInput {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** The file's name without its folder. */
  readonly file: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly modifiedMs: number | undefined;
}

/** A path, or chunks that the caller reads from elsewhere. @throws MillraceError SOURCE_INVALID */
export async function openInput(input: SourceInput): Promise<OpenInput> {
  if (typeof input !== 'string') {
    return { chunks: toBytes(input), file: undefined, sizeBytes: undefined, modifiedMs: undefined };
  }
  const found = await stat(input).catch((cause: unknown) => {
    throw new MillraceError('SOURCE_INVALID', `${input} cannot be read`, {
      cause,
      fix: 'Check the path and the rights of the file.',
    });
  });
  if (found.isDirectory()) {
    throw new MillraceError('SOURCE_INVALID', `${input} is a directory`, {
      fix: 'Name the files in it.',
    });
  }
  return {
    // 256 KiB: four times fewer turns of the event loop than the default.
    chunks: createReadStream(input, { highWaterMark: 262_144 }),
    file: basename(input),
    sizeBytes: found.isFile() ? found.size : undefined,
    modifiedMs: found.isFile() ? found.mtimeMs : undefined,
  };
}

async function* toBytes(input: AsyncIterable<Uint8Array | string>): AsyncIterable<Uint8Array> {
  for await (const chunk of input) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

/** Counts what passes, for a progress bar. */
export async function* countBytes(
  chunks: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

/** The first bytes of a stream, and the stream with them in front again. */
export async function peek(
  chunks: AsyncIterable<Uint8Array>,
  bytesWanted: number,
): Promise<{ readonly head: Uint8Array; readonly chunks: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < bytesWanted) {
    const next = await iterator.next();
    if (next.done) break;
    first.push(next.value);
    bytes += next.value.length;
  }
  async function* again(): AsyncIterable<Uint8Array> {
    try {
      yield* first;
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(first).subarray(0, bytesWanted), chunks: again() };
}

/** A decoder by byte order mark. */
export function decoderFor(head: Uint8Array): TextDecoder {
  if (head[0] === 0xff && head[1] === 0xfe) return new TextDecoder('utf-16le');
  if (head[0] === 0xfe && head[1] === 0xff) return new TextDecoder('utf-16be');
  return new TextDecoder('utf-8');
}

/** Lines without their ends, some thousands at a time; null for one beyond `lineMax` characters. */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  decoder: TextDecoder,
  lineMax: number,
): AsyncIterable<readonly (string | null)[]> {
  let rest = '';
  let tooLong = false;
  for await (const chunk of chunks) {
    const lines: (string | null)[] = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() as string;
    if (tooLong && lines.length > 0) {
      lines[0] = null;
      tooLong = false;
    }
    if (rest.length > lineMax) tooLong = true;
    if (tooLong) rest = '';
    trimLines(lines, lineMax);
    if (lines.length > 0) yield lines;
  }
  rest += decoder.decode();
  if (tooLong) yield [null];
  else if (rest !== '') {
    const last: (string | null)[] = [rest];
    trimLines(last, lineMax);
    yield last;
  }
}

const carriageReturn = 13;

function trimLines(lines: (string | null)[], lineMax: number): void {
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i];
    if (line === null || line === undefined || line === '') continue;
    if (line.length > lineMax) lines[i] = null;
    else if (line.charCodeAt(line.length - 1) === carriageReturn) lines[i] = line.slice(0, -1);
  }
}

/**
 * What a command may touch of the process around it: two streams, the environment, and the wish to
 * stop. Tests give their own; main.ts gives the real ones.
 */
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

export interface Output {
  write(text: string): void;
  readonly isTTY: boolean;
  /** Columns of the terminal; 100 where there is none. */
  readonly columns: number;
}

export interface Io {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C or SIGTERM: finish what is under way and end. */
  readonly signal: AbortSignal;
}

/** Under `npm start` one Ctrl-C arrives twice: from the terminal, and passed on by npm. */
const sameSignalMs = 1_000;

/** The process' own. The first signal asks to stop, another one later ends at once. */
export function processIo(): Io {
  const stop = new AbortController();
  let stoppedAt = 0;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (!stop.signal.aborted) stoppedAt = performance.now();
      else if (performance.now() - stoppedAt > sameSignalMs) process.exit(130);
      stop.abort();
    });
  }
  // `millrace events list | head` closes the pipe: there is nobody left to tell.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    stdin: process.stdin,
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    env: process.env,
    signal: stop.signal,
  };
}

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    get isTTY() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 100;
    },
  };
}

/** One line of text. */
export function line(output: Output, text = ''): void {
  output.write(`${text}\n`);
}

/** The one JSON document that a command prints with --json. */
export function printJson({ stdout }: Io, value: unknown): void {
  line(stdout, JSON.stringify(value, null, 2));
}

/** What an option of JSON was given: the text itself, `@file`, or `-` for standard input. */
export async function inputText(given: string, stdin: AsyncIterable<unknown>): Promise<string> {
  if (given.startsWith('@')) return readFile(given.slice(1), 'utf8');
  if (given !== '-') return given;
  let text = '';
  for await (const chunk of stdin) text += String(chunk);
  return text;
}

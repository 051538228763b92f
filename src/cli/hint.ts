/** The command to type next, as this user would type it: by npm in a checkout, same place. */
import { colors as pc } from './colors.ts';
import type { Io } from './io.ts';

export interface HintPlace {
  readonly url?: string | undefined;
  readonly data?: string | undefined;
  readonly config?: string | undefined;
  readonly env?: string | undefined;
}

export const dataDefault = '.millrace';

/** `npm run millrace -- health --data other`, or `millrace health` where it is installed. */
export function commandText({ env }: Io, command: string, place: HintPlace = {}): string {
  const lead = env.npm_lifecycle_event === undefined ? 'millrace' : 'npm run millrace --';
  const { url, data = dataDefault, config, env: environment } = place;
  const files = config === undefined ? '' : ` --config ${quote(config)}`;
  const over = environment === undefined ? '' : ` --env ${quote(environment)}`;
  // A URL may hold a password, so it is not repeated on the screen.
  const where =
    url !== undefined && env.MILLRACE_URL !== url
      ? ' --url <url>'
      : data === dataDefault || env.MILLRACE_DATA === data
        ? ''
        : ` --data ${quote(data)}`;
  return `${lead} ${command}${files}${over}${where}`;
}

export function hint(io: Io, command: string, place: HintPlace = {}): string {
  return `  ${pc.dim('next')}  ${pc.cyan(commandText(io, command, place))}`;
}

/** For a shell, where it is needed. */
export function quote(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

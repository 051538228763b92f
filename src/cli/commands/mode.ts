/** `millrace mode [MODE]`: shows or changes which wakers feed the running server's loops. */
import type { Command } from 'commander';
import { deploymentModes } from '../../runtime/heads.ts';
import { usage } from '../failure.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, placeOf, withPlace } from '../options.ts';
import { openApi } from '../platform.ts';

interface ModeFlags extends PlaceFlags {
  readonly json?: boolean;
}

export function addMode(program: Command, cli: Cli): void {
  withPlace(program.command('mode'))
    .description('show or change the deployment mode of the running server')
    .argument('[mode]', deploymentModes.join(', '))
    .action((mode: string | undefined, flags: ModeFlags) => changeMode(mode, flags, cli));
}

async function changeMode(mode: string | undefined, flags: ModeFlags, { io }: Cli): Promise<void> {
  if (mode !== undefined && !deploymentModes.includes(mode as never)) {
    throw usage(`The mode '${mode}' is not known; it can be ${deploymentModes.join(', ')}.`);
  }
  const api = await openApi(placeOf(flags));
  try {
    if (mode !== undefined && api.url === null) {
      throw usage(
        'No server runs here, and a mode belongs to a running process.',
        'Start one with `npm start`, then change its mode from another terminal.',
      );
    }
    const answer =
      mode === undefined
        ? await api.get<{ mode: string }>('/ops/mode')
        : await api.post<{ mode: string }>('/ops/mode', { body: { mode } });
    if (flags.json) printJson(io, answer);
    else line(io.stdout, answer.mode);
  } finally {
    await api.close();
  }
}

/** The API for the time of one command, closed whatever happens. */
import { type DefinitionFlags, loadDefinitions } from './definitions.ts';
import { type PlaceFlags, placeOf } from './options.ts';
import { type Api, openApi } from './platform.ts';

export async function withApi<T>(
  flags: PlaceFlags & DefinitionFlags,
  work: (api: Api) => Promise<T>,
): Promise<T> {
  const workflows = (await loadDefinitions(flags)) ?? [];
  const api = await openApi(placeOf(flags), { workflows });
  try {
    return await work(api);
  } finally {
    await api.close();
  }
}

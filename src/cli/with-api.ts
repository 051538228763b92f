/** The API for the time of one command, closed whatever happens. */
import { type PlaceFlags, placeOf } from './options.ts';
import { type Api, openApi } from './platform.ts';

export async function withApi<T>(flags: PlaceFlags, work: (api: Api) => Promise<T>): Promise<T> {
  const api = await openApi(placeOf(flags));
  try {
    return await work(api);
  } finally {
    await api.close();
  }
}

/** The Lua scripts of topics; each touches the one slot of its topic. */
import { script } from '../scripts.ts';
import { lua } from './lua.ts';

const group = lua.topic + lua.group;

export const scripts = {
  create: script(lua.topic, lua.create),
  delete: script(lua.topic, lua.delete),
  publish: script(lua.topic, lua.publish),
  trim: script(lua.topic, lua.trim),
  lag: script(lua.topic, lua.lag),
  count: script(lua.topic, lua.count),
  join: script(group, lua.join),
  beat: script(group, lua.beat),
  release: script(group, lua.release),
  leave: script(group, lua.leave),
  claim: script(group, lua.claim),
  acknowledge: script(group, lua.acknowledge),
  guard: script(lua.guard),
} as const;

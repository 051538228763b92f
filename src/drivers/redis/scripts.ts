/**
 * The Lua scripts, each put together from parts of lua/parts and its own file. A script is atomic
 * on its server and touches one slot: that of its only declared key, the base of a queue or
 * registry.
 */
import { createHash } from 'node:crypto';
import { lua } from './lua.ts';

export interface Script {
  /** By which the server knows it, once it has seen it. */
  readonly sha: string;
  readonly text: string;
}

const rows = lua.queue + lua.rows + lua.parents;
const jobs = rows + lua.lanes + lua.chunks + lua.plain;
const held = jobs + lua.limits + lua.held + lua.heldSingle;
const shown = jobs + lua.holders + lua.snapshots;
const hot = lua.queue + lua.lanes + lua.chunks + lua.held + lua.answers + lua.settle + lua.take;
const limits = `if q.limited then\n${lua.limits}end\n`;
const exceptional =
  lua.rows +
  lua.parents +
  lua.plain +
  lua.limits +
  lua.heldSingle +
  lua.settleSingle +
  lua.takeRows;

export const scripts = {
  exchange: script(hot, limits, later(exceptional), lua.exchange),
  enqueue: script(jobs, lua.answers, lua.enqueue),
  introduceLanes: script(lua.queue, lua.introduceLanes),
  enterQueue: script(lua.queue, lua.enterQueue),
  fence: script(held, lua.fence),
  change: script(held, lua.holders, lua.change),
  configure: script(lua.queue, lua.lanes, lua.holders, lua.configure),
  progress: script(jobs, lua.progress),
  prune: script(jobs, lua.holders, lua.prune),
  sweep: script(rows, lua.sweep),
  link: script(jobs, lua.link),
  deliver: script(rows, lua.deliver),
  find: script(shown, lua.find),
  list: script(shown, lua.list),
  counts: script(lua.queue, lua.counts),
  nameLanes: script(lua.registry, lua.nameLanes),
  register: script(lua.registry, lua.register),
  joinQueue: script(lua.registry, lua.joinQueue),
  beat: script(lua.registry, lua.beat),
  listWorkers: script(lua.registry, lua.listWorkers),
  declareDead: script(lua.registry, lua.declareDead),
  forgetWorker: script(lua.registry, lua.forgetWorker),
  saveSchedule: script(lua.saveSchedule),
  removeSchedule: script(lua.removeSchedule),
  dueSchedules: script(lua.dueSchedules),
  fireSchedule: script(lua.fireSchedule),
} as const satisfies Readonly<Record<string, Script>>;

/** Made only when one of their functions is called: making all takes 10 µs of each exchange. */
function later(parts: string): string {
  return (
    'setmetatable(m, { __index = function(_, name)\nsetmetatable(m, nil)\n' +
    `${parts}return m[name]\nend })\n`
  );
}

export function script(...parts: readonly string[]): Script {
  const text = parts.join('');
  return { sha: createHash('sha1').update(text).digest('hex'), text };
}

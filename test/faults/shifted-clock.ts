/** Loaded with --import: sets the wall clock of this process FAULT_CLOCK_MS ahead, or behind. */
const byMs = Number(process.env.FAULT_CLOCK_MS ?? 0);
const RightDate = globalThis.Date;

globalThis.Date = new Proxy(RightDate, {
  construct: (target, args: unknown[], self) =>
    Reflect.construct(target, args.length === 0 ? [target.now() + byMs] : args, self),
  apply: (target) => new target(target.now() + byMs).toString(),
  get: (target, name) => (name === 'now' ? () => target.now() + byMs : Reflect.get(target, name)),
});

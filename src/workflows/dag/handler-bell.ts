/** What tells the driver that a handler has ended. */
interface Bell {
  readonly rung: Promise<void>;
  isRung: boolean;
  ring(): void;
}

export function makeBell(): Bell {
  let ring: () => void = () => {};
  const rung = new Promise<void>((resolve) => {
    ring = resolve;
  });
  const bell: Bell = {
    rung,
    isRung: false,
    ring: () => {
      bell.isRung = true;
      ring();
    },
  };
  return bell;
}

/** True: it settled before the time was over. */
export function within(ms: number, settles: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    void settles.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

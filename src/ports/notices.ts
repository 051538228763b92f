/** Hints between processes, as every store with a channel gives them. */

/** Hints between processes: may be lost, doubled or late, and are never the truth. */
export interface NoticeChannel {
  /** Calls `onNotice` for each notice until closed. Reconnecting is the caller's business. */
  listen(handlers: NoticeHandlers): Promise<NoticeListener>;
  /** Sends a notice to every listener, this process included. */
  send(notice: string): Promise<void>;
}

export interface NoticeHandlers {
  onNotice(notice: string): void;
  onLost(cause: unknown): void;
}

export interface NoticeListener {
  close(): Promise<void>;
}

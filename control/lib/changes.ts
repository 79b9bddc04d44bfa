import type { Logger } from './logger.ts';

/**
 * Something an API call has changed or deleted, named so that memories of it (the directory, Kamailio's
 * tables, the key cache) are renewed.
 */
export interface Change {
  room: 'customers' | 'applications' | 'dids' | 'trunks' | 'rates';
  id: string;
}

/**
 * Called after each committed write and awaited before the reply, so that a change is in force when the
 * client hears of it. It must not throw: the write has happened, whatever becomes of the news.
 */
export type OnChange = (change: Change) => Promise<void>;

/**
 * Tells several listeners of a change, one after the other; one that fails is logged and keeps nobody else
 * from hearing it.
 */
export const tellAll =
  (listeners: readonly ((change: Change) => Promise<void> | void)[], logger: Logger): OnChange =>
  async (change) => {
    for (const listener of listeners) {
      try {
        await listener(change);
      } catch (err) {
        logger.warn({ err, change }, 'a change could not be passed on');
      }
    }
  };

/** Something an API call has changed, named so that memories of it (the directory, Kamailio's tables, the key cache) are renewed. */
export interface Change {
  room: 'customers' | 'applications' | 'dids' | 'trunks';
  id: string;
}

/**
 * Called after each committed write and awaited before the reply, so that a change is in force when the client hears of it.
 * It must not throw: the write has happened, whatever becomes of the news.
 */
export type OnChange = (change: Change) => Promise<void>;

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { recordingOfFile } from './recording.ts';
import type { RecordingStore } from './store.ts';

/** A file of a recording that failed may still be wanted by the operator. */
const KEPT_MS = 7 * 24 * 3600 * 1000;
const BATCH = 500;

/**
 * Removes from the media files what finished recordings have left there: a process that died between storing
 * one and removing its file, a copy that was not finished. Returns how many files went.
 */
export async function sweepMediaFiles({
  folder,
  store,
  now,
}: {
  folder: string;
  store: RecordingStore;
  now: () => Date;
}): Promise<number> {
  const names = await readdir(folder);
  let swept = 0;
  for (let at = 0; at < names.length; at += BATCH) {
    const files = names.slice(at, at + BATCH).flatMap((name) => {
      const id = recordingOfFile(name.replace(/\.part$/, ''));
      return id === undefined ? [] : [{ path: join(folder, name), id }];
    });
    const states = await store.states(files.map(({ id }) => id));
    for (const { path, id } of files) {
      const state = states.get(id);
      const since =
        state?.updatedAt.getTime() ?? (await stat(path).catch(() => undefined))?.mtimeMs ?? now().getTime();
      const useless =
        state?.status === 'completed' ||
        state?.deleted === true ||
        (state?.status !== 'started' && now().getTime() - since > KEPT_MS);
      if (!useless) continue;
      await rm(path, { force: true });
      swept++;
    }
  }
  return swept;
}

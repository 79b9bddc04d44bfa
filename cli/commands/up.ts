import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../failure.ts';
import { defaultHome, makeFolders } from '../home.ts';
import { Instance } from '../instance.ts';
import { parseBase } from '../ports.ts';
import { databaseFrom, mediaFrom, settingsFor } from '../settings.ts';
import { setUp } from '../setup/index.ts';
import { step } from '../steps.ts';
import type { Status } from '../supervisor/protocol.ts';

/** Starts the default instance, showing each part's step, unless it runs. Ctrl-C meanwhile stops it again. */
export async function up(): Promise<Status> {
  const base = parseBase(process.env['MINIVOICE_PORT_BASE']);
  const media = await mediaFrom(process.env);
  const database = databaseFrom(process.env);
  const home = defaultHome();
  // Before anything is downloaded.
  await makeFolders(home);
  const tools = await setUp({ mysql: database === 'mysql' });
  const settings = await settingsFor(home, tools, { base, media, database });
  const instance = new Instance(home);
  const started = await instance.launch(settings);
  if (!started) {
    const running = (await instance.status())?.coordinates;
    const sip = `127.0.0.1:${settings.ports.sip}`;
    if (running && (running.sip !== sip || running.media.kind !== media.kind)) {
      throw new Failure(
        `It runs already, with SIP on ${running.sip} and ${running.media.kind} media: say ./minivoice down first, or use another MINIVOICE_HOME.`,
      );
    }
    return instance.whenReady();
  }
  const interrupted = (): void => void instance.down().then(() => process.exit(130));
  process.once('SIGINT', interrupted);
  await showParts(instance);
  const status = await instance.whenReady();
  process.off('SIGINT', interrupted);
  return status;
}

/** One step per part, from when it is begun until it answers. */
async function showParts(instance: Instance): Promise<void> {
  const parts = (await instance.status())?.components ?? [];
  for (const part of parts) {
    await step(part.title, async () => {
      for (;;) {
        const status = await instance.status();
        const now = status?.components.find((component) => component.name === part.name);
        if (!status || !now) throw new Failure('The supervisor ended before everything was up.');
        instance.throwIfFailed(status);
        if (now.healthy) return `${now.title} ${now.version}`.trim();
        await sleep(50);
      }
    });
  }
}

export async function upCommand(): Promise<number> {
  const { coordinates } = await up();
  console.log(
    `\nMiniVoice is up: the API at ${coordinates.api}, SIP at ${coordinates.sip}. ./minivoice status tells more, ./minivoice down stops it.`,
  );
  return 0;
}

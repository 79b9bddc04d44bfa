import type { ChannelCommands } from './channel-commands.ts';
import { isLost } from './channel-commands.ts';
import { MediaError } from './media.ts';

/**
 * How long a key sounds, and from its begin to the next one's, in ms: with `rtp-digit-delay` of the nodes'
 * configuration.
 */
const KEY_MS = 120;
const STEP_MS = 180;
/** Keys that a node is told to send in one go: what is under way cannot be taken back. */
const AT_ONCE = 8;

/**
 * Keys sent to the far end. The node sends them by itself, one after the other; the pauses between them are
 * ours.
 */
export class SentKeys {
  readonly #commands: ChannelCommands;
  /** Stops what is being sent: one abort for everything since the last. */
  #stopping = new AbortController();
  #sending: Promise<void> = Promise.resolve();

  constructor(commands: ChannelCommands) {
    this.#commands = commands;
  }

  /** @throws MediaError when there is something else among them than keys and pauses. */
  async send(digits: string): Promise<void> {
    if (!/^[0-9*#A-DwW,]+$/.test(digits)) throw new MediaError(`not keys: ${digits}`);
    this.#commands.check();
    const { signal } = this.#stopping;
    const sending = this.#sending.then(() => this.#send(digits, signal));
    this.#sending = sending.catch(() => undefined);
    await sending;
  }

  /** Ends it after the keys that are under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopping = new AbortController();
    await this.#sending;
  }

  async #send(digits: string, signal: AbortSignal): Promise<void> {
    for (const [part] of digits.matchAll(new RegExp(`[wW,]|[^wW,]{1,${AT_ONCE}}`, 'g'))) {
      if (signal.aborted) return;
      this.#commands.check();
      if (part === 'W') await this.#pass(1000, signal);
      else if (part === 'w' || part === ',') await this.#pass(500, signal);
      else {
        await this.#keys(part);
        await this.#pass(part.length * STEP_MS);
      }
    }
    this.#commands.check();
  }

  async #keys(keys: string): Promise<void> {
    try {
      await this.#commands.run((connection) =>
        connection.api(`uuid_send_dtmf ${this.#commands.uuid} ${keys}@${KEY_MS}`),
      );
    } catch (error) {
      // The node may have sent them already: a key too few is more easily made up for than one too many.
      if (!isLost(error)) throw error;
    }
  }

  /** Ends early when the channel does. */
  async #pass(ms: number, signal?: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let wake: () => void = () => undefined;
    try {
      await Promise.race([
        this.#commands.ended,
        new Promise<void>((resolve) => {
          wake = resolve;
          timer = setTimeout(resolve, ms);
          signal?.addEventListener('abort', wake, { once: true });
        }),
      ]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', wake);
    }
  }
}

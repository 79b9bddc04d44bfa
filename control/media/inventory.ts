import type { FreeSwitchChannel } from './channel.ts';
import { ownHeaders, type ChannelHeaders } from './channel-state.ts';
import { doingNow, type Doing } from './doing.ts';
import type { EslConnection } from './esl/connection.ts';
import type { EslEvent } from './esl/events.ts';
import { channelExists, dumpChannel, listChannels } from './node-commands.ts';

/** Channels asked about at once. */
const DUMPS = 16;

export interface InventoryOptions {
  /** What is known, by uuid. */
  channels: ReadonlyMap<string, FreeSwitchChannel>;
  /** The node may not have made this channel yet. */
  isExpected: (uuid: string) => boolean;
  /** The node has a channel that nobody knew. */
  found: (headers: ChannelHeaders, doing: Doing | undefined) => void;
  /** The node has no such channel any more, and has not told of its end. */
  vanished: (uuid: string) => void;
  /** How long the end of a channel may be on its way, in ms. */
  settleMs: number;
}

/**
 * Asks a node which channels it has, and compares. Events go on meanwhile: what they tell is later than what
 * was asked.
 */
export class Inventory {
  readonly #options: InventoryOptions;
  /** Channels that ended while the node was being asked which it has: the answer may still name them. */
  #ended: Set<string> | undefined;
  /** What was told meanwhile of channels and legs that nobody knew yet. */
  #told: EslEvent[] = [];

  constructor(options: InventoryOptions) {
    this.#options = options;
  }

  /** An event of a channel or leg that nobody knows. */
  heard(event: EslEvent): void {
    if (this.#ended && /^CHANNEL_(PROGRESS|ANSWER|EXECUTE_COMPLETE)/.test(event.name)) this.#told.push(event);
  }

  /** The end of a channel was told. */
  sawEnd(uuid: string): void {
    this.#ended?.add(uuid);
  }

  hasSeenEnd(uuid: string): boolean {
    return this.#ended?.has(uuid) ?? false;
  }

  /** What has happened to a channel, or a leg, since the node has said this of it. */
  toldSince(said: ChannelHeaders): EslEvent[] {
    return this.#told.filter(
      ({ headers }) =>
        headers['Unique-ID'] === said['Unique-ID'] &&
        Number(headers['Event-Sequence']) > Number(said['Event-Sequence']),
    );
  }

  /** @param missed events were missed before, so that what a channel does now has to be learnt as well. */
  async compare(connection: EslConnection, missed = false): Promise<void> {
    const { channels, isExpected, found, vanished, settleMs } = this.#options;
    const ended = (this.#ended = new Set<string>());
    this.#told = [];
    const before = [...channels.keys()].filter((uuid) => !isExpected(uuid));
    try {
      const listed = new Set(await listChannels(connection));
      const unlisted = before.filter((uuid) => !listed.has(uuid));
      const asked = [...listed].filter((uuid) => missed || !channels.has(uuid)).concat(unlisted);
      const gone: string[] = [];
      for (let i = 0; i < asked.length; i += DUMPS) {
        await Promise.all(
          asked.slice(i, i + DUMPS).map(async (uuid) => {
            const headers = await dumpChannel(connection, uuid);
            const doing =
              headers && !channels.has(uuid) && ownHeaders(headers)
                ? await doingNow(connection, headers)
                : undefined;
            const channel = channels.get(uuid);
            if (headers && !channel && !ended.has(uuid)) found(headers, doing);
            if (headers && channel && missed) channel.refresh(headers, connection);
            if (!headers && channel && !(await channelExists(connection, uuid))) gone.push(uuid);
          }),
        );
      }
      if (gone.length > 0) {
        // Its end may be among the events on their way.
        await new Promise((resolve) => setTimeout(resolve, settleMs));
        for (const uuid of gone) vanished(uuid);
      }
    } finally {
      if (this.#ended === ended) {
        this.#ended = undefined;
        this.#told = [];
      }
    }
  }
}

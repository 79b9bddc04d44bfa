import type { Logger } from '../lib/logger.ts';
import { within, type Peer } from './channel-commands.ts';
import { ESL_TIMINGS } from './esl/client.ts';
import {
  MediaError,
  NodeSilent,
  type Dialing,
  type Media,
  type MediaNodeStatus,
  type OriginateRequest,
  type ParkedChannel,
} from './media.ts';
import { MediaNode, type NodeAddress, type NodeTimings } from './node.ts';
import { members, roomName } from './room-commands.ts';

export interface FreeSwitchMediaOptions {
  nodes: readonly NodeAddress[];
  /** Of the event socket of every node. */
  password: string;
  /** Where the nodes send second legs: `host:port` of a Kamailio. */
  kamailio: string;
  /** This control process, as `X-MV-Owner` names it. */
  owner?: string;
  logger: Logger;
  timings?: Partial<NodeTimings>;
}

/** How long a node may take to say who is in a room, in ms. */
const ROOM_MS = 1000;

const TIMINGS: NodeTimings = {
  ...ESL_TIMINGS,
  graceMs: 5000,
  sweepMs: 30_000,
  settleMs: 500,
  unansweredMs: 10_000,
};

/** The media nodes, each driven over one inbound event socket connection. */
export class FreeSwitchMedia implements Media {
  readonly reconciled: Promise<void>;
  readonly #nodes: MediaNode[];
  #onParked: (parked: ParkedChannel) => void = () => undefined;

  constructor({ nodes, password, kamailio, owner, logger, timings }: FreeSwitchMediaOptions) {
    this.#nodes = nodes.map(
      (address) =>
        new MediaNode({
          address,
          password,
          kamailio,
          owner,
          timings: { ...TIMINGS, ...timings },
          logger: logger.child({ node: address.name }),
          onParked: (parked) => this.#onParked(parked),
          peer: (name) => this.#nodes.find((node) => node.name === name),
        }),
    );
    this.reconciled = Promise.all(this.#nodes.map((node) => node.asked)).then(() => undefined);
  }

  start(onParked: (parked: ParkedChannel) => void): void {
    this.#onParked = onParked;
    for (const node of this.#nodes) node.start();
  }

  /** Leaves the nodes, and their calls as they are. */
  stop(): Promise<void> {
    for (const node of this.#nodes) node.stop();
    return Promise.resolve();
  }

  async originate(request: OriginateRequest): Promise<Dialing> {
    const nodes = this.#nodes
      .map((node) => ({ node, ...node.status() }))
      .filter(({ connected }) => connected)
      .sort((a, b) => a.channels - b.channels);
    let refusal: MediaError | undefined;
    for (const { node } of nodes) {
      try {
        return await node.originate(request);
      } catch (error) {
        if (!(error instanceof MediaError) || error instanceof NodeSilent) throw error;
        refusal = error;
      }
    }
    throw refusal ?? new MediaError('no media node is connected');
  }

  nodes(): MediaNodeStatus[] {
    return this.#nodes.map((node) => node.status());
  }

  /** Asks the nodes that are connected, and waits a second for each at most. */
  async roomAt(room: string): Promise<string | undefined> {
    const connected = this.#nodes.filter((node) => node.status().connected);
    const has = await Promise.all(
      connected.map((node) => within(ROOM_MS, hasRoom(node, room), 'no answer').catch(() => false)),
    );
    return connected[has.indexOf(true)]?.name;
  }

  mayHave(uuid: string): boolean {
    return this.#nodes.some((node) => node.mayHave(uuid));
  }

  /** For gauges: what grows with the traffic and must come back to nothing. */
  counters(): { channels: number; pendingCommands: number } {
    return {
      channels: this.#nodes.reduce((sum, node) => sum + node.status().channels, 0),
      pendingCommands: this.#nodes.reduce((sum, node) => sum + node.pendingCommands, 0),
    };
  }
}

const hasRoom = async (node: Peer, room: string): Promise<boolean> =>
  (await members(await node.ready(), roomName(room))).length > 0;

/**
 * What a media node can do for a call: the only way `flow/` and `calls/` reach a caller.
 * FreeSWITCH is behind it (`freeswitch.ts`); unit tests put a fake there.
 */

/** DTMF keys as RFC 4733 names them. */
export type Digit = '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9' | '*' | '#' | 'A' | 'B' | 'C' | 'D';

/** FreeSWITCH hangup causes we use ourselves (ITU-T Q.850 names). A node may report others. */
export type HangupCause = 'NORMAL_CLEARING' | 'USER_BUSY' | 'CALL_REJECTED' | 'NO_ANSWER' | 'UNALLOCATED_NUMBER' | 'NORMAL_TEMPORARY_FAILURE' | 'ORIGINATOR_CANCEL';

/** How a channel ended. */
export interface ChannelEnd {
  /** `caller`: the far end sent BYE or CANCEL. `platform`: we did. `node`: the media node died or lost the channel. */
  by: 'caller' | 'platform' | 'node';
  /** FreeSWITCH hangup cause; `MEDIA_NODE_LOST` when the node died. */
  cause: string;
  /** The final SIP code of the leg where there was one. */
  sipCode?: number;
  at: Date;
}

/** The channel is gone: nothing more can be done on it. The flow stops quietly on this. */
export class ChannelGone extends Error {
  constructor(uuid: string) {
    super(`channel ${uuid} is gone`);
    this.name = 'ChannelGone';
  }
}

/** The node refused a command, with its own words in the message. */
export class MediaError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MediaError';
  }
}

/** One leg on a media node. Every method throws ChannelGone once the channel has ended, and MediaError when the node refuses. */
export interface Channel {
  /** The node's own id of the channel: the call's `provider_call_id`. */
  readonly uuid: string;
  /** Name of the media node, `host:sip-port`. */
  readonly node: string;
  readonly answered: boolean;
  /** Settles when the channel has ended; never rejects. */
  readonly ended: Promise<ChannelEnd>;

  /** 200 OK to the caller; resolves once the node says the channel is answered. */
  answer(): Promise<void>;
  /** Plays a file (absolute path of a WAV) or `silence_stream://ms`; resolves when it ended or was stopped. */
  play(source: string): Promise<'finished' | 'stopped'>;
  /** Stops what is playing, if anything is. */
  stopPlaying(): Promise<void>;
  /** Refuses an unanswered channel with this SIP code. */
  refuse(sipCode: number): Promise<void>;
  /** Ends the channel. */
  hangup(cause: HangupCause): Promise<void>;
  /** Calls the listener for every key the caller presses; returns the way to stop listening. */
  onDigit(listener: (digit: Digit) => void): () => void;
}

/** A channel that a node has parked and that waits for instructions. */
export interface ParkedChannel {
  channel: Channel;
  /** The `X-MV-*` headers of the INVITE, names in lower case without the prefix: `call-id`, `from`, `to`, … */
  headers: Readonly<Record<string, string>>;
  /** SIP dialog of the leg, as Kamailio knows it too. */
  dialog: { callId: string; fromTag: string; toTag: string };
  /**
   * Set when the channel was found on the node instead of announced by it (this process has restarted, or its
   * connection has): what was playing then, and a promise for its end.
   */
  adopted?: { playing?: { source: string; finished: Promise<'finished' | 'stopped'> } };
}

export interface MediaNodeStatus {
  name: string;
  connected: boolean;
  version?: string;
  channels: number;
}

/** All media nodes together. */
export interface Media {
  /** Connects to every node and keeps connected. `onParked` gets every call that needs instructions, adopted ones included. */
  start(onParked: (parked: ParkedChannel) => void): void;
  stop(): Promise<void>;
  nodes(): MediaNodeStatus[];
  /**
   * Resolves when every node that can be reached has been asked which channels it has, so that a call this process
   * knows from the database and that no node has is known to be over.
   */
  readonly reconciled: Promise<void>;
  /** Whether any node still has, or may have, this channel (a node out of reach "may have" it until it is given up). */
  mayHave(uuid: string): boolean;
}

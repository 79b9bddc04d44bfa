/**
 * What a media node can do for a call: the only way `flow/` and `calls/` reach a caller. FreeSWITCH is behind
 * it (`freeswitch.ts`); unit tests put a fake there.
 */

import type { CallHeaders } from '../lib/call-headers.ts';
import type { FarEnd } from '../lib/far-end.ts';

/** DTMF keys as RFC 4733 names them. */
export type Digit =
  '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9' | '*' | '#' | 'A' | 'B' | 'C' | 'D';

/** FreeSWITCH hangup causes we use ourselves (ITU-T Q.850 names). A node may report others. */
export type HangupCause =
  | 'NORMAL_CLEARING'
  | 'USER_BUSY'
  | 'CALL_REJECTED'
  | 'NO_ANSWER'
  | 'UNALLOCATED_NUMBER'
  | 'NORMAL_TEMPORARY_FAILURE'
  | 'ORIGINATOR_CANCEL'
  | 'ALLOTTED_TIMEOUT';

/** The largest audio file of a customer's that is played, in bytes. */
export const MOST_AUDIO_BYTES = 10 * 1024 * 1024;

/** The cause of the end of a channel whose node has died. */
export const NODE_LOST = 'MEDIA_NODE_LOST';

/**
 * The SIP code by which Kamailio tells a node that a leg cannot have audio, since no rtpengine answers:
 * nobody was asked.
 */
export const NO_AUDIO = 599;

/**
 * The cause of the end of a call whose far end was not heard of in time: no ACK, or a session that was not
 * refreshed.
 */
export const PEER_SILENT = 'RECOVERY_ON_TIMER_EXPIRE';

/** How a channel ended. */
export interface ChannelEnd {
  /**
   * `caller`: the far end, whom it was that called, sent BYE or CANCEL, or refused our call. `platform`: we
   * did, or the ring timeout. `node`: the media node died or lost the channel.
   */
  by: 'caller' | 'platform' | 'node';
  /** FreeSWITCH hangup cause; NODE_LOST when the node died. */
  cause: string;
  /**
   * The final SIP code of the leg where there was one: what a caller of ours got, or what the called party
   * sent.
   */
  sipCode?: number;
  at: Date;
  /**
   * The caller's CANCEL was faster than the answer that the node had told of: the caller has got 487, and no
   * answer.
   */
  answerTakenBack?: boolean;
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

/** The node has not said in time what became of a command: it may still do it. */
export class NodeSilent extends MediaError {}

/**
 * Of two directions of sound: `write` is what the caller says to the far end, `read` what the caller hears.
 */
export type MuteDirection = 'read' | 'write' | 'both';

/** A second leg to be rung and connected to a channel. */
export interface LegRequest {
  /** SIP URIs to be tried one after the other, by Kamailio. */
  uris: readonly string[];
  /** The number the leg shows as its caller: E.164. */
  from: string;
  /** How long the leg may ring, in s; counted from the request. */
  timeoutSeconds: number;
  /** Further headers of the leg's INVITE, `X-MV-*`. `X-MV-Targets` is made of `uris`. */
  headers: Readonly<Record<string, string>>;
  /** The leg rings, or sends early media. At most once. */
  onRinging?(): void;
  /** The leg has answered and is connected from now on. */
  onAnswered?(uuid: string, farEnd?: FarEnd): void;
  /**
   * The trunk the leg goes over, as Kamailio has told; before `onRinging` or `onAnswered`, and again when it
   * has become another.
   */
  onTrunk?(id: string): void;
}

/** What became of a second leg. */
export interface LegResult {
  /** It has answered. */
  reached: boolean;
  /**
   * The SIP code that a leg which was not reached ended with, where it sent one; none when it rang out or was
   * given up.
   */
  sipCode?: number;
  /**
   * FreeSWITCH hangup cause of the leg: `USER_BUSY`, `NO_ANSWER` (it rang out), `ORIGINATOR_CANCEL`
   * (interrupted), `NORMAL_CLEARING`, …
   */
  cause: string;
  /**
   * Who ended a connected call; `platform` when it was interrupted. A caller who hangs up ends the channel,
   * so the promise fails with ChannelGone then.
   */
  endedBy?: 'callee' | 'platform';
}

export interface ConferenceOptions {
  /** The others do not hear the caller. */
  mute: boolean;
  /** The room ends for everybody when the caller leaves it. */
  endOnExit: boolean;
  /** The name of the node that has the room; the channel's own when it is not given. */
  node?: string | undefined;
}

/**
 * How the stay in a room ended, with the caller still there. `over`: the room has ended. `left`: it was
 * interrupted. Only of a room on another node: `unreachable`, the caller could not be connected to it;
 * `lost`, that node has died.
 */
export type ConferenceEnd = 'over' | 'left' | 'unreachable' | 'lost';

/** An outbound call to be placed. */
export interface OriginateRequest {
  /** The channel's uuid, made by whoever asks: known before the node has heard of it. */
  uuid: string;
  /** SIP URIs to be tried one after the other, by Kamailio. */
  uris: readonly string[];
  /** The number shown as the caller: E.164. */
  from: string;
  /**
   * How long it may take until the answer, in s; counted from the request. Then the call ends with the cause
   * `NO_ANSWER`.
   */
  ringSeconds: number;
  /**
   * Further headers of the INVITE, `X-MV-*`: at least `X-MV-Call-ID`. They stay with the channel, so that
   * whoever finds it later has them. `X-MV-Targets` is made of `uris`.
   */
  headers: Readonly<Record<string, string>>;
}

/** How far an outbound call is that is not answered yet. */
export interface Ringing {
  /**
   * Resolves when the far end rings for the first time (180, 183). Never when it answers or ends without
   * having rung.
   */
  readonly ringing: Promise<void>;
  /**
   * Resolves with true when the far end has answered and the channel takes commands; with false when it has
   * ended before, be it between the two: `channel.answered` tells then. Never rejects.
   */
  readonly answered: Promise<boolean>;
  /**
   * The trunk that rings, then the one that has answered, as Kamailio has told; undefined while it has not,
   * and for a plain SIP URI.
   */
  trunkId(): string | undefined;
}

/**
 * A channel of ours that is being rung. `parked.channel.hangup(cause)` cancels it, at any moment.
 * `parked.channel.ended` tells how it ended: `sipCode` is the far end's (or Kamailio's, where there is
 * nobody), none when it rang out (`NO_ANSWER`) or was cancelled. `parked.dialog` is filled as the dialog
 * comes to be.
 */
export interface Dialing extends Ringing {
  parked: ParkedChannel;
}

/**
 * One leg on a media node. Every method throws ChannelGone once the channel has ended, and MediaError when
 * the node refuses.
 */
export interface Channel {
  /** The node's own id of the channel: the call's `provider_call_id`. */
  readonly uuid: string;
  /** Name of the media node, `host:sip-port`. */
  readonly node: string;
  readonly answered: boolean;
  /** By the node's clock: the answer may be older than our knowing of it. */
  readonly answeredAt: Date | undefined;
  /** How the far end is reached when the node is gone, as far as the node has told. */
  readonly farEnd?: FarEnd | undefined;
  /** Settles when the channel has ended; never rejects. */
  readonly ended: Promise<ChannelEnd>;

  /** 200 OK to the caller; resolves once the node says the channel is answered. */
  answer(): Promise<void>;
  /**
   * Plays a file (absolute path of a WAV) or `silence_stream://ms`; resolves when it ended or was stopped.
   */
  play(source: string): Promise<'finished' | 'stopped'>;
  /** Stops what is playing, if anything is. */
  stopPlaying(): Promise<void>;
  /** Refuses an unanswered channel with this SIP code. */
  refuse(sipCode: number): Promise<void>;
  /** Ends the channel. */
  hangup(cause: HangupCause): Promise<void>;
  /** Calls the listener for every key the caller presses; returns the way to stop listening. */
  onDigit(listener: (digit: Digit) => void): () => void;
  /**
   * Sends keys to the far end by RFC 4733, 120 ms each; resolves when the last has been sent. `w` and `,`
   * pause for 500 ms, `W` for 1 s. While a bridge is connected the keys still go to the caller.
   */
  sendDigits(digits: string): Promise<void>;
  /**
   * `write`: the far end (a connected leg, a conference, a recording) does not hear the caller any more;
   * `read`: the caller hears nothing. Lasts until unmute, across whatever runs on the channel. What is muted
   * already stays so.
   */
  mute(direction: MuteDirection): Promise<void>;
  /** Takes mute back in this direction, and leaves the other as it is. */
  unmute(direction: MuteDirection): Promise<void>;
  /**
   * The caller hears music instead of everything else until `resume`; what is played meanwhile takes its time
   * unheard.
   */
  hold(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Rings a second leg, while the caller hears ringback, and connects it. Resolves when the leg has ended or
   * was never reached; the caller waits for instructions again then. Keys pass between the legs. A caller who
   * hangs up ends both legs. @throws ChannelGone then, ringing or connected; `ended` tells how.
   */
  bridge(leg: LegRequest): Promise<LegResult>;
  /**
   * Takes the caller, who must be answered, into a room, made when it is not there. Music while nobody else
   * is in it. A room on another node is reached by a leg between the nodes, through Kamailio: all that can be
   * done on a channel works there too. Resolves when the caller is out of the room again and still there.
   * @param room any text; rooms of the same text on the same node are the same.
   */
  conference(room: string, options: ConferenceOptions): Promise<ConferenceEnd>;
  /**
   * Records both directions into a file: WAV, 8 kHz, stereo, what the caller says left and what the caller
   * hears right. Goes on whatever runs on the channel, until `stopRecording` or the channel's end; the node
   * has finished the file by the time `ended` tells of that. There is no file when it is stopped within a
   * moment.
   * @param file absolute path that ends in `.wav`, on the node; resolves when the node has begun to write it.
   */
  startRecording(file: string): Promise<void>;
  /** Resolves when the file is complete; also when the file was not being recorded. */
  stopRecording(file: string): Promise<void>;
  /**
   * Offers the audio of an answered channel anew, and that of its second leg where one is connected, so that
   * rtpengine sets it up again. Resolves when the node has sent that. A far end that does not answer is gone:
   * the channel ends.
   */
  renegotiate(): Promise<void>;
  /**
   * Ends whatever runs on the channel: a playback (`stopped`), keys being sent, a leg that rings or is
   * connected, a conference. Resolves when the caller waits for instructions again and those promises have
   * settled. Mute, hold and recordings stay.
   */
  interrupt(): Promise<void>;
}

/**
 * What a channel did when it was found on a node. The promises fail as those of the methods that began it do.
 */
export interface Adopted {
  playing?: { source: string; finished: Promise<'finished' | 'stopped'> };
  /**
   * A second leg: whether it had answered by then, a promise for whether it ever does, and the trunk as far
   * as it was known.
   */
  bridging?: {
    connected: boolean;
    answered: Promise<boolean>;
    trunkId?: string;
    finished: Promise<LegResult>;
  };
  /** `node` has the room. */
  conferencing?: { node: string; finished: Promise<ConferenceEnd> };
  /**
   * An outbound call that is not answered yet. It is announced this one time: `answered` tells when it is.
   */
  dialing?: Ringing;
  /** The trunk of an outbound call that is answered. */
  trunkId?: string;
}

/** A channel that a node has parked and that waits for instructions. */
export interface ParkedChannel {
  channel: Channel;
  /**
   * The `X-MV-*` headers of the INVITE, names in lower case without the prefix: `call-id`, `from`, `to`, …
   */
  headers: CallHeaders;
  /**
   * SIP dialog of the leg, as Kamailio knows it too. Of an outbound call the `fromTag` is ours, and the
   * `toTag` empty until the answer.
   */
  readonly dialog: Readonly<{ callId: string; fromTag: string; toTag: string }>;
  /**
   * Set when the channel was found on the node instead of announced by it (this process has restarted, or its
   * connection has): what was going on then, and a promise for its end. At most one of them is set.
   */
  adopted?: Adopted;
}

export interface MediaNodeStatus {
  name: string;
  connected: boolean;
  version?: string;
  channels: number;
}

/** All media nodes together. */
export interface Media {
  /**
   * Connects to every node and keeps connected. `onParked` gets every call that needs instructions, adopted
   * ones included.
   */
  start(onParked: (parked: ParkedChannel) => void): void;
  stop(): Promise<void>;
  /**
   * Places a call, on the connected node with the fewest channels. Resolves once a node has made the channel,
   * which is not announced to `onParked`. When the connection to the node ends before that is known, it
   * resolves as well, and the channel ends (by `node`) unless the node turns out to have it: a call is never
   * placed twice.
   * @throws MediaError when no node can; NodeSilent when the node does not say: should it dial after all, its
   * channel is ended.
   */
  originate(request: OriginateRequest): Promise<Dialing>;
  nodes(): MediaNodeStatus[];
  /**
   * Resolves when every node that can be reached has been asked which channels it has, so that a call this
   * process knows from the database and that no node has is known to be over.
   */
  readonly reconciled: Promise<void>;
  /** The name of a connected node that has a room of this name now, with somebody in it. */
  roomAt(room: string): Promise<string | undefined>;
  /**
   * Whether any node still has, or may have, this channel (a node out of reach "may have" it until it is
   * given up).
   */
  mayHave(uuid: string): boolean;
}

import type { RtpSession } from '../rtp/session.ts';
import type { Digit } from '../rtp/telephone-event.ts';
import type { SipRequest } from '../sip/message.ts';

export type RemoteEnd = 'bye' | 'cancel' | 'no-ack' | 'no-codec' | 'expired';

export interface LegListener {
  /** The far end has ended the call, or it cannot go on. */
  onRemoteEnd(how: RemoteEnd, request?: SipRequest): void;
  onDigit(digit: Digit, source: 'RTP' | 'ENDPOINT'): void;
  /** The audio has changed: a re-INVITE, or an answer that came late. */
  onMediaChanged(): void;
}

/** How a call is to be ended from this side. */
export interface Farewell {
  cause: string;
  /** The very code for a caller who is not answered yet, in place of the cause's. */
  status?: number;
  reason?: string;
}

/** The SIP and RTP of one channel, whichever side has called. */
export interface Leg {
  readonly rtp: RtpSession | undefined;
  readonly localSdp: string;
  /** Settles when the audio is agreed on, or never will be. */
  readonly mediaSettled: Promise<void>;
  /** Ends the call from this side. @returns what was sent, as `sip_hangup_disposition` has it */
  end(farewell: Farewell): string;
  /** Offers the audio of an answered call anew, by a re-INVITE. @returns false when that cannot be now */
  renegotiate(): boolean;
}

/** Nothing the far end offers can be spoken here. */
export class NoCommonCodec extends Error {
  constructor() {
    super('no common codec');
    this.name = 'NoCommonCodec';
  }
}

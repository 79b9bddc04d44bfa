import type { Logger } from '../../../control/lib/logger.ts';
import type { Rooms } from '../conference/room.ts';
import type { EventHeaders } from '../esl/event.ts';
import type { Origin } from '../esl/events.ts';
import type { MediaLibrary } from '../media/library.ts';
import type { G711 } from '../rtp/g711.ts';
import type { Digit, DigitSource } from '../rtp/telephone-event.ts';
import type { SipRequest } from '../sip/message.ts';
import type { ChannelAudio } from './audio.ts';
import type { DialString } from './dial-string.ts';
import type { Guard } from './guard.ts';
import type { CallerProfile } from './invite-variables.ts';
import type { RemoteEnd } from './leg.ts';
import type { Player } from './player.ts';
import type { CallState, ChannelState } from './states.ts';
import type { ChannelTimes } from './times.ts';
import type { Variables } from './variables.ts';
import type { Wait, WaitEnd } from './wait.ts';

/** What runs applications on a call: `executor.ts`. */
export interface RunsApplications {
  readonly waiting: Wait | undefined;
  readonly parkedIdle: boolean;
  park(): void;
  wait(wait: Wait): Promise<WaitEnd>;
  apply(name: string, argument: string | undefined, given?: string): Promise<boolean>;
  flush(): void;
  break(): void;
}

/** The keys of a call: `digits.ts`. */
export interface TakesDigits {
  passTo(pass: ((digit: Digit) => void) | undefined): void;
  take(): void;
  flush(): void;
}

/** A call that is about to be placed for another one. */
export interface PlacedCall {
  channel: Call;
  calling: { onRinging: () => void; onConnected: () => void; start(): Promise<void> };
}

/** A channel as its own parts and its applications see it: they know this, and `channel.ts` knows them. */
export interface Call {
  readonly uuid: string;
  readonly direction: 'inbound' | 'outbound';
  readonly variables: Variables;
  readonly profile: CallerProfile;
  readonly times: ChannelTimes;
  readonly executor: RunsApplications;
  readonly digits: TakesDigits;
  readonly audio: ChannelAudio;
  readonly player: Player;
  readonly guard: Guard;
  readonly log: Logger;
  readonly library: MediaLibrary;
  readonly rooms: Rooms;
  readonly codec: G711 | undefined;
  readonly down: boolean;
  readonly answered: boolean;
  readonly answerState: string;
  readonly hungUpByUs: boolean;
  readonly hangupCause: string;
  readonly finished: Promise<void>;
  other: Call | undefined;
  connected: boolean;
  park: EventHeaders | undefined;
  state: ChannelState;
  stateNumber: number;
  callState: CallState;
  lastApplication: { name: string; data: string };
  variable(name: string): string | undefined;
  emit(name: string, origin?: Origin, extra?: EventHeaders): void;
  move(state: ChannelState): void;
  setCallState(callState: CallState): void;
  ringReady(): void;
  preAnswer(): Promise<boolean>;
  answer(): Promise<boolean>;
  mediaCodec(): Promise<G711 | undefined>;
  onMediaChanged(): void;
  onDigit(digit: Digit, source: DigitSource): void;
  sendDigits(text: string): boolean;
  sendDigit(digit: Digit): void;
  place(dial: DialString): PlacedCall | string;
  runOnAnswer(): void;
  refuse(status: number, reason: string): void;
  onRemoteEnd(how: RemoteEnd, request?: SipRequest): void;
  hangup(cause: string): void;
  onDown(listener: () => void): () => void;
  end(cause: string, byUs: boolean): void;
}

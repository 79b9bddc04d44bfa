import type { z } from 'zod';
import type { Call, FailureCode } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { SecondLegs } from '../calls/second-legs.ts';
import type {
  Adopted,
  Channel,
  ConferenceEnd,
  ConferenceOptions,
  HangupCause,
  ParkedChannel,
} from '../media/media.ts';
import type { FlowState } from './state.ts';

/** One action of a payload, ready to run. */
export interface Step {
  action: string;
  fields: unknown;
}

/** What an action leaves the flow to do. */
export type Outcome =
  | { next: 'continue'; result?: Record<string, unknown> }
  /** These actions take the place of what is left. */
  | { next: 'replace'; steps: Step[]; result?: Record<string, unknown> }
  /** The flow is over and hangs up. */
  | { next: 'hangup'; cause: HangupCause; by?: 'callee' | 'platform'; result?: Record<string, unknown> }
  /** The unanswered call is refused with this SIP code. */
  | { next: 'refuse'; sipCode: number };

/** Who records calls. */
export interface Recorder {
  start(call: Call, channel: Channel): Promise<void>;
  stop(call: Call, channel: Channel): Promise<void>;
  /** The channel was taken over from an earlier life of this process, and its recording with it. */
  resumed(call: Call, channel: Channel): Promise<void>;
}

/** Who brings a call's audio to customers' servers while the flow goes on. */
export interface Streamer {
  /** @returns the stream's id. @throws Error when it cannot be begun */
  start(
    call: Call,
    channel: Channel,
    dialog: ParkedChannel['dialog'],
    stream: { url: string; track: 'inbound' | 'outbound' | 'both' },
  ): Promise<string>;
  /** Ends the streams with this URL and track, where given. @returns how many */
  stop(
    call: Call,
    which: { url?: string | undefined; track?: 'inbound' | 'outbound' | 'both' | undefined },
  ): Promise<number>;
  /** The channel was taken over from an earlier life of this process, and its streams with it. */
  resumed(call: Call, channel: Channel, dialog: ParkedChannel['dialog']): Promise<void>;
}

/** Who knows where rooms are. */
export interface Conferences {
  /**
   * Takes the caller into a room of the call's application, wherever the others are, and resolves when he is
   * out of it.
   * @param stay.began called each time the caller is on the way in.
   * @param stay.adopted the stay that an earlier life of this process has begun.
   */
  stay(call: Call, channel: Channel, stay: ConferenceStay): Promise<ConferenceEnd>;
}

export interface ConferenceStay extends Pick<ConferenceOptions, 'mute' | 'endOnExit'> {
  room: string;
  /** Aborted when the caller is not to enter any more. */
  signal: AbortSignal;
  began(): void;
  adopted?: Adopted['conferencing'];
}

/** What an action may use. It reaches the caller through `channel` and nothing else. */
export interface FlowContext {
  readonly call: Call;
  readonly calls: Calls;
  readonly channel: Channel;
  /** Of the channel's leg. */
  readonly dialog: ParkedChannel['dialog'];
  readonly state: FlowState;
  /**
   * Aborted when the channel has ended, or with the reason `replaced` when other actions take this one's
   * place.
   */
  readonly signal: AbortSignal;
  /** Speech as a file that the media node can play. */
  speak(text: string, options?: { voice?: string; language?: string }): Promise<string>;
  /** A customer's audio as a file that the media node can play. */
  fetchAudio(url: string): Promise<string>;
  readonly recorder: Recorder;
  readonly conferences: Conferences;
  readonly streamer: Streamer;
  readonly tries?: { settled(call: Call): Promise<Date | undefined> } | undefined;
  /** Who lets second legs out. */
  readonly legs: Pick<SecondLegs, 'place' | 'resumed'>;
  /** Asks the customer's server for the next actions. @throws FlowFailure */
  fetchActions(url: string, method: 'GET' | 'POST'): Promise<Step[]>;
  /** Writes what the flow needs to go on after this process has died. */
  save(): void;
  now(): Date;
}

/**
 * Set for the one action that was running when an earlier control process died. `finished` is there when its
 * audio still plays, and settles with it.
 */
export interface Resumed {
  finished?: Promise<unknown>;
  /** A second leg that still rings, or is connected. */
  leg?: Adopted['bridging'];
  /** A room that the caller is still in. */
  conference?: Adopted['conferencing'];
}

/** One action of the answer_url language: its schema and what it does. */
export interface Action<Fields> {
  readonly name: string;
  /** What it does and what happens next, for the documentation; names in backticks. */
  readonly summary: string;
  /** Its fields as a server would send them, for the documentation. */
  readonly example: Readonly<Record<string, unknown>>;
  /** Every field carries its description: the documentation is made of this schema. */
  readonly schema: z.ZodObject & z.ZodType<Fields>;
  /** Text it will speak, so that the next prompts are synthesised while the first plays. */
  prompts?(fields: Fields): { text: string; voice?: string; language?: string }[];
  run(fields: Fields, context: FlowContext, resumed?: Resumed): Promise<Outcome>;
}

/** Ties an action's fields to its schema; callers see fields as already parsed by that schema. */
export const action = <Fields>(definition: Action<Fields>): Action<Fields> => definition;

/** Ends the flow, and the call `failed` with this code. */
export class FlowFailure extends Error {
  readonly code: FailureCode;

  constructor(code: FlowFailure['code'], message: string) {
    super(message);
    this.name = 'FlowFailure';
    this.code = code;
  }
}

export const CONTINUE: Outcome = { next: 'continue' };

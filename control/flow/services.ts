import type { Admission } from '../calls/admission.ts';
import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import type { FlowContext, Step } from './action.ts';
import type { Question } from './answer-url.ts';
import type { FlowStates } from './state.ts';

/** What every flow of this process uses. */
export interface FlowServices {
  calls: Calls;
  states: FlowStates;
  ask: (question: Question) => Promise<Step[]>;
  /** How the application wants to be asked first. */
  answerMethodOf: (call: Call) => 'GET' | 'POST';
  speak: FlowContext['speak'];
  /** Makes speech that will be wanted soon, if there is time for it. */
  prepare: (text: string, options: { voice?: string; language?: string }) => void;
  fetchAudio: FlowContext['fetchAudio'];
  /** Lets calls that cost something be answered. */
  admission: Pick<Admission, 'admitInbound' | 'moved'>;
  legs: FlowContext['legs'];
  recorder: FlowContext['recorder'];
  conferences: FlowContext['conferences'];
  streamer: FlowContext['streamer'];
  /** Who writes into the timeline what Kamailio has tried. */
  tries?: FlowContext['tries'];
  logger: Logger;
  now?: () => Date;
}

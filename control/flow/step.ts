import type { Call } from '../calls/call.ts';
import { ApiError } from '../lib/errors.ts';
import { ChannelGone, type ParkedChannel } from '../media/media.ts';
import { FlowFailure, type Action, type Outcome, type Resumed, type Step } from './action.ts';
import type { Course } from './course.ts';
import { messageOf } from './ending.ts';
import { ACTIONS } from './schema.ts';
import type { FlowServices } from './services.ts';
import type { FlowState } from './state.ts';

/** Prompts synthesised ahead of the one that plays. */
const AHEAD = 3;

/** One action of a flow that is about to run. */
export interface RunningStep {
  call: Call;
  parked: ParkedChannel;
  state: FlowState;
  course: Course;
  services: FlowServices;
  step: Step;
  action: Action<unknown>;
  /** Set when the action was running when an earlier control process died. */
  resumed: Resumed | undefined;
  /** The actions that take the place of this one, once they are noted. */
  replacement: () => Step[] | undefined;
  save: () => void;
  now: () => Date;
}

/**
 * Runs one action; its begin and end are in the call's timeline. One that was interrupted for others to take
 * its place leaves these as its outcome.
 */
export async function runStep(running: RunningStep): Promise<Outcome> {
  const { call, parked, state, course, step, action, resumed, replacement, save, now } = running;
  const { calls, speak, fetchAudio, legs, recorder, conferences, streamer, tries, ask } = running.services;
  const path = `actions[${state.index}]`;
  if (!resumed)
    calls.note(call, 'action.started', {
      path,
      action: step.action,
      ...(step.fields as Record<string, unknown>),
    });
  const began = performance.now();
  const ended = (detail: Record<string, unknown>): void =>
    calls.note(call, 'action.ended', {
      path,
      action: step.action,
      took_ms: Math.round(performance.now() - began),
      ...detail,
    });
  const signal = course.signal();
  try {
    const outcome = await action.run(
      step.fields,
      {
        call,
        calls,
        channel: parked.channel,
        // Read here and not earlier: the dialog of an outbound call is there from its answer on.
        dialog: parked.dialog,
        state,
        signal,
        speak,
        fetchAudio,
        legs,
        recorder,
        conferences,
        streamer,
        tries,
        fetchActions: (url, method) => ask({ call, url, method, gathered: state.gathered, signal }),
        save,
        now,
      },
      resumed,
    );
    ended({
      result: course.replaced ? 'replaced' : 'ok',
      ...('result' in outcome ? outcome.result : undefined),
    });
    const steps = replacement();
    return steps ? { next: 'replace', steps } : outcome;
  } catch (error) {
    if (course.replaced) ended({ result: 'replaced' });
    else
      ended({
        result: error instanceof ChannelGone || course.hasEnded ? 'hangup' : 'failed',
        ...(!(error instanceof ChannelGone) && { message: messageOf(error) }),
      });
    const steps = replacement();
    if (steps) return { next: 'replace', steps };
    throw error;
  }
}

/** Synthesises the prompts of the next actions while this one runs. */
export function prepareNext({ steps, index }: FlowState, { prepare }: FlowServices): void {
  for (const step of steps.slice(index + 1, index + AHEAD + 1))
    for (const { text, ...options } of ACTIONS.get(step.action)?.prompts?.(step.fields) ?? [])
      prepare(text, options);
}

/**
 * Lets an inbound call be answered, which may cost something.
 * @throws FlowFailure when there is no money for it
 */
export async function admit(call: Call, { admission }: FlowServices): Promise<void> {
  try {
    await admission.admitInbound(call);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new FlowFailure(
      error.code === 'insufficient_balance' ? error.code : 'internal_error',
      error.message,
    );
  }
}

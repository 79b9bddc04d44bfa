import type { Call, FailureCode, Hangup } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import { ChannelGone, MediaError, type Channel, type ChannelEnd, type HangupCause, type ParkedChannel } from '../media/media.ts';
import { FlowFailure, type FlowContext, type Outcome, type Resumed, type Step } from './action.ts';
import type { Question } from './answer-url.ts';
import { ACTIONS } from './schema.ts';
import { newState, type FlowState, type FlowStates } from './state.ts';

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
  routeLeg: FlowContext['routeLeg'];
  recorder: FlowContext['recorder'];
  conferences: FlowContext['conferences'];
  streamer: FlowContext['streamer'];
  logger: Logger;
}

/** Prompts synthesised ahead of the one that plays. */
const AHEAD = 3;
const LAST_WORDS_MS = 100;

/** Why a channel is being ended by us, noted before it is, for when its end is reported. */
type Intent = Pick<Hangup, 'by'> & { failure?: { code: FailureCode; message: string } };

/**
 * One call's flow on its channel: gets instructions, runs them in order, and ends the call's record when the channel
 * ends, whoever ended it. Its first request for instructions may be under way before there is a channel.
 */
export class Flow {
  readonly call: Call;
  readonly #services: FlowServices;
  /** Aborted when the channel has ended. */
  readonly #stop = new AbortController();
  /** Aborted when other actions take the place of those that run. */
  #action = new AbortController();
  #replacement: Step[] | undefined;
  /** The last action has been run, or the flow has failed: nothing can take its place any more. */
  #over = false;
  #state: FlowState = newState();
  #first: Promise<Step[]> | undefined;
  #channel: Channel | undefined;
  #dialog: ParkedChannel['dialog'] = { callId: '', fromTag: '', toTag: '' };
  #intent: Intent | undefined;

  constructor(call: Call, services: FlowServices) {
    this.call = call;
    this.#services = services;
  }

  /** Asks for the first instructions before the media node has the call. */
  prefetch(): void {
    this.#first = this.#askFirst();
    this.#first.catch(() => undefined); // It is awaited, and answered for, in #run.
  }

  /** The channel it runs on, once there is one. */
  get channel(): Channel | undefined {
    return this.#channel;
  }

  /** The caller went away before there was a channel. */
  cancel(): void {
    this.#stop.abort();
  }

  /** Hangs up on behalf of the API: `canceled` before the answer, `completed` after it. A channel that comes later is refused. */
  async hangup(): Promise<void> {
    this.#intent ??= { by: 'api' };
    if (this.#channel) await this.#endChannel(this.#channel, 'NORMAL_CLEARING', 480);
    else this.#services.calls.end(this.call, { hangup: { by: 'api', cause: 'ORIGINATOR_CANCEL' } });
  }

  /**
   * These actions take the place of whatever runs, at once. Before there is a channel they take the place of the first
   * instructions. Returns false when it is too late: the call is being ended.
   */
  async replace(steps: Step[]): Promise<boolean> {
    if (this.#intent || this.#over || this.#stop.signal.aborted) return false;
    this.#replacement = steps;
    this.#action.abort('replaced');
    await this.#channel?.interrupt().catch((error: unknown) => this.#tell(error));
    return true;
  }

  /** Runs the flow until the channel has ended. Never throws. */
  async run(parked: ParkedChannel): Promise<void> {
    const { channel } = parked;
    this.#channel = channel;
    this.#dialog = parked.dialog;
    const running = this.#intent ? this.#endChannel(channel, 'NORMAL_CLEARING', 480) : this.#runToItsEnd(parked);
    const end = await channel.ended;
    this.#stop.abort();
    // What an action has to say of its end comes before the call's own. Nothing that takes longer is waited for.
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    this.#finish(end);
    this.#services.states.forget(this.call.id);
  }

  async #runToItsEnd(parked: ParkedChannel): Promise<void> {
    try {
      await this.#run(parked);
    } catch (error) {
      if (!(error instanceof ChannelGone) && !this.#stop.signal.aborted) await this.#fail(parked.channel, error);
    }
  }

  async #run({ channel, adopted }: ParkedChannel): Promise<void> {
    const { call } = this;
    const { calls, states } = this.#services;
    let resumed: Resumed | undefined;
    const saved = adopted && (await states.load(call.id));
    if (adopted && channel.answered && call.status === 'ringing') calls.answered(call, channel.answeredAt);
    if (adopted) {
      void this.#services.recorder.resumed(call, channel);
      void this.#services.streamer.resumed(call, channel, this.#dialog);
    }
    if (saved) {
      this.#state = saved;
      resumed = { finished: adopted.playing?.finished, leg: adopted.bridging, conference: adopted.conferencing };
      calls.note(call, 'flow.resumed', { action: saved.steps[saved.index]?.action, path: `actions[${saved.index}]`, playing: adopted.playing !== undefined, leg: adopted.bridging !== undefined, conference: adopted.conferencing !== undefined });
    } else {
      if (adopted) await channel.interrupt();
      this.#state.steps = await this.#orReplaced(this.#first ?? this.#askFirst());
    }
    while (this.#state.index < this.#state.steps.length) {
      const outcome = await this.#step(channel, resumed);
      resumed = undefined;
      if (outcome.next === 'hangup') return this.#endByApplication(channel, outcome.cause, outcome.by);
      if (outcome.next === 'refuse') return this.#refuse(channel, outcome.sipCode);
      if (outcome.next === 'replace') this.#state = { ...this.#state, steps: outcome.steps, index: 0, begun: -1 };
      else this.#state = { ...this.#state, index: this.#state.index + 1, begun: -1 };
    }
    await this.#endByApplication(channel, 'NORMAL_CLEARING');
  }

  /** The steps, or those that took their place while they were waited for. */
  async #orReplaced(steps: Promise<Step[]>): Promise<Step[]> {
    try {
      const given = await steps;
      return this.#takeReplacement() ?? given;
    } catch (error) {
      const replacement = this.#takeReplacement();
      if (replacement) return replacement;
      throw error;
    }
  }

  #takeReplacement(): Step[] | undefined {
    const replacement = this.#replacement;
    if (!replacement || this.#stop.signal.aborted) return undefined;
    this.#replacement = undefined;
    this.#action = new AbortController();
    this.#services.calls.note(this.call, 'flow.replaced', { actions: replacement.map((step) => step.action) });
    return replacement;
  }

  /** Runs one action. One that was interrupted for others to take its place leaves these as its outcome. */
  async #step(channel: Channel, resumed: Resumed | undefined): Promise<Outcome> {
    const { call } = this;
    const { calls, states, speak, fetchAudio, routeLeg, recorder, conferences, streamer, ask } = this.#services;
    const state = this.#state;
    const step = state.steps[state.index];
    const action = step && ACTIONS.get(step.action);
    if (!action) throw new FlowFailure('internal_error', `unknown action ${step?.action}`);
    if (!channel.answered && step.action !== 'reject') {
      await channel.answer();
      calls.answered(call);
    }
    const save = (): void => states.save(call.id, state);
    save();
    this.#prepare();
    const path = `actions[${state.index}]`;
    if (!resumed) calls.note(call, 'action.started', { path, action: step.action, ...(step.fields as Record<string, unknown>) });
    const began = performance.now();
    const ended = (detail: Record<string, unknown>): void =>
      calls.note(call, 'action.ended', { path, action: step.action, took_ms: Math.round(performance.now() - began), ...detail });
    const signal = AbortSignal.any([this.#stop.signal, this.#action.signal]);
    try {
      const outcome = await action.run(step.fields, {
        call,
        calls,
        channel,
        dialog: this.#dialog,
        state,
        signal,
        speak,
        fetchAudio,
        routeLeg,
        recorder,
        conferences,
        streamer,
        fetchActions: (url, method) => ask({ call, url, method, gathered: state.gathered, signal }),
        save,
      }, resumed);
      ended({ result: this.#replacement ? 'replaced' : 'ok', ...('result' in outcome ? outcome.result : undefined) });
      const steps = this.#takeReplacement();
      return steps ? { next: 'replace', steps } : outcome;
    } catch (error) {
      if (this.#replacement && !this.#stop.signal.aborted) ended({ result: 'replaced' });
      else ended({ result: error instanceof ChannelGone || this.#stop.signal.aborted ? 'hangup' : 'failed', ...(!(error instanceof ChannelGone) && { message: messageOf(error) }) });
      const steps = this.#takeReplacement();
      if (steps) return { next: 'replace', steps };
      throw error;
    }
  }

  /** Synthesises the prompts of the next actions while this one runs. */
  #prepare(): void {
    const upcoming = this.#state.steps.slice(this.#state.index + 1, this.#state.index + AHEAD + 1);
    for (const step of upcoming) {
      for (const { text, ...options } of ACTIONS.get(step.action)?.prompts?.(step.fields) ?? []) {
        this.#services.prepare(text, options);
      }
    }
  }

  async #askFirst(): Promise<Step[]> {
    const { call } = this;
    if (!call.answerUrl) throw new FlowFailure('answer_url_error', 'the application has no answer_url');
    return this.#services.ask({ call, url: call.answerUrl, method: this.#services.answerMethodOf(call), gathered: undefined, signal: AbortSignal.any([this.#stop.signal, this.#action.signal]) });
  }

  async #fail(channel: Channel, error: unknown): Promise<void> {
    this.#over = true;
    const { logger } = this.#services;
    const code = error instanceof FlowFailure ? error.code : error instanceof MediaError ? 'media_unavailable' : 'internal_error';
    if (code === 'media_unavailable' || code === 'internal_error') logger.error({ err: error, call: this.call.id }, 'a flow has failed');
    await this.#endChannel(channel, 'NORMAL_TEMPORARY_FAILURE', 503, { by: 'platform', failure: { code, message: code === 'internal_error' ? 'internal error' : messageOf(error) } });
  }

  async #refuse(channel: Channel, sipCode: number): Promise<void> {
    this.#over = true;
    this.#intent ??= { by: 'application', failure: { code: 'rejected', message: `refused by the application with ${sipCode}` } };
    await channel.refuse(sipCode).catch((error: unknown) => this.#tell(error));
  }

  /** A list without an action that answers ends unanswered: that is a refusal too. */
  async #endByApplication(channel: Channel, cause: HangupCause, by: Hangup['by'] = 'application'): Promise<void> {
    this.#over = true;
    if (!channel.answered) return this.#refuse(channel, 480);
    await this.#endChannel(channel, cause, 480, { by });
  }

  /** Hangs an answered channel up, and refuses an unanswered one with `sipCode`. */
  async #endChannel(channel: Channel, cause: HangupCause, sipCode: number, intent?: Intent): Promise<void> {
    this.#intent ??= intent;
    await (channel.answered ? channel.hangup(cause) : channel.refuse(sipCode)).catch((error: unknown) => this.#tell(error));
  }

  /** A node that cannot even end a channel has lost it, or will be found to have: that ends the call's record. */
  #tell(error: unknown): void {
    if (!(error instanceof ChannelGone)) this.#services.logger.warn({ err: error, call: this.call.id }, 'a channel could not be ended');
  }

  #finish(end: ChannelEnd): void {
    const { calls } = this.#services;
    // It may have ended in the moment between its answer and the record of that.
    if (this.#channel?.answered && !this.call.answeredAt) calls.answered(this.call, this.#channel.answeredAt);
    const hangup = { cause: end.cause, ...(end.sipCode !== undefined && { sip_code: end.sipCode }) };
    if (end.by === 'node') {
      calls.end(this.call, { at: end.at, hangup: { by: 'platform', ...hangup }, failure: { code: 'media_unavailable', message: 'the media node was lost' } });
    } else if (end.by === 'caller') {
      calls.end(this.call, { at: end.at, hangup: { by: 'caller', ...hangup } });
    } else {
      const intent = this.#intent ?? { by: 'platform', failure: { code: 'media_unavailable', message: `the media node ended the call (${end.cause})` } };
      calls.end(this.call, { at: end.at, hangup: { by: intent.by, ...hangup }, failure: intent.failure });
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

import { ABANDONED, isTerminal, type Call, type FailureCode, type Hangup } from '../calls/call.ts';
import type { LegWatch } from '../calls/second-legs.ts';
import {
  ChannelGone,
  type Adopted,
  type Channel,
  type ChannelEnd,
  type HangupCause,
  type ParkedChannel,
  type Ringing,
} from '../media/media.ts';
import { FlowFailure, type Outcome, type Resumed, type Step } from './action.ts';
import { Course, type Intent } from './course.ts';
import { callEndingOf, failureBy, isOurs, messageOf } from './ending.ts';
import { ACTIONS, parseActions } from './schema.ts';
import type { FlowServices } from './services.ts';
import { newState, type FlowState } from './state.ts';
import { admit, prepareNext, runStep } from './step.ts';

const LAST_WORDS_MS = 100;

interface AnsweredLeg {
  dialog: ParkedChannel['dialog'];
  /** As `Channel.renegotiate`. */
  renegotiate(): Promise<void>;
}

/**
 * One call's flow on its channel: gets instructions, runs them in order, and ends the call's record when the
 * channel ends, whoever ended it. Its first request for instructions may be under way before there is a
 * channel.
 */
export class Flow {
  readonly call: Call;
  readonly #services: FlowServices;
  readonly #now: () => Date;
  readonly #course = new Course();
  #state: FlowState = newState();
  #first: Promise<Step[]> | undefined;
  #channel: Channel | undefined;
  #parked: ParkedChannel | undefined;
  #longest: NodeJS.Timeout | undefined;

  /** @param steps the first instructions, where they are known and nobody has to be asked */
  constructor(call: Call, services: FlowServices, steps?: Step[]) {
    this.call = call;
    this.#services = services;
    this.#first = steps && Promise.resolve(steps);
    this.#now = services.now ?? (() => new Date());
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

  /** Its leg on the media node, once that is answered. */
  get answeredLeg(): AnsweredLeg | undefined {
    const parked = this.#parked;
    return parked?.channel.answered
      ? { dialog: parked.dialog, renegotiate: () => parked.channel.renegotiate() }
      : undefined;
  }

  /** The caller went away before there was a channel. */
  cancel(): void {
    this.#course.end();
  }

  /**
   * Hangs up on behalf of the API: `canceled` before the answer, `completed` after it. A channel that comes
   * later is refused.
   */
  async hangup(): Promise<void> {
    await this.#cut({ by: 'api' });
  }

  /** Ends the call `failed`: it cannot go on, whatever its flow does. */
  async fail(failure: { code: FailureCode; message: string }): Promise<void> {
    await this.#cut({ by: 'platform', failure });
  }

  /** Ends the call, in which nobody is any more. */
  async abandon(): Promise<void> {
    await this.#cut({ by: 'platform', cause: ABANDONED });
  }

  async #cut(intent: Intent): Promise<void> {
    this.#course.intend(intent);
    if (this.#channel) await this.#endChannel(this.#channel, 'NORMAL_CLEARING', 480);
    else
      this.#services.calls.end(this.call, {
        hangup: { by: intent.by, cause: 'ORIGINATOR_CANCEL' },
        failure: intent.failure,
      });
  }

  /**
   * These actions take the place of whatever runs, at once. Before there is a channel they take the place of
   * the first instructions. Returns false when it is too late: the call is being ended.
   */
  async replace(steps: Step[]): Promise<boolean> {
    if (!this.#course.replace(steps)) return false;
    // What is being dialled does nothing yet that could be interrupted.
    if (this.call.direction === 'inbound' || this.#channel?.answered)
      await this.#channel?.interrupt().catch((error: unknown) => this.#tell(error));
    return true;
  }

  /**
   * Runs the flow until the channel has ended. Never throws.
   * @param dialing of an outbound call that is not answered yet
   */
  async run(parked: ParkedChannel, dialing: Ringing | undefined = parked.adopted?.dialing): Promise<void> {
    const { channel } = parked;
    this.#channel = channel;
    this.#parked = parked;
    const running =
      this.#course.intent || isTerminal(this.call.status)
        ? this.#endChannel(channel, 'NORMAL_CLEARING', 480)
        : this.#runToItsEnd(parked, dialing);
    const end = await channel.ended;
    this.#course.end();
    clearTimeout(this.#longest);
    if (dialing) this.#routed(dialing.trunkId());
    // What an action has to say of its end comes before the call's own. Nothing that takes longer is waited
    // for.
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    // What was tried comes before what came of it, which the node may have told of a moment earlier.
    const tried =
      dialing && !channel.answered && end.by === 'caller'
        ? await this.#services.tries?.settled(this.call)
        : undefined;
    this.#finish(tried && tried > end.at ? { ...end, at: tried } : end);
    this.#services.states.forget(this.call.id);
  }

  async #runToItsEnd(parked: ParkedChannel, dialing: Ringing | undefined): Promise<void> {
    try {
      if (!dialing) return await this.#run(parked, parked.adopted);
      if (await this.#reached(parked.channel, dialing)) await this.#run(parked);
    } catch (error) {
      if (!(error instanceof ChannelGone) && !this.#course.hasEnded) await this.#fail(parked.channel, error);
    }
  }

  /**
   * Waits for the far end of an outbound call. Returns whether it has answered, and is there for
   * instructions.
   */
  async #reached(channel: Channel, dialing: Ringing): Promise<boolean> {
    void dialing.ringing.then(() => {
      this.#routed(dialing.trunkId());
      this.#services.calls.ringing(this.call);
    });
    if (!(await dialing.answered)) return false;
    this.#routed(dialing.trunkId());
    this.#answered(channel);
    return true;
  }

  /** An outbound call goes over this trunk, as Kamailio has told. */
  #routed(trunkId: string | undefined): void {
    if (trunkId === undefined || trunkId === this.call.trunkId) return;
    this.#services.calls.routed(this.call, trunkId);
    this.#services.admission.moved(this.call.id, 0, trunkId);
  }

  /** The far end has answered, now or while nobody looked. */
  #answered(channel: Channel): void {
    const { call } = this;
    const { calls, recorder } = this.#services;
    this.#reachable(channel);
    calls.answered(call, channel.answeredAt);
    if (!call.recordFromAnswer) return;
    recorder.start(call, channel).catch((error: unknown) => {
      if (!(error instanceof ChannelGone))
        calls.note(call, 'recording.not_started', { message: messageOf(error) });
    });
  }

  /** Should the node die, what is left of the call can be ended without it. */
  #reachable({ farEnd }: Channel): void {
    if (farEnd) this.#services.calls.reachable(this.call, [farEnd]);
  }

  /** An answered call may be bounded; it is the platform that ends it then. */
  #limitDuration(channel: Channel): void {
    const { maxDurationSeconds, answeredAt } = this.call;
    if (maxDurationSeconds === undefined || answeredAt === undefined) return;
    this.#longest = setTimeout(
      () => {
        this.#services.calls.note(this.call, 'call.max_duration_reached', {
          max_duration_seconds: maxDurationSeconds,
        });
        void this.#endChannel(channel, 'ALLOTTED_TIMEOUT', 480, { by: 'platform' });
      },
      answeredAt.getTime() + maxDurationSeconds * 1000 - Date.now(),
    );
  }

  async #run(parked: ParkedChannel, adopted?: ParkedChannel['adopted']): Promise<void> {
    const { call } = this;
    const { channel } = parked;
    const { calls, states } = this.#services;
    let resumed: Resumed | undefined;
    const saved = adopted && (await states.load(call.id));
    const secondLeg = adopted && this.#foundLeg(adopted, saved);
    if (adopted && channel.answered && !call.answeredAt) this.#answered(channel);
    this.#routed(call.direction === 'outbound' ? adopted?.trunkId : undefined);
    this.#limitDuration(channel);
    if (adopted) {
      void this.#services.recorder.resumed(call, channel);
      void this.#services.streamer.resumed(call, channel, parked.dialog);
    }
    if (saved) {
      this.#state = saved;
      resumed = {
        finished: adopted.playing?.finished,
        leg: adopted.bridging,
        conference: adopted.conferencing,
      };
      calls.note(call, 'flow.resumed', {
        action: saved.steps[saved.index]?.action,
        path: `actions[${saved.index}]`,
        playing: adopted.playing !== undefined,
        leg: adopted.bridging !== undefined,
        conference: adopted.conferencing !== undefined,
      });
    } else {
      if (adopted) await channel.interrupt();
      secondLeg?.ended();
      this.#state.steps = await this.#orReplaced(this.#first ?? this.#askFirst());
    }
    while (this.#state.index < this.#state.steps.length) {
      const outcome = await this.#step(parked, resumed);
      resumed = undefined;
      if (outcome.next === 'hangup') return this.#endByApplication(channel, outcome.cause, outcome.by);
      if (outcome.next === 'refuse') return this.#refuse(channel, outcome.sipCode);
      if (outcome.next === 'replace')
        this.#state = { ...this.#state, steps: outcome.steps, index: 0, begun: -1 };
      else this.#state = { ...this.#state, index: this.#state.index + 1, begun: -1 };
    }
    await this.#endByApplication(channel, 'NORMAL_CLEARING');
  }

  /**
   * The second leg of an earlier life, as far as it can be told: it may have ended meanwhile, or be answered.
   */
  #foundLeg({ bridging }: Adopted, saved: FlowState | undefined): LegWatch {
    const leg = this.#services.legs.resumed(this.call);
    const answeredAt =
      saved?.legAnsweredAt === undefined ? bridging?.connected && this.#now() : new Date(saved.legAnsweredAt);
    if (answeredAt) leg.answered(answeredAt);
    if (!bridging) leg.gone();
    return leg;
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
    const replacement = this.#course.takeReplacement();
    if (!replacement) return undefined;
    this.#services.calls.note(this.call, 'flow.replaced', {
      actions: replacement.map((step) => step.action),
    });
    return replacement;
  }

  /** Runs the next action; any but `reject` answers the call before. */
  async #step(parked: ParkedChannel, resumed: Resumed | undefined): Promise<Outcome> {
    const { call } = this;
    const { channel } = parked;
    const { calls, states } = this.#services;
    const state = this.#state;
    const step = state.steps[state.index];
    const action = step && ACTIONS.get(step.action);
    if (!action) throw new FlowFailure('internal_error', `unknown action ${step?.action}`);
    if (!channel.answered && step.action !== 'reject') {
      await admit(call, this.#services);
      await channel.answer();
      this.#reachable(channel);
      calls.answered(call);
    }
    const save = (): void => states.save(call.id, state);
    save();
    prepareNext(state, this.#services);
    return runStep({
      call,
      parked,
      state,
      course: this.#course,
      services: this.#services,
      step,
      action,
      resumed,
      replacement: () => this.#takeReplacement(),
      save,
      now: this.#now,
    });
  }

  async #askFirst(): Promise<Step[]> {
    const { call } = this;
    if (call.actions !== undefined) return parseActions(JSON.parse(call.actions));
    if (!call.answerUrl) throw new FlowFailure('answer_url_error', 'the application has no answer_url');
    return this.#services.ask({
      call,
      url: call.answerUrl,
      method: this.#services.answerMethodOf(call),
      gathered: undefined,
      signal: this.#course.signal(),
    });
  }

  async #fail(channel: Channel, error: unknown): Promise<void> {
    const { code, message, sipCode } = failureBy(error);
    if (isOurs(code)) this.#services.logger.error({ err: error, call: this.call.id }, 'a flow has failed');
    await this.#endChannel(channel, 'NORMAL_TEMPORARY_FAILURE', sipCode, {
      by: 'platform',
      failure: { code, message },
    });
  }

  async #refuse(channel: Channel, sipCode: number): Promise<void> {
    this.#course.intend({
      by: 'application',
      failure: { code: 'rejected', message: `refused by the application with ${sipCode}` },
    });
    await channel.refuse(sipCode).catch((error: unknown) => this.#tell(error));
  }

  /** A list without an action that answers ends unanswered: that is a refusal too. */
  async #endByApplication(
    channel: Channel,
    cause: HangupCause,
    by: Hangup['by'] = 'application',
  ): Promise<void> {
    if (!channel.answered) return this.#refuse(channel, 480);
    await this.#endChannel(channel, cause, 480, { by });
  }

  /**
   * Hangs an answered channel up, cancels one that is being dialled, and refuses any other with `sipCode`.
   */
  async #endChannel(channel: Channel, cause: HangupCause, sipCode: number, intent?: Intent): Promise<void> {
    if (intent) this.#course.intend(intent);
    const ending = channel.answered
      ? channel.hangup(cause)
      : this.call.direction === 'outbound'
        ? channel.hangup('ORIGINATOR_CANCEL')
        : channel.refuse(sipCode);
    await ending.catch((error: unknown) => this.#tell(error));
  }

  /**
   * A node that cannot even end a channel has lost it, or will be found to have: that ends the call's record.
   */
  #tell(error: unknown): void {
    if (!(error instanceof ChannelGone))
      this.#services.logger.warn({ err: error, call: this.call.id }, 'a channel could not be ended');
  }

  #finish(end: ChannelEnd): void {
    const { calls } = this.#services;
    // It may have ended in the moment between its answer and the record of that.
    if (this.#channel?.answered && !this.call.answeredAt) {
      this.#reachable(this.#channel);
      calls.answered(this.call, this.#channel.answeredAt);
    }
    calls.end(this.call, callEndingOf(this.call, end, this.#course.intent));
  }
}

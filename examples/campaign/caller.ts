import { judge, type Api, type Reply } from './api.ts';
import type { Outcomes } from './outcomes.ts';
import { Pace, type Clock } from './pace.ts';
import type { Recipient } from './recipients.ts';
import type { Result } from './results.ts';

interface Options {
  api: Api;
  outcomes: Outcomes;
  clock: Clock;
  campaignId: string;
  /** The number that is shown. */
  from: string;
  callsPerSecond: number;
  /** After so many ms without its last webhook a call is asked for. */
  patienceMs: number;
  /** For so many ms after a call's end `recording.completed` is waited for. */
  recordingMs: number;
  /** Something that the user should read. */
  note: (text: string) => void;
  /** A call is placed: from now on it must not be placed again. */
  onPlaced: (result: Result) => void;
}

const ENDS = ['call.completed', 'call.failed', 'call.canceled'];
/** So often a request is sent whose fate nobody knows; and so often one that has to wait. */
const MOST_FAILURES = 5;
const MOST_TRIES = 10_000;

/** Calls one recipient after the other, many at the same time, and says what became of each. */
export class Caller {
  readonly #o: Options;
  readonly #pace: Pace;
  readonly #stop = new AbortController();
  #why = '';

  constructor(options: Options) {
    this.#o = options;
    this.#pace = new Pace(options.callsPerSecond, this.#stop.signal, options.clock);
  }

  /**
   * No further calls; those under way are followed to their end.
   * @param code goes with everybody who is not called
   */
  stop(code: string, message: string): void {
    if (this.#why) return;
    this.#why = code;
    this.#o.note(`no further calls: ${message}`);
    this.#stop.abort();
  }

  /** @param callId of the call that a former run has placed without seeing its end: no other is placed */
  async call(recipient: Recipient, callId?: string): Promise<Result> {
    const placed = callId ? { call_id: callId, known: true } : await this.#place(recipient);
    if ('outcome' in placed) return { ...recipient, ...placed };
    const { call_id, known } = placed;
    this.#o.onPlaced({ ...recipient, call_id, outcome: 'unknown' });
    return { ...recipient, call_id, ...(await this.#follow(call_id, known)) };
  }

  /** Cost and recording, which come after a call's end. */
  async settle(result: Result): Promise<Result> {
    const { call_id: id, billsec_seconds, cost_amount } = result;
    if (!id || !Number(billsec_seconds) || cost_amount) return result;
    const { api, outcomes, clock, recordingMs } = this.#o;
    const recording = await outcomes.wait(id, ['recording.completed', 'recording.failed'], recordingMs);
    outcomes.forget(id);
    let { call } = await api.call(id);
    for (let tries = 1; !call?.cost_amount && tries < MOST_FAILURES; tries++) {
      await clock.sleep(1000);
      ({ call } = await api.call(id));
    }
    return {
      ...result,
      cost_amount: call?.cost_amount,
      cost_currency: call?.cost_currency,
      recording_url: recording?.data.file_url as string | undefined,
    };
  }

  /**
   * Asks for a call until there is one, or it is clear that there will be none. The Idempotency-Key is the
   * campaign's and the recipient's, so that nobody is called twice, however often this is asked, now or by
   * another run within 24 hours.
   */
  async #place({
    to,
    reference,
  }: Recipient): Promise<{ call_id: string; known: boolean } | Pick<Result, 'outcome' | 'code'>> {
    const { api, campaignId, from, note } = this.#o;
    const call = {
      from,
      to,
      metadata: { campaign_id: campaignId, ...(reference && { reference }) },
      record: true,
    };
    let unsure = false;
    try {
      for (let key = 1, failures = 0, tries = 0; tries < MOST_TRIES; tries++) {
        await this.#pace.turn();
        const reply = await api.placeCall(call, `${campaignId}:${to}:${key}`);
        const { code, message, replayed } = reply;
        const verdict = judge(reply);
        unsure = verdict === 'again' || code === 'idempotency_in_progress';
        if (verdict === 'placed' && reply.call) return { call_id: reply.call.id, known: replayed };
        if (verdict === 'failed') return { outcome: 'failed', code };
        if (verdict === 'again') {
          if (!replayed && ++failures === MOST_FAILURES) this.stop(code, message);
          if (replayed || failures === MOST_FAILURES) return { outcome: 'unknown', code };
          this.#wait({ ...reply, retryAfter: reply.retryAfter ?? 2 ** (failures - 1) });
        } else if (replayed) {
          // A refusal that is remembered from before. It has placed no call, so that the next key may ask
          // anew.
          key++;
        } else if (verdict === 'skip') {
          note(`${to}: ${message}`);
          return { outcome: 'skipped', code };
        } else if (verdict === 'stop') {
          this.stop(code, message);
          return { outcome: 'not_called', code };
        } else {
          this.#wait(reply);
        }
      }
      return { outcome: 'not_called', code: 'too_many_tries' };
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
      return { outcome: unsure ? 'unknown' : 'not_called', code: this.#why };
    }
  }

  /** Everybody waits: what one is told would be told to the others as well. */
  #wait({ retryAfter = 1, code, message }: Reply): void {
    this.#o.note(`waiting ${Math.ceil(retryAfter)} s: ${code}, ${message}`);
    this.#pace.pause(retryAfter);
  }

  /**
   * How the call ends: as its last webhook says or, where none comes, as the API does.
   * @param known since an earlier request: its webhook may be long gone
   */
  async #follow(id: string, known: boolean): Promise<Omit<Result, 'to'>> {
    const { api, outcomes, patienceMs } = this.#o;
    for (let wait = known ? 0 : patienceMs, failures = 0; ; wait = patienceMs) {
      const told = await outcomes.wait(id, ENDS, wait);
      if (told) return ending(told.call.status, told.data.code, told.data.billsec_seconds);
      const { status, call, code } = await api.call(id);
      if (call && ENDS.includes(`call.${call.status}`))
        return ending(call.status, call.failure?.code, call.billsec_seconds);
      if (status !== 200 && ++failures === MOST_FAILURES) return { outcome: 'unknown', code };
    }
  }
}

const ending = (status: string, code: unknown, seconds: unknown): Omit<Result, 'to'> => ({
  outcome: status as Result['outcome'],
  code: code as string | undefined,
  billsec_seconds: String((seconds as number | undefined) ?? 0),
});

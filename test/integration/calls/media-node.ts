import { randomUUID } from 'node:crypto';
import { deferred } from '../../../control/lib/deferred.ts';
import {
  ChannelGone,
  MediaError,
  type Channel,
  type ChannelEnd,
  type Dialing,
  type HangupCause,
  type LegRequest,
  type LegResult,
  type Media,
  type OriginateRequest,
  type ParkedChannel,
} from '../../../control/media/media.ts';

/** A second leg as it is on the wire. */
export interface SecondLine {
  number: string;
  /** Trunks it is tried on. */
  trunks: string[];
  answeredAt?: Date;
  endedAt?: Date;
}

const trunksOf = (uris: readonly string[]): string[] => uris.map((uri) => uri.split('@')[1] ?? '');
const numberOf = (uris: readonly string[]): string => /^sip:(.*)@/.exec(uris[0] ?? '')?.[1] ?? '';
const never = <T>(): Promise<T> => new Promise(() => undefined);

/** A channel as it is on the wire: it goes on whatever becomes of the process that looks after it. */
export class PhoneLine {
  readonly #node: MediaNode;
  readonly uuid: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly trunks: readonly string[];
  /** The channel as the process that is alive sees it. */
  handle: Handle | undefined;
  rang = false;
  trunkId: string | undefined;
  answeredAt: Date | undefined;
  end: ChannelEnd | undefined;
  /** A node plays on when nobody looks. */
  playing = false;
  leg: SecondLine | undefined;
  readonly legs: SecondLine[] = [];

  constructor(
    node: MediaNode,
    uuid: string,
    headers: Readonly<Record<string, string>>,
    trunks: readonly string[] = [],
  ) {
    this.#node = node;
    this.uuid = uuid;
    this.headers = headers;
    this.trunks = trunks;
  }

  get outbound(): boolean {
    return this.headers['direction'] === 'outbound';
  }

  get callId(): string {
    return this.headers['call-id'] ?? '';
  }

  now(): Date {
    return this.#node.now();
  }

  ring(trunk = 0): void {
    this.rang = true;
    this.trunkId = this.trunks[trunk % this.trunks.length];
    this.handle?.rings.resolve();
  }

  answer(trunk = 0): void {
    if (this.answeredAt || this.end) return;
    this.trunkId = this.trunks[trunk % this.trunks.length];
    this.answeredAt = this.#node.now();
    this.handle?.answers.resolve(true);
  }

  finish(by: ChannelEnd['by'], cause: string, sipCode?: number): void {
    if (this.end) return;
    // An answered call lasts for a moment at least.
    const at = new Date(Math.max(this.now().getTime(), (this.answeredAt?.getTime() ?? 0) + 1));
    this.end = { by, cause, at, ...(sipCode !== undefined && { sipCode }) };
    if (this.leg) this.leg.endedAt = this.now();
    this.leg = undefined;
    this.handle?.gone(this.end);
  }

  ringLeg(trunk: number): void {
    this.#legTrunk(trunk);
    this.handle?.legRequest?.onRinging?.();
  }

  answerLeg(trunk: number): void {
    if (!this.leg || this.leg.answeredAt) return;
    this.leg.answeredAt = this.#node.now();
    this.#legTrunk(trunk);
    this.handle?.legRequest?.onAnswered?.(randomUUID());
    this.handle?.legAnswers.resolve(true);
  }

  endLeg(result: Omit<LegResult, 'reached'>): void {
    const { leg } = this;
    if (!leg) return;
    leg.endedAt = this.#node.now();
    this.leg = undefined;
    this.handle?.legEnds.resolve({ reached: leg.answeredAt !== undefined, ...result });
  }

  #legTrunk(trunk: number): void {
    const id = this.leg?.trunks[trunk % this.leg.trunks.length];
    if (id !== undefined) this.handle?.legRequest?.onTrunk?.(id);
  }
}

/** A channel in the hands of one process. What a dead one asks for is not heard, and it hears of nothing. */
class Handle implements Channel {
  readonly #line: PhoneLine;
  readonly #view: View;
  readonly node = 'node:5080';
  readonly #ended = deferred<ChannelEnd>();
  readonly rings = deferred<void>();
  readonly answers = deferred<boolean>();
  playEnds = deferred<'finished' | 'stopped'>();
  legRequest: LegRequest | undefined;
  legAnswers = deferred<boolean>();
  legEnds = deferred<LegResult>();

  constructor(line: PhoneLine, view: View) {
    this.#line = line;
    this.#view = view;
    if (line.rang) this.rings.resolve();
  }

  get uuid(): string {
    return this.#line.uuid;
  }
  get answered(): boolean {
    return this.#line.answeredAt !== undefined;
  }
  get answeredAt(): Date | undefined {
    return this.#line.answeredAt;
  }
  get ended(): Promise<ChannelEnd> {
    return this.#ended.promise;
  }
  get ringing(): Promise<void> {
    return this.rings.promise;
  }
  trunkId(): string | undefined {
    return this.#line.trunkId;
  }

  gone(end: ChannelEnd): void {
    for (const waiting of [this.playEnds, this.legEnds]) {
      waiting.promise.catch(() => undefined);
      waiting.reject(new ChannelGone(this.uuid));
    }
    this.legAnswers.resolve(false);
    this.answers.resolve(false);
    this.#ended.resolve(end);
  }

  answer = (): Promise<void> => this.#does(() => void (this.#line.answeredAt = this.#line.now()));
  hangup = (cause: HangupCause): Promise<void> => this.#does(() => this.#line.finish('platform', cause));
  refuse = (sipCode: number): Promise<void> =>
    this.#does(() => this.#line.finish('platform', 'CALL_REJECTED', sipCode));
  interrupt = (): Promise<void> =>
    this.#does(() => {
      this.#line.playing = false;
      this.#line.endLeg({ cause: 'ORIGINATOR_CANCEL', endedBy: 'platform' });
      this.playEnds.resolve('stopped');
    });

  /** Silence, for as long as nothing interrupts it. */
  async play(): Promise<'finished' | 'stopped'> {
    await this.#does(() => {
      this.#line.playing = true;
      this.playEnds = deferred();
    });
    return this.playEnds.promise;
  }

  async bridge(request: LegRequest): Promise<LegResult> {
    await this.#does(() => {
      const leg: SecondLine = { number: numberOf(request.uris), trunks: trunksOf(request.uris) };
      this.#line.leg = leg;
      this.#line.legs.push(leg);
      this.legRequest = request;
      this.legEnds = deferred();
    });
    return this.legEnds.promise;
  }

  stopPlaying = (): Promise<void> => this.#unused();
  onDigit = (): (() => void) => () => undefined;
  sendDigits = (): Promise<void> => this.#unused();
  mute = (): Promise<void> => this.#unused();
  unmute = (): Promise<void> => this.#unused();
  hold = (): Promise<void> => this.#unused();
  resume = (): Promise<void> => this.#unused();
  conference = (): Promise<never> => this.#unused();
  renegotiate = (): Promise<void> => this.#unused();
  startRecording = (): Promise<void> => this.#unused();
  stopRecording = (): Promise<void> => this.#unused();
  #unused = (): Promise<never> => Promise.reject(new MediaError('no flow here does that'));

  async #does(what: () => void): Promise<void> {
    if (!this.#view.alive) return never();
    if (this.#line.end) throw new ChannelGone(this.uuid);
    what();
  }
}

/** The media node's side of one life of a control process. */
export class View implements Pick<Media, 'start' | 'originate' | 'mayHave' | 'reconciled'> {
  readonly #node: MediaNode;
  readonly #instance: number;
  readonly #reconciled = deferred<void>();
  #onParked: (parked: ParkedChannel) => void = () => undefined;
  alive = true;

  constructor(node: MediaNode, instance: number) {
    this.#node = node;
    this.#instance = instance;
  }

  get reconciled(): Promise<void> {
    return this.#reconciled.promise;
  }

  start(onParked: (parked: ParkedChannel) => void): void {
    this.#onParked = onParked;
    for (const line of this.#node.live()) {
      if (line.headers['owner'] !== String(this.#instance)) continue;
      const parked = this.#take(line);
      const handle = line.handle;
      if (!handle) continue;
      if (line.outbound && !line.answeredAt)
        parked.adopted = {
          dialing: { ringing: handle.ringing, answered: handle.answers.promise, trunkId: () => line.trunkId },
        };
      else if (line.leg)
        parked.adopted = {
          bridging: {
            connected: line.leg.answeredAt !== undefined,
            answered: handle.legAnswers.promise,
            finished: handle.legEnds.promise,
          },
        };
      else
        parked.adopted = {
          ...(line.playing && { playing: { source: 'silence', finished: handle.playEnds.promise } }),
          ...(line.trunkId !== undefined && { trunkId: line.trunkId }),
        };
      onParked(parked);
    }
    this.#reconciled.resolve();
  }

  async originate({ uuid, uris, headers }: OriginateRequest): Promise<Dialing> {
    this.#node.asked++;
    await this.#node.gate;
    if (!this.alive) return never();
    if (this.#node.refuses > 0) {
      this.#node.refuses--;
      throw new MediaError('no media node is connected');
    }
    const named = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toLowerCase().replace('x-mv-', ''), value]),
    );
    const line = new PhoneLine(this.#node, uuid, named, trunksOf(uris));
    this.#node.lines.push(line);
    const parked = this.#take(line);
    const { handle } = line;
    if (!handle) throw new Error('there is no handle');
    return { parked, ringing: handle.ringing, answered: handle.answers.promise, trunkId: () => line.trunkId };
  }

  /** Somebody calls. */
  receives(line: PhoneLine): void {
    this.#node.lines.push(line);
    this.#onParked(this.#take(line));
  }

  mayHave(uuid: string): boolean {
    return this.#node.live().some((line) => line.uuid === uuid);
  }

  #take(line: PhoneLine): ParkedChannel {
    const handle = new Handle(line, this);
    line.handle = handle;
    return {
      channel: handle,
      headers: line.headers,
      dialog: { callId: line.uuid, fromTag: 'a', toTag: 'b' },
    };
  }

  /** The process has died: its channels go on without it. */
  kill(): void {
    this.alive = false;
    for (const line of this.#node.live())
      if (line.headers['owner'] === String(this.#instance)) line.handle = undefined;
  }
}

/** A media node without media: the calls there really are. */
export class MediaNode {
  readonly lines: PhoneLine[] = [];
  readonly now: () => Date;
  /** So many calls to be placed are refused from here on. */
  refuses = 0;
  /** How many calls were to be placed. */
  asked = 0;
  /** They are once it resolves. */
  gate: Promise<void> | undefined;

  constructor(now: () => Date) {
    this.now = now;
  }

  live(): PhoneLine[] {
    return this.lines.filter(({ end }) => !end);
  }
}

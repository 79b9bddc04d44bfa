import type { FrameClock } from '../rtp/clock.ts';
import type { PortRange } from '../rtp/ports.ts';
import { RtpSession } from '../rtp/session.ts';
import type { Digit } from '../rtp/telephone-event.ts';
import { answerSdp, chooseAudio, offerSdp, parseSdp, type Codec, type SdpOrigin } from '../sip/sdp.ts';

/** What a leg needs of the node for its audio. */
export interface MediaResources {
  ip: string;
  ports: PortRange;
  clock: FrameClock;
}

/** The audio of one leg and what the two sides have said about it. */
export class LegMedia {
  readonly #resources: MediaResources;
  readonly #origin: SdpOrigin;
  readonly #onDigit: (digit: Digit) => void;
  #rtp: RtpSession | undefined;
  #localSdp = '';
  #closed = false;
  #settle: () => void = () => {};
  /** Settles when the audio is agreed on, or never will be. */
  readonly settled: Promise<void> = new Promise((resolve) => (this.#settle = resolve));

  constructor(resources: MediaResources, onDigit: (digit: Digit) => void) {
    const id = Math.floor(Date.now() / 1000);
    this.#origin = { id, version: id, address: resources.ip };
    this.#resources = resources;
    this.#onDigit = onDigit;
  }

  get rtp(): RtpSession | undefined {
    return this.#rtp;
  }

  get localSdp(): string {
    return this.#localSdp;
  }

  /** @throws Error without a free port */
  async open(): Promise<void> {
    if (this.#rtp) return;
    const { ip, ports, clock } = this.#resources;
    const rtp = await RtpSession.open(ip, ports, clock, this.#onDigit);
    if (this.#closed || this.#rtp) rtp.close();
    else this.#rtp = rtp;
  }

  /** Takes an offer. @returns our answer, or undefined when there is nothing in it that can be spoken here */
  answer(offer: Buffer): string | undefined {
    const description = parseSdp(offer.toString('latin1'));
    const chosen = description && chooseAudio(description);
    if (!description || !chosen || !this.#rtp) return undefined;
    if (this.#localSdp) this.#origin.version++;
    this.#rtp.agree(chosen.agreement);
    this.#localSdp = answerSdp(description, chosen, this.#origin, this.#rtp.port);
    this.#settle();
    return this.#localSdp;
  }

  /** Our own offer, one codec before the other. */
  offer(first: Codec = 'PCMU'): string {
    if (this.#localSdp) this.#origin.version++;
    return (this.#localSdp = this.#rtp ? offerSdp(this.#origin, this.#rtp.port, first) : '');
  }

  /** Takes the answer to our offer. @returns false when it is none we can live with */
  accept(answer: Buffer): boolean {
    const description = parseSdp(answer.toString('latin1'));
    const chosen = description && chooseAudio(description, true);
    if (!chosen || !this.#rtp) return false;
    this.#rtp.agree(chosen.agreement);
    this.#settle();
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#rtp?.close();
    this.#settle();
  }
}

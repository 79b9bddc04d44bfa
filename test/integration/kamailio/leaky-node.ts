import { Dialog } from '../../support/dialog.ts';
import { writeSdp } from '../../support/sdp.ts';
import type { HeaderLine, HostPort, SipMessage } from '../../../cli/phone/sip-message.ts';
import { random, Wire } from '../../support/wire.ts';

/**
 * Answers every call, and writes its own address, its make and our secrets into whatever a SIP message has
 * room for.
 */
export class LeakyNode {
  readonly wire: Wire;
  dialog: Dialog | undefined;
  /** Answers the INVITE with this; 200 if not given. */
  refusal: string | undefined;
  readonly #port: number;

  private constructor(wire: Wire) {
    this.wire = wire;
    this.#port = wire.port;
    wire.onRequest = (request, from) => this.#handle(request, from);
  }

  static async open(address: string, port = 0): Promise<LeakyNode> {
    return new LeakyNode(await Wire.open(address, port, 'udp'));
  }

  get leaks(): HeaderLine[] {
    const me = `${this.wire.address}:${this.#port}`;
    return [
      ['Contact', `"FreeSWITCH" <sip:mod_sofia@${me};transport=udp>;+sip.instance="<urn:uuid:leak>"`],
      ['Server', 'FreeSWITCH-mod_sofia/1.10.12'],
      ['User-Agent', 'FreeSWITCH'],
      ['Remote-Party-ID', `"x" <sip:+4930@${me}>;party=calling`],
      ['P-Asserted-Identity', `<sip:+4930@${me}>`],
      ['P-Preferred-Identity', `<sip:+4930@${me}>`],
      ['Diversion', `<sip:+4930@${me}>;reason=unknown`],
      ['History-Info', `<sip:+4930@${me}>;index=1`],
      ['Warning', `399 ${me} "leak"`],
      ['Call-Info', `<http://${me}/x>`],
      ['Alert-Info', `<http://${me}/ring>`],
      ['Error-Info', `<sip:x@${me}>`],
      ['X-MV-Call-ID', 'call_secret'],
      ['X-FS-Support', 'leak'],
      ['Organization', me],
      ['Reply-To', `<sip:x@${me}>`],
      ['P-Charging-Vector', `icid-value=1;orig-ioi=${me}`],
      ['Geolocation', `<http://${me}/>`],
      ['Referred-By', `<sip:x@${me}>`],
      ['Path', `<sip:${me}>`],
      ['Service-Route', `<sip:${me}>`],
      ['Allow', 'INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO'],
      ['Supported', 'timer'],
    ];
  }

  /** An SDP with the address in every line that may have one. */
  get sdp(): string {
    const { address } = this.wire;
    return `${writeSdp(
      { host: address, port: 40000 },
      { codecs: ['PCMU'], eventType: 101, direction: 'sendrecv', session: 7, version: 1 },
    )
      .replace(/^o=\S+/m, 'o=FreeSWITCH')
      .replace(
        /^s=.*$/m,
        's=FreeSWITCH',
      )}a=rtcp:40001 IN IP4 ${address}\r\na=tool:FreeSWITCH\r\na=candidate:1 1 UDP 1 ${address} 40000 typ host\r\n`;
  }

  /** A request within the dialog; resolves with the code of its final response. */
  async request(method: string, body = ''): Promise<number> {
    const { dialog } = this;
    if (!dialog) throw new Error('nobody has called');
    const headers = dialog.headers(method).filter(([name]) => !['Contact', 'User-Agent'].includes(name));
    let code = 0;
    const line = `${method} ${dialog.target} SIP/2.0`;
    this.wire.request(line, [...headers, ...this.leaks, ...typeOf(body)], body, dialog.hop, (response) => {
      if ((response.code ?? 0) < 200) return;
      if (method === 'INVITE' && response.code === 200)
        this.wire.request(
          line.replace(method, 'ACK'),
          [...dialog.headers('ACK', response).filter(([name]) => name !== 'Contact'), ...this.leaks],
          '',
          dialog.hop,
          () => undefined,
        );
      code = response.code ?? 0;
    });
    return this.wire.until(() => code || undefined, `an answer to ${method}`);
  }

  async close(): Promise<void> {
    await this.wire.close();
  }

  #handle(request: SipMessage, from: HostPort): void {
    const tag = this.dialog?.localTag ?? random();
    const respond = (status: string, body = ''): string =>
      this.wire.respond(request, from, status, [...this.leaks, ...typeOf(body)], body, tag);
    if (request.method === 'ACK') return;
    if (request.method !== 'INVITE') return void respond('200 OK');
    if (this.dialog) return void respond('200 OK', this.sdp);
    if (this.refusal) return void respond(this.refusal);
    const dialog = new Dialog(
      request.headers.find(([name]) => name === 'Call-ID')?.[1] ?? '',
      tag,
      `<sip:mod_sofia@${this.wire.address}:${this.#port}>`,
    );
    dialog.calledBy(request);
    this.dialog = dialog;
    respond('180 Ringing');
    respond('183 Session Progress', this.sdp);
    respond('200 OK', this.sdp);
  }
}

const typeOf = (body: string): HeaderLine[] => (body ? [['Content-Type', 'application/sdp']] : []);

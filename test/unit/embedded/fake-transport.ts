import { parseMessage, type SipMessage } from '../../../freeswitch/embedded/sip/message.ts';
import { SipTransport, type Peer } from '../../../freeswitch/embedded/sip/transport.ts';

/** A transport that keeps what is sent. */
export class FakeTransport extends SipTransport {
  readonly sent: { message: SipMessage; peer: Peer }[] = [];

  override send(message: SipMessage | Buffer, peer: Peer): void {
    this.sent.push({ message: Buffer.isBuffer(message) ? parseMessage(message) : message, peer });
  }
}

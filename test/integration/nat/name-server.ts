import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** What a name has: addresses, or targets of SRV as `priority weight port host`. */
export type Zone = Record<
  string,
  { a?: string[]; srv?: [priority: number, weight: number, port: number, host: string][] }
>;

const A = 1;
const SRV = 33;

/** A small name server over UDP (RFC 1035, RFC 2782), for the names of a test. */
export class NameServer {
  /** The names it was asked for, with the type. */
  readonly asked: string[] = [];
  readonly #socket: Socket;
  readonly #zone: Zone;

  private constructor(socket: Socket, zone: Zone) {
    this.#socket = socket;
    this.#zone = zone;
    socket.on('message', (query, from) => {
      const answer = this.#answer(query);
      if (answer) socket.send(answer, from.port, from.address);
    });
    socket.on('error', () => undefined);
  }

  static async open(address: string, zone: Zone): Promise<NameServer> {
    const socket = createSocket('udp4');
    socket.bind(53, address);
    await once(socket, 'listening');
    return new NameServer(socket, zone);
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const type = query.readUInt16BE(at + 1);
    const name = labels.join('.').toLowerCase();
    this.asked.push(`${name} ${type === A ? 'A' : type === SRV ? 'SRV' : type}`);
    const known = this.#zone[name];
    const data =
      type === A
        ? (known?.a ?? []).map((address) => Buffer.from(address.split('.').map(Number)))
        : type === SRV
          ? (known?.srv ?? []).map(([priority, weight, port, host]) =>
              Buffer.concat([words(priority, weight, port), written(host)]),
            )
          : [];
    const records = data.map((one) => Buffer.concat([words(0xc00c, type, 1, 0, 60, one.length), one]));
    // An answer with authority, and NXDOMAIN for a name there is not.
    const head = Buffer.concat([
      query.subarray(0, 2),
      words(known ? 0x8580 : 0x8583, 1, records.length, 0, 0),
    ]);
    return Buffer.concat([head, query.subarray(12, at + 5), ...records]);
  }
}

function words(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 2);
  values.forEach((value, i) => buffer.writeUInt16BE(value, i * 2));
  return buffer;
}

const written = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);

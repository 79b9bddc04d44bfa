import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A way to a server on this machine that can be cut. */
export class Line {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** While true nobody gets through. */
  cut = false;
  #losing: string | undefined;
  #hung: (() => void)[] | undefined;

  constructor(port: number) {
    this.#server = createServer((inside) => {
      if (this.cut) return inside.destroy();
      const outside = connect(port, '127.0.0.1');
      for (const socket of [inside, outside]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => {
          this.#sockets.delete(socket);
          inside.destroy();
          outside.destroy();
        });
      }
      inside.on('data', (data) => {
        if (this.#losing !== undefined && data.includes(this.#losing)) {
          this.#losing = undefined;
          // What it asks for is done, and it never hears of it.
          outside.unpipe(inside).once('data', () => inside.destroy()).resume();
        }
        if (this.#hung) return void this.#hung.push(() => outside.write(data));
        outside.write(data);
      }).on('end', () => outside.end());
      outside.pipe(inside);
    });
  }

  listen = (): Promise<number> => new Promise((resolve) => this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as AddressInfo).port)));

  /** Ends every connection, and lets none through until `cut` is false again. */
  drop(): void {
    this.cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Ends the connection on which this text is sent next, once the server has answered it. */
  loseReplyTo(text: string): void {
    this.#losing = text;
  }

  /** From now on the server does not hear what is said, until `goOn`. */
  hang(): void {
    this.#hung = [];
  }

  /** The server hears it all, late. */
  goOn(): void {
    const unheard = this.#hung ?? [];
    this.#hung = undefined;
    for (const say of unheard) say();
  }

  close(): void {
    this.drop();
    this.#server.close();
  }
}

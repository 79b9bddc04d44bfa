import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A way to a server on this machine that can be cut. */
export class Line {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** While true nobody gets through. */
  cut = false;
  #losing: { text: string; after: string } | undefined;
  #hung: (() => void)[] | undefined;

  constructor(port: number) {
    this.#server = createServer((inside) => {
      if (this.cut) return inside.destroy();
      const outside = connect(port, '127.0.0.1');
      for (const socket of [inside, outside]) {
        this.#sockets.add(socket);
        socket
          .on('error', () => undefined)
          .on('close', () => {
            this.#sockets.delete(socket);
            inside.destroy();
            outside.destroy();
          });
      }
      let sent = '';
      inside
        .on('data', (data) => {
          if (this.#losing) sent += data.toString('latin1');
          if (this.#losing && data.includes(this.#losing.text) && sent.includes(this.#losing.after)) {
            this.#losing = undefined;
            // What it asks for is done, and it never hears of it.
            outside
              .unpipe(inside)
              .once('data', () => inside.destroy())
              .resume();
          }
          if (this.#hung) return void this.#hung.push(() => outside.write(data));
          outside.write(data);
        })
        .on('end', () => outside.end());
      outside.pipe(inside);
    });
  }

  listen = (): Promise<number> =>
    new Promise((resolve) =>
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as AddressInfo).port)),
    );

  /** Ends every connection, and lets none through until `cut` is false again. */
  drop(): void {
    this.cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * Ends the connection on which this text is sent next, once the server has answered it.
   * @param after of the connection on which this one has been sent before, from now on
   */
  loseReplyTo(text: string, after = ''): void {
    this.#losing = { text, after };
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

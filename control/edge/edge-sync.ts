import type { Logger } from '../lib/logger.ts';
import type { Directory, Touched } from '../directory/directory.ts';
import { RpcSilence, type KamailioRpc } from './kamailio-rpc.ts';
import { PieceStates } from './piece-states.ts';
import { MANY, PIECES, Pieces, type Changed, type PieceChange } from './pieces.ts';
import { TableRequests } from './table-requests.ts';

/** How often a Kamailio is asked whether it still holds its tables: one that was restarted does not. */
const HEARTBEAT_MS = 1000;
/**
 * With each heartbeat so many pieces are compared: all of them in two minutes, so that whatever went astray
 * heals.
 */
const PATROL = 32;
/** Pieces, and entries in them, that are compared in one request, which takes Kamailio some 2 ms. */
const BATCH = { pieces: 64, entries: 500 };
/** Entries that are pushed before one looks whether something urgent has come up: about a request. */
const PART = 120;
/** Requests without a reply in a row that mean more than that a Kamailio is busy. */
const SILENT = 3;
/** How often a piece is tried anew at once when another process changes it at the same time. */
const TRIES = 3;
/** To one who holds nothing. */
const EVERYTHING: Changed = { names: new Set(), all: true };

/**
 * Keeps the hash tables of one Kamailio equal to the directory, piece by piece. After a start of either of
 * the two all pieces are compared, and those that differ are pushed; from then on what changes, before
 * anything else. A change is bound to the digest that was held before: a process that knows less than another
 * one finds out, and reads the database first.
 */
export class EdgeSync {
  readonly #rpc: KamailioRpc;
  readonly #directory: Directory;
  readonly #logger: Logger;
  readonly #pieces: Pieces;
  readonly #states: PieceStates;
  readonly #requests: TableRequests;
  /** The start of Kamailio that the states are about. */
  #boot: string | undefined;
  #patrol = 0;
  #nextLook = 0;
  #silent = 0;
  #reachable: boolean | undefined;
  /** Since when all pieces are being compared, and how many requests and entries there had been. */
  #begun: { at: number; requests: number; entries: number } | undefined;
  /** Those who wait for what is urgent, and for everything. */
  #waiting: (() => void)[] = [];
  #waitingForAll: (() => void)[] = [];
  #pushing = false;
  /**
   * Another process pushes something else at the same time: for that one's news there is time until the next
   * heartbeat.
   */
  #contended = false;
  #wake: () => void = () => undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  /** @param token the secret shared with Kamailio. */
  constructor(rpc: KamailioRpc, directory: Directory, token: string, logger: Logger) {
    this.#rpc = rpc;
    this.#directory = directory;
    this.#logger = logger.child({ kamailio: rpc.url });
    this.#pieces = new Pieces(directory, token, this.#logger);
    this.#states = new PieceStates(this.#pieces);
    this.#requests = new TableRequests(rpc);
    directory.listen((touched) => {
      this.#states.touched(touched);
      this.#wake();
    });
  }

  get url(): string {
    return this.#rpc.url;
  }

  /**
   * Whether it is there and everything has been pushed to it since its start: what changes is on its way
   * within moments.
   */
  get synced(): boolean {
    return this.#reachable === true && this.#requests.state?.complete === true;
  }

  /** Pieces that are not known to be as they should, of how many; and what has been sent so far. */
  get counters(): { due: number; pieces: number; requests: number; entries: number } {
    return { due: this.#states.open, pieces: PIECES, ...this.#requests.counters };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    this.#release();
    await this.#running;
    this.#rpc.close();
  }

  /**
   * Brings what has changed in the directory to Kamailio; without an argument everything that differs.
   * Resolves in any case; what fails is repaired by the heartbeat.
   */
  push(touched?: Touched): Promise<void> {
    if (touched === undefined) {
      this.#pieces.forget();
      this.#states.forget();
    }
    if (!this.#running || this.#stopped) return Promise.resolve();
    const few = touched && touched.numbers.length <= MANY;
    if (few && this.#states.urgent === 0 && !this.#pushing) return Promise.resolve();
    const done = new Promise<void>((resolve) => (few ? this.#waiting : this.#waitingForAll).push(resolve));
    this.#wake();
    return done;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        if (this.#states.urgent > 0 && this.#boot !== undefined) await this.#pushUrgent();
        else if (Date.now() >= this.#nextLook) await this.#look();
        else if (this.#states.due > 0) await this.#bring(this.#states.next('due', BATCH));
        else await this.#settled();
        this.#silent = 0;
        this.#reachable = true;
        // It has been started anew: the next heartbeat, which is at once, has everything compared.
        if (this.#requests.state?.boot !== this.#boot) this.#boot = undefined;
        if (this.#boot === undefined) this.#nextLook = 0;
        if (this.#contended) await this.#sleep(HEARTBEAT_MS);
        this.#contended = false;
      } catch (error) {
        this.#failed(error);
        await this.#sleep(HEARTBEAT_MS);
      }
    }
  }

  /** Nothing is left to do before the next heartbeat. */
  async #settled(): Promise<void> {
    if (this.#requests.state?.complete === false) {
      await this.#rpc.call('htable.sets', ['edge', 'synced', new Date().toISOString()]);
      this.#requests.state = { ...this.#requests.state, complete: true };
    }
    if (this.#states.open > 0) return;
    if (this.#begun) {
      const { at, requests, entries } = this.#begun;
      const { counters } = this.#requests;
      this.#begun = undefined;
      const sent = {
        requests: counters.requests - requests,
        entries: counters.entries - entries,
        ms: Math.round(performance.now() - at),
      };
      this.#logger.info(sent, 'kamailio has its tables');
    }
    this.#release();
    await this.#sleep(this.#nextLook - Date.now());
  }

  #failed(error: unknown): void {
    if (!(error instanceof RpcSilence) || ++this.#silent >= SILENT) {
      if (this.#reachable !== false && !this.#stopped)
        this.#logger.warn({ err: error }, 'kamailio cannot be brought up to date; trying on');
      this.#reachable = false;
      this.#begun ??= { at: performance.now(), ...this.#requests.counters };
    }
    this.#states.silence();
    this.#nextLook = 0;
    this.#release();
  }

  #sleep(ms: number): Promise<void> {
    if (this.#stopped || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #release(): void {
    for (const resolve of [...this.#waiting.splice(0), ...this.#waitingForAll.splice(0)]) resolve();
  }

  /**
   * The heartbeat: whether it is still the one that was filled, and whether some pieces are still as they
   * were.
   */
  async #look(): Promise<void> {
    const digests = new Map<number, string>();
    const idle = this.#boot !== undefined && this.#states.open === 0;
    for (
      let entries = 0;
      idle && digests.size < PATROL && entries < BATCH.entries;
      this.#patrol = (this.#patrol + 1) % PIECES
    ) {
      digests.set(this.#patrol, this.#pieces.digestOf(this.#patrol));
      entries += this.#pieces.sizeOf(this.#patrol);
    }
    if (!idle) digests.set(0, this.#pieces.digestOf(0));
    const found = await this.#requests.check(digests);
    this.#nextLook = Date.now() + HEARTBEAT_MS;
    if (this.#requests.state?.boot === this.#boot) {
      // Unless it has changed here meanwhile, which is known.
      for (const piece of found.keys())
        if (idle && digests.get(piece) === this.#pieces.digestOf(piece)) this.#states.unknown(piece);
      return;
    }
    this.#boot = this.#requests.state?.boot;
    this.#begun ??= { at: performance.now(), ...this.#requests.counters };
    this.#states.forget();
  }

  async #pushUrgent(): Promise<void> {
    const pieces = this.#states.next('urgent', BATCH);
    const served = pieces.length === this.#states.urgent ? this.#waiting.splice(0) : [];
    this.#pushing = true;
    try {
      await this.#bring(pieces);
    } finally {
      this.#pushing = false;
      for (const resolve of served) resolve();
    }
  }

  /** What has changed of pieces whose digest is known goes at once; the others are compared. */
  async #bring(pieces: readonly number[]): Promise<void> {
    const changes: PieceChange[] = [];
    const unknown: number[] = [];
    for (const piece of pieces) {
      const held = this.#states.heldOf(piece);
      if (held) changes.push(this.#pieces.changeOf(piece, held.digest, held.changed));
      else unknown.push(piece);
    }
    await this.#push(changes);
    if (unknown.length > 0) await this.#compare(unknown);
  }

  /** Compares pieces, and pushes those that differ. */
  async #compare(pieces: readonly number[], tries = TRIES): Promise<void> {
    const digests = new Map(pieces.map((piece) => [piece, this.#pieces.digestOf(piece)]));
    for (const piece of pieces) this.#states.asked(piece);
    const found = await this.#requests.check(digests);
    const different: number[] = [];
    for (const [piece, digest] of digests) {
      if (!found.has(piece)) this.#states.isHeld(piece, digest);
      else if (found.get(piece) !== '') different.push(piece);
    }
    const mended = await this.#mended(different);
    const missing = [...found]
      .filter(([, held]) => held === '')
      .map(([piece]) => this.#pieces.changeOf(piece, '', EVERYTHING));
    await this.#push([...missing, ...mended], tries);
  }

  /**
   * Something else is held of these: of what is held and should not be, or should be and is not, the database
   * knows.
   */
  async #mended(pieces: readonly number[]): Promise<PieceChange[]> {
    const held = new Map<number, { held: string; names: string[] }>();
    const numbers = new Set<string>();
    for (const piece of pieces) {
      const found = await this.#requests.entries(piece);
      held.set(piece, found);
      const known = this.#pieces.numbersOf(piece);
      if (known)
        for (const number of [...known, ...found.names.map((name) => name.slice(1))]) numbers.add(number);
    }
    if (pieces.length > 0)
      await this.#directory.reread(
        [...numbers],
        pieces.some((piece) => !this.#pieces.numbersOf(piece)),
      );
    return [...held].map(([piece, found]) => {
      const names = new Set([...this.#pieces.entriesOf(piece).keys(), ...found.names]);
      return this.#pieces.changeOf(piece, found.held, { names, all: false });
    });
  }

  async #push(changes: readonly PieceChange[], tries = TRIES): Promise<void> {
    const others: number[] = [];
    for (const some of inParts(changes)) {
      // Pieces of these changes may be among the urgent ones: then they are held already, or something else
      // is, and are compared.
      if (this.#states.urgent > 0 && !this.#pushing) await this.#pushUrgent();
      for (const { piece } of some) this.#states.pushed(piece);
      const results = await this.#requests.push(some);
      some.forEach(({ piece, after }, i) => {
        if (results[i] !== 'other') return this.#states.isHeld(piece, after);
        this.#states.unknown(piece);
        others.push(piece);
      });
    }
    if (others.length === 0) return;
    if (tries > 1) await this.#compare(others, tries - 1);
    else this.#contended = true;
  }
}

/** Changes that make about one request each. */
function inParts(changes: readonly PieceChange[]): PieceChange[][] {
  const parts: PieceChange[][] = [];
  let entries = PART;
  for (const change of changes) {
    if (entries >= PART) {
      parts.push([]);
      entries = 0;
    }
    parts.at(-1)?.push(change);
    entries += change.entries.size;
  }
  return parts;
}

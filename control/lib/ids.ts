export type IdPrefix =
  'app' | 'call' | 'cust' | 'did' | 'evt' | 'rate' | 'req' | 'stream' | 'trunk' | 'txn' | 'whd';

/**
 * Makes ids such as `call_20260529T120000.123456789`: prefix, compact UTC time, nine fractional digits. Six
 * of them are microseconds; of the last three, the first is the control instance (0..9) and two are a
 * sequence within the microsecond, so that ids are unique across instances and grow with time.
 */
export class Ids {
  readonly #instance: number;
  readonly #now: () => number;
  #lastMicros = 0;
  #sequence = 0;

  /** @param now time in milliseconds since the epoch, fractions allowed. */
  constructor(instance: number, now: () => number = () => performance.timeOrigin + performance.now()) {
    if (!Number.isInteger(instance) || instance < 0 || instance > 9)
      throw new RangeError('instance must be 0..9');
    this.#instance = instance;
    this.#now = now;
  }

  next(prefix: IdPrefix): string {
    this.#tick();
    const ms = Math.floor(this.#lastMicros / 1000);
    const compact = new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
    const fraction = String(this.#lastMicros % 1_000_000).padStart(6, '0');
    return `${prefix}_${compact}.${fraction}${this.#discriminator()}`;
  }

  /**
   * The same as a number in decimal (fits a signed 64-bit integer), for rows that need order and uniqueness
   * but no name.
   */
  number(): string {
    this.#tick();
    return `${this.#lastMicros}${this.#discriminator()}`;
  }

  #tick(): void {
    const micros = Math.floor(this.#now() * 1000);
    if (micros > this.#lastMicros) {
      this.#lastMicros = micros;
      this.#sequence = 0;
    } else if (++this.#sequence > 99) {
      this.#lastMicros++;
      this.#sequence = 0;
    }
  }

  #discriminator(): string {
    return `${this.#instance}${String(this.#sequence).padStart(2, '0')}`;
  }
}

/** The control process that made an id: the first of its last three digits. */
export const instanceOf = (id: string): number => Number(id.at(-3));

/** The smallest id that can have been made at or after this time, for ranges of ids. */
export const firstIdAt = (prefix: IdPrefix, at: Date): string =>
  `${prefix}_${at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}.${String(at.getMilliseconds()).padStart(3, '0')}000000`;

/** The time inside an id, at millisecond precision, or undefined where it holds none. */
export function timeOfId(id: string): Date | undefined {
  const match = /^[a-z]+_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})\d{6}$/.exec(id);
  if (!match) return undefined;
  const [, y, mo, d, h, mi, s, ms] = match.map(Number);
  return new Date(Date.UTC(y ?? 0, (mo ?? 1) - 1, d, h, mi, s, ms));
}

import type { Result } from './results.ts';

export interface Output {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const WIDTH = 30;

/** Shows how far a campaign is: a bar on a terminal, a line for each call everywhere else. */
export class Progress {
  readonly #out: Output;
  readonly #total: number;
  readonly #counts = new Map<string, number>();
  #underWay = 0;
  #done = 0;

  constructor(out: Output, total: number) {
    this.#out = out;
    this.#total = total;
  }

  begin(): void {
    this.#underWay++;
    this.#draw();
  }

  end({ to, outcome, code, billsec_seconds: seconds }: Result): void {
    this.#underWay--;
    this.#done++;
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1);
    if (!this.#out.isTTY && outcome !== 'not_called')
      this.say(`${to} ${outcome}${code ? `: ${code}` : ''}${Number(seconds) ? `, ${seconds} s` : ''}`);
    this.#draw();
  }

  /** A line that stays. */
  say(text: string): void {
    this.#out.write(`${this.#clear}${text}\n`);
    this.#draw();
  }

  /** The bar goes away. */
  close(): void {
    this.#out.write(this.#clear);
  }

  get #clear(): string {
    return this.#out.isTTY ? '\r\u001b[2K' : '';
  }

  #draw(): void {
    if (!this.#out.isTTY) return;
    const full = Math.floor((WIDTH * this.#done) / Math.max(1, this.#total));
    const counts = [...this.#counts].map(([outcome, count]) => `${outcome} ${count}`);
    const bar = `[${'#'.repeat(full).padEnd(WIDTH, '.')}] ${this.#done}/${this.#total}  ${[...counts, `under way ${this.#underWay}`].join(', ')}`;
    this.#out.write(this.#clear + bar.slice(0, (this.#out.columns || 80) - 1));
  }
}

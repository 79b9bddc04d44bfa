/** Channel variables in the order they were set. */
export class Variables {
  readonly #values = new Map<string, string>();

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** An empty or absent value removes the variable. */
  set(name: string, value: string | number | undefined): void {
    if (value === undefined || value === '') this.#values.delete(name);
    else this.#values.set(name, String(value));
  }

  isTrue(name: string): boolean {
    return /^(true|yes|on|enabled?|active|allow|[1-9]\d*)$/i.test(this.#values.get(name) ?? '');
  }

  /** `${name}` in the text replaced by the variable, once: what comes out is not looked at again. */
  expand(text: string): string {
    if (!text.includes('${')) return text;
    return text.replace(/\$\{([^{}]+)\}/g, (_, name: string) => this.#values.get(name) ?? '');
  }

  entries(): IterableIterator<[string, string]> {
    return this.#values.entries();
  }
}

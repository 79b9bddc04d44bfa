/** Radix-2 fast Fourier transform in place (Cooley and Tukey); the size is a power of two. */
export class Fourier {
  readonly size: number;
  #cos: Float64Array;
  #sin: Float64Array;
  #reversed: Uint32Array;

  constructor(size: number) {
    if (size < 2 || (size & (size - 1)) !== 0) throw new Error(`not a power of two: ${size}`);
    this.size = size;
    this.#cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.#sin = Float64Array.from({ length: size / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / size));
    const bits = Math.log2(size);
    this.#reversed = Uint32Array.from({ length: size }, (_, i) => {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) reversed |= ((i >> bit) & 1) << (bits - 1 - bit);
      return reversed;
    });
  }

  forward(re: Float64Array, im: Float64Array): void {
    this.#transform(re, im, -1);
  }

  /** Scaled, so that it undoes `forward`. */
  inverse(re: Float64Array, im: Float64Array): void {
    this.#transform(re, im, 1);
    for (let i = 0; i < this.size; i++) {
      re[i] = at(re, i) / this.size;
      im[i] = at(im, i) / this.size;
    }
  }

  #transform(re: Float64Array, im: Float64Array, sign: 1 | -1): void {
    const { size } = this;
    for (let i = 0; i < size; i++) {
      const j = this.#reversed[i] ?? 0;
      if (j > i) {
        [re[i], re[j]] = [at(re, j), at(re, i)];
        [im[i], im[j]] = [at(im, j), at(im, i)];
      }
    }
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const c = at(this.#cos, k * step);
          const s = sign * at(this.#sin, k * step);
          const a = start + k;
          const b = a + half;
          const xr = at(re, b) * c - at(im, b) * s;
          const xi = at(re, b) * s + at(im, b) * c;
          re[b] = at(re, a) - xr;
          im[b] = at(im, a) - xi;
          re[a] = at(re, a) + xr;
          im[a] = at(im, a) + xi;
        }
      }
    }
  }
}

/** An element that is there; the compiler cannot know it. */
const at = (array: Float64Array, index: number): number => array[index] as number;

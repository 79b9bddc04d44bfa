export interface SpeechOptions {
  /** Name of a voice, as the engine names its own. */
  voice?: string;
  /** Language tag, such as en-GB. */
  language?: string;
}

/** Makes speech from text. espeak-ng is one (`espeak.ts`); another needs this one method. */
export interface SpeechEngine {
  /** Part of the cache's keys: what another engine, or another version of this one, has said is not reused. */
  readonly name: string;
  /**
   * Resolves with a WAV file of any rate. A voice the engine lacks is no error: the language, or the engine's own choice,
   * takes its place, because a caller is waiting.
   * @throws SpeechError
   */
  synthesise(text: string, options?: SpeechOptions): Promise<Buffer>;
}

/** There is no speech for this text now. */
export class SpeechError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SpeechError';
  }
}

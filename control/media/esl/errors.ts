/**
 * Why a command has no good answer. `refused`: the node said no, in its own words. `lost`: the connection
 * ended first, so the node may or may not have done it. `busy`: too many commands were waiting, it was never
 * sent. `denied`: the node does not let us in.
 */
export type EslFailure = 'refused' | 'lost' | 'busy' | 'denied';

export class EslError extends Error {
  readonly kind: EslFailure;

  constructor(kind: EslFailure, message: string) {
    super(message);
    this.name = 'EslError';
    this.kind = kind;
  }
}

/** One process as the supervisor sees it. Without a command it is somebody else's and only watched. */
export interface PartSpec {
  name: string;
  title: string;
  command?: string[];
  env?: Record<string, string>;
  /** What must be there before it starts; run before every start, and cheap when there. */
  prepare?: () => Promise<void>;
  /** @returns the version; throws while it does not answer as it should. */
  probe: () => Promise<string>;
  /** How long the first answer may take, and how long it may take to end. */
  readyWithinMs: number;
  stopWithinMs: number;
  /** How far it is, said in its problem: while that changes it has more time to get ready. */
  progress?: RegExp;
}

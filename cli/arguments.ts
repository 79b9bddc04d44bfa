import { createRequire } from 'node:module';
import { meantBy } from '../control/lib/spelling.ts';
import { Failure } from './failure.ts';

/** What a command takes after its name. */
export interface Accepts {
  /** Its options, `--json` or `-f`. Undefined: what begins with a hyphen is for another program. */
  options?: string[];
  /** How many words it takes besides. */
  words?: number;
}

const hint = (word: string, known: readonly string[]): string => {
  const meant = meantBy(word, known);
  return meant === undefined ? '' : `: did you mean ${meant}?`;
};

/** @throws Failure for a command that is not among those known. */
export function unknownCommand(name: string, known: readonly string[]): Failure {
  return new Failure(
    `There is no command ${JSON.stringify(name)}${hint(name, known) || ': see ./minivoice help.'}`,
  );
}

/** @throws Failure naming the first option or word that the command does not take. */
export function checkArguments(command: string, args: string[], { options, words = 0 }: Accepts): void {
  if (options === undefined) return;
  const unknown = args.find((arg) => arg.startsWith('-') && !options.includes(arg));
  if (unknown !== undefined)
    throw new Failure(
      `${command} has no option ${unknown}${hint(unknown, options) || `, but ${options.join(', ') || 'none at all'}.`}`,
    );
  const surplus = args.filter((arg) => !arg.startsWith('-'))[words];
  if (surplus !== undefined)
    throw new Failure(
      `${command} takes ${words === 0 ? 'no arguments' : words === 1 ? 'one argument' : `${words} arguments`}: ${JSON.stringify(surplus)} is one too many.`,
    );
}

/** @throws Failure for an option that neither mocha nor Node has; mocha itself ignores those in silence. */
export function checkMochaOptions(args: string[]): void {
  const metadata = createRequire(import.meta.url)('mocha/lib/cli/run-option-metadata.js') as {
    types: Record<string, string[]>;
    aliases: Record<string, string[]>;
  };
  const names = [...Object.values(metadata.types), ...Object.values(metadata.aliases)].flat();
  const known = names.flatMap((name) => (name.length === 1 ? [`-${name}`] : [`--${name}`, `--no-${name}`]));
  for (const arg of args) {
    const option = /^(?:--[a-z][\w-]*|-[a-z])/i.exec(arg)?.[0];
    if (option === undefined || known.includes(option)) continue;
    if (process.allowedNodeEnvironmentFlags.has(option) || option.startsWith('--inspect')) continue;
    throw new Failure(`Mocha has no option ${option}${hint(option, known) || '.'}`);
  }
}

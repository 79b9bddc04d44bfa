/** What one of several things that go on at the same time has to say. */
export interface Voice {
  say(text: string): void;
  /** It has said everything. */
  end(): void;
}

/**
 * Shows what goes on at the same time one after the other: the first at once, each other one when those
 * before it have ended.
 */
export function inOrder(count: number, show: (text: string) => void): Voice[] {
  const kept = Array.from({ length: count }, () => '');
  const over = kept.map(() => false);
  let shown = 0;
  return kept.map((_, at) => ({
    say: (text) => {
      if (at === shown) show(text);
      else kept[at] += text;
    },
    end: () => {
      over[at] = true;
      for (; over[shown]; shown++) show(kept[shown + 1] ?? '');
    },
  }));
}

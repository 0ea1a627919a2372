/** Searches what is sorted. */

/** How many of the first items are such, where none after one that is not is so; by bisection. */
export function leading<T>(items: readonly T[], isSuch: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isSuch(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many of ascending numbers are below one. */
export function countBelow(ascending: readonly number[], limit: number): number {
  return leading(ascending, (one) => one < limit);
}

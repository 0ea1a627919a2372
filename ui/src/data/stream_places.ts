/** Places for streams: a browser allows six connections to a host, for all its tabs together. */

/** Streams of one browser; the other connections are for reads. */
const PLACES = 4;

/** Gives a place back. */
export type Release = () => void;

/**
 * Takes a place for a stream. It is given back by the tab, or when the tab ends.
 *
 * @returns undefined if other tabs have all places. A browser has no locks for a page without TLS
 *   from another machine; then places are not counted.
 */
export async function takePlace(): Promise<Release | undefined> {
  const locks: LockManager | undefined = navigator.locks;
  if (locks === undefined) return () => {};
  for (let place = 0; place < PLACES; place++) {
    const release = await taken(locks, `mentorgrad stream ${place}`);
    if (release !== undefined) return release;
  }
  return undefined;
}

function taken(locks: LockManager, name: string): Promise<Release | undefined> {
  return new Promise((found) => {
    void locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock !== null) return new Promise<void>((release) => found(release));
      found(undefined);
      return undefined;
    });
  });
}

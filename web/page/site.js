/** The site that serves this page, which may be below any path: the daemon's paths are below it. */
export const site = new URL("..", import.meta.url);

const LARGEST_ID = 2n ** 63n - 1n;

/**
 * Returns the stream that an address names, in its path or as `?stream=`; "1" if it names none.
 *
 * @param {URL | Location} address
 * @returns {string} A stream id, or "" if what it names is none.
 */
export function streamIdOf(address) {
  const inPath = /\/(?:stream|overlay|moderate)\/([^/]*)$/.exec(address.pathname)?.[1];
  const named = inPath ?? new URLSearchParams(address.search).get("stream") ?? "1";
  const isNumber = /^[1-9][0-9]{0,18}$/.test(named);
  return isNumber && BigInt(named) <= LARGEST_ID ? named : "";
}

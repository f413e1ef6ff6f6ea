/** @import { LiveCommentsError } from "../client/index.js" */

/** The token of this tab. It is kept until the tab is closed, and never goes into an address. */

const KEY = "lc-token";

/**
 * Takes the token from `#token=…`, which browsers send to no server, and removes it from the
 * address. Without one, returns the token that the tab has kept.
 *
 * @returns {string | null}
 */
export function takeToken() {
  const given = tokenInFragment();
  if (given === null) return storedToken();
  keepToken(given);
  history.replaceState(null, "", location.pathname + location.search);
  return given;
}

/**
 * Loads the page again when a token is put behind its address, which browsers do not do. So nothing
 * of another user stays, whatever the transport.
 */
export function reloadOnToken() {
  addEventListener("hashchange", () => {
    if (tokenInFragment() !== null) location.reload();
  });
}

/** @returns {string | null} */
export function tokenInFragment() {
  return new URLSearchParams(location.hash.slice(1)).get("token") || null;
}

/**
 * Tells whether a request was refused because of its token.
 *
 * @param {LiveCommentsError} error
 */
export function isTokenFault({ code }) {
  return (code.startsWith("token_") && code !== "token_required") || code === "unauthorized";
}

// A browser that blocks site data throws on every access to the storage. The page works without it;
// only a reload then forgets the token.
function storedToken() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string | null} token Null forgets it. */
export function keepToken(token) {
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // See storedToken.
  }
}
